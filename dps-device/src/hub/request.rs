//! The requests that a device makes to its hub and that the hub answers, each defined once: its topic, its body, and its answer.

use std::time::Duration;

use dps_types::json;
use dps_types::protocol::hub::{TwinRequestTopic, TwinResponseTopic};
use dps_types::protocol::{hub_certificate, parse_retry_after};
use dps_types::twin::limits::check_properties;
use serde::Serialize;
use serde_json::Value;
use tokio::sync::oneshot;

use super::endpoint::HubEndpoint;
use super::twin::Twin;
use crate::error::{Error, ErrorKind};
use crate::transport::Reply;

/// A request that can be sent again over another link until it has a response.
pub(super) trait Request: Send + 'static {
    type Response: Send + 'static;

    /// The topic, with this request id.
    fn topic(&self, rid: &str) -> String;

    fn body(&self) -> Vec<u8>;

    /// Reads an answer whose status reports success. `None` means that another answer follows.
    fn response(&mut self, answer: &Answer) -> Result<Option<Self::Response>, Error>;

    /// The time limit for each answer, for a request that reads refusals itself and that a hub may not know: it is never sent again
    /// over the same link, and no answer in time is a failure of the request, not of the link. `None` for all others.
    fn limit(&self) -> Option<Duration> {
        None
    }
}

/// An answer of the hub, from any of its response topics.
pub(super) struct Answer {
    pub(super) rid: String,
    /// The version of the reported properties.
    pub(super) version: Option<u64>,
    pub(super) reply: Reply,
}

impl Answer {
    /// Reads the answer from a message. `None` if the message is something else.
    pub(super) fn read(hub: &HubEndpoint, topic: &str, payload: &[u8]) -> Option<Self> {
        let (status, rid, version, retry_after) =
            if let Ok(topic) = topic.parse::<TwinResponseTopic>() {
                (topic.status, topic.rid, topic.version, topic.retry_after)
            } else {
                let topic: hub_certificate::ResponseTopic = topic.parse().ok()?;
                (topic.status, topic.rid, None, topic.retry_after)
            };
        let mut reply = Reply::new(status, payload);
        let now = hub.endpoint.clock.now();
        reply.retry_after = retry_after.and_then(|text| parse_retry_after(&text, now));
        Some(Self {
            rid,
            version,
            reply,
        })
    }
}

/// A request with the caller that waits for its response.
pub(super) trait Pending: Send {
    fn topic(&self, rid: &str) -> String;

    fn body(&self) -> Vec<u8>;

    /// True if the caller does not wait any more.
    fn is_abandoned(&self) -> bool;

    fn limit(&self) -> Option<Duration>;

    /// Passes the answer to the caller. Returns the request if another answer follows.
    fn answered(self: Box<Self>, answer: Result<Answer, Error>) -> Option<Box<dyn Pending>>;
}

struct Waiting<R: Request> {
    request: R,
    caller: oneshot::Sender<Result<R::Response, Error>>,
}

/// The receiver of the response to a request.
pub(super) type Response<R> = oneshot::Receiver<Result<<R as Request>::Response, Error>>;

/// The request for the driver, and the receiver of its response.
pub(super) fn pending<R: Request>(request: R) -> (Box<dyn Pending>, Response<R>) {
    let (caller, response) = oneshot::channel();
    (Box::new(Waiting { request, caller }), response)
}

impl<R: Request> Pending for Waiting<R> {
    fn topic(&self, rid: &str) -> String {
        self.request.topic(rid)
    }

    fn body(&self) -> Vec<u8> {
        self.request.body()
    }

    fn is_abandoned(&self) -> bool {
        self.caller.is_closed()
    }

    fn limit(&self) -> Option<Duration> {
        self.request.limit()
    }

    fn answered(mut self: Box<Self>, answer: Result<Answer, Error>) -> Option<Box<dyn Pending>> {
        let response = answer.and_then(|answer| self.request.response(&answer));
        // Sending fails if the caller no longer waits, which is fine.
        let _ = match response {
            Ok(None) => return Some(self),
            Ok(Some(response)) => self.caller.send(Ok(response)),
            Err(error) => self.caller.send(Err(error)),
        };
        None
    }
}

/// Downloads the twin.
pub(super) struct GetTwin;

/// Patches the reported properties.
pub(super) struct PatchReported(Vec<u8>);

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

impl Request for GetTwin {
    type Response = Twin;

    fn topic(&self, rid: &str) -> String {
        TwinRequestTopic::Get {
            rid: rid.to_owned(),
        }
        .to_string()
    }

    fn body(&self) -> Vec<u8> {
        Vec::new()
    }

    fn response(&mut self, answer: &Answer) -> Result<Option<Twin>, Error> {
        json::from_slice(&answer.reply.body)
            .map(Some)
            .map_err(|error| Error::protocol("the answer is not a valid twin").with_source(error))
    }
}

impl Request for PatchReported {
    type Response = u64;

    fn topic(&self, rid: &str) -> String {
        TwinRequestTopic::PatchReported {
            rid: rid.to_owned(),
        }
        .to_string()
    }

    fn body(&self) -> Vec<u8> {
        self.0.clone()
    }

    fn response(&mut self, answer: &Answer) -> Result<Option<u64>, Error> {
        let no_version = "the answer has no version of the reported properties";
        answer
            .version
            .map(Some)
            .ok_or_else(|| Error::protocol(no_version))
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
