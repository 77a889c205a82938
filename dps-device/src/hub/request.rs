//! The requests that a device makes to its hub, each defined once. The layers above add retries and recovery.

use dps_types::twin::limits::check_properties;
use serde::Serialize;
use serde_json::Value;
use tracing::debug;

use super::link::Link;
use super::twin::{Twin, TwinProperties};
use crate::error::{Error, ErrorKind};

/// A request that can be sent again over another link until it has a response.
pub(super) trait Request: Sync {
    type Response;

    /// Sends the request once. `known_version` is the version of the desired properties that the caller has.
    ///
    /// `None` means that there is nothing for the caller yet: send it again.
    fn send(
        &self,
        link: &mut Link,
        known_version: &mut Option<u64>,
    ) -> impl Future<Output = Result<Option<Self::Response>, Error>> + Send;
}

/// Makes sure that there is a connection.
pub(super) struct Connect;

/// Downloads the twin.
pub(super) struct GetTwin;

/// Patches the reported properties.
pub(super) struct PatchReported(Vec<u8>);

/// Waits for the next change of the desired properties.
pub(super) struct NextUpdate;

/// A change of the desired properties, from [`HubConnection::next`](crate::HubConnection::next).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum TwinUpdate {
    /// The properties that the service changed, to be [merged](TwinProperties::merge) into those that the device has.
    Desired(TwinProperties),
    /// The whole twin: the device has none yet, or it missed a change.
    Twin(Twin),
}

impl PatchReported {
    /// Encodes the patch.
    ///
    /// # Errors
    /// `Rejected` if the hub would not accept it.
    pub(super) fn new(patch: impl Serialize) -> Result<Self, Error> {
        let rejected = |what| Error::new(ErrorKind::Rejected, what);
        let patch = serde_json::to_value(patch).map_err(|error| {
            rejected("the patch of the reported properties cannot be encoded as JSON")
                .with_source(error)
        })?;
        let Value::Object(properties) = &patch else {
            return Err(rejected(
                "the patch of the reported properties is not a JSON object",
            ));
        };
        check_properties(properties).map_err(|error| {
            rejected("the hub would not accept the patch of the reported properties")
                .with_source(error)
        })?;
        Ok(Self(patch.to_string().into_bytes()))
    }
}

impl Request for Connect {
    type Response = ();

    async fn send(&self, _: &mut Link, _: &mut Option<u64>) -> Result<Option<()>, Error> {
        Ok(Some(()))
    }
}

impl Request for GetTwin {
    type Response = Twin;

    async fn send(
        &self,
        link: &mut Link,
        known_version: &mut Option<u64>,
    ) -> Result<Option<Twin>, Error> {
        let twin = link.twin().await?;
        link.caught_up = true;
        *known_version = Some(twin.desired.version());
        Ok(Some(twin))
    }
}

impl Request for PatchReported {
    type Response = u64;

    async fn send(&self, link: &mut Link, _: &mut Option<u64>) -> Result<Option<u64>, Error> {
        link.report(self.0.clone()).await.map(Some)
    }
}

impl Request for NextUpdate {
    type Response = TwinUpdate;

    async fn send(
        &self,
        link: &mut Link,
        known_version: &mut Option<u64>,
    ) -> Result<Option<TwinUpdate>, Error> {
        if !link.caught_up {
            let before = *known_version;
            let twin = GetTwin.send(link, known_version).await?;
            let news = twin.filter(|twin| before != Some(twin.desired.version()));
            return Ok(news.map(TwinUpdate::Twin));
        }
        let Some(change) = link.change().await? else {
            return Ok(None);
        };
        match *known_version {
            Some(known) if change.version() <= known => Ok(None),
            Some(known) if known.checked_add(1) == Some(change.version()) => {
                *known_version = Some(change.version());
                Ok(Some(TwinUpdate::Desired(change)))
            }
            _ => {
                debug!("a change of the desired properties is missing: downloading the twin");
                link.caught_up = false;
                Ok(None)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use serde_json::json;

    use super::*;

    #[test]
    fn a_valid_patch_is_sent_unchanged() {
        let patch = json!({"a": null, "b-c": [1, {"d": 2.5}], "Grüße": "é", "e": true});
        let PatchReported(body) = PatchReported::new(&patch).unwrap();
        let expected = r#"{"a":null,"b-c":[1,{"d":2.5}],"Grüße":"é","e":true}"#;
        assert_eq!(body, expected.as_bytes());
    }

    #[test]
    fn a_patch_that_the_hub_would_not_accept_names_the_limit() {
        for (patch, reason) in [
            (json!({"a.b": 1}), "a name contains"),
            (json!({"": 1}), "a name is empty"),
            (json!({"t": "x".repeat(4097)}), "4096 bytes"),
            (json!({"n": u64::MAX}), "an integer"),
        ] {
            let error = PatchReported::new(&patch).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Rejected);
            let source = error.source().unwrap().to_string();
            assert!(source.contains(reason), "{source}");
        }
        assert!(PatchReported::new([1]).is_err());
    }
}
