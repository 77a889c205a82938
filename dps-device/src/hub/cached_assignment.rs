//! The assignment that a device keeps over restarts, so that it finds its hub without DPS. It holds no credential.

use std::fmt;

use dps_types::{ConnectionProfile, DeviceId, HubHostname, IdScope, RegistrationId, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;

/// An assignment as a device stores it: the device that it is for, the hub, and the payload of the custom allocation webhook.
///
/// It holds no key and no token. Debug does not show the payload, which belongs to the operator.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedAssignment {
    version: Version,
    id_scope: IdScope,
    registration_id: RegistrationId,
    assigned_hub: HubHostname,
    device_id: DeviceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection_profile: Option<ConnectionProfile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Value>,
}

impl CachedAssignment {
    /// The maximum length of the JSON document in bytes.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// The id scope of the DPS instance that made the assignment.
    pub fn id_scope(&self) -> &IdScope {
        &self.id_scope
    }

    /// The registration id of the device.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    /// The hub.
    pub fn hub(&self) -> &HubHostname {
        &self.assigned_hub
    }

    /// The device id in that hub.
    pub fn device_id(&self) -> &DeviceId {
        &self.device_id
    }

    /// The connection profile of the hub, which may be one that this client does not support. `None` means
    /// [`ConnectionProfile::Classic`].
    pub fn connection_profile(&self) -> Option<&ConnectionProfile> {
        self.connection_profile.as_ref()
    }

    /// The payload of the custom allocation webhook as JSON. `None` if the last registration returned none.
    pub fn payload_json(&self) -> Option<&Value> {
        self.payload.as_ref()
    }

    /// The payload of the custom allocation webhook. `None` if the last registration returned none.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if the payload is not a valid `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let payload = self.payload.as_ref().map(T::deserialize).transpose();
        payload.map_err(|error| {
            Error::protocol("the webhook's payload does not have the expected type")
                .with_source(error)
        })
    }

    /// Writes the assignment as JSON, for a store of your own.
    pub fn to_json(&self) -> Vec<u8> {
        // The fields are names and a JSON value, so the encoding cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads a document that [`to_json`](Self::to_json) has written. Unknown fields are ignored, and so is a byte order mark.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the document is longer than
    /// [`MAX_BYTES`](Self::MAX_BYTES), is damaged, or has a version that this crate does not support.
    pub fn from_json(document: &[u8]) -> Result<Self, Error> {
        if document.len() > Self::MAX_BYTES {
            return Err(Error::configuration(format!(
                "the saved assignment is longer than {} bytes",
                Self::MAX_BYTES
            )));
        }
        json::from_slice(document).map_err(|error| {
            Error::configuration("the saved assignment is damaged").with_source(error)
        })
    }

    pub(super) fn new(
        id_scope: IdScope,
        registration_id: RegistrationId,
        hub: HubHostname,
        device_id: DeviceId,
    ) -> Self {
        Self {
            version: Version,
            id_scope,
            registration_id,
            assigned_hub: hub,
            device_id,
            connection_profile: None,
            payload: None,
        }
    }

    pub(super) fn with_profile(self, connection_profile: Option<ConnectionProfile>) -> Self {
        Self {
            connection_profile,
            ..self
        }
    }

    pub(super) fn with_payload(self, payload: Option<Value>) -> Self {
        Self { payload, ..self }
    }

    /// True if both name the same device in the same hub.
    pub(super) fn is_same_hub(&self, other: &Self) -> bool {
        self.assigned_hub == other.assigned_hub && self.device_id == other.device_id
    }
}

impl fmt::Debug for CachedAssignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedAssignment")
            .field("id_scope", &self.id_scope)
            .field("registration_id", &self.registration_id)
            .field("assigned_hub", &self.assigned_hub)
            .field("device_id", &self.device_id)
            .field("has_payload", &self.payload.is_some())
            .finish()
    }
}

/// The version of the document. Only version 1 exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
struct Version;

impl From<Version> for u64 {
    fn from(_: Version) -> Self {
        1
    }
}

impl TryFrom<u64> for Version {
    type Error = UnknownVersion;

    fn try_from(version: u64) -> Result<Self, UnknownVersion> {
        match version {
            1 => Ok(Self),
            other => Err(UnknownVersion(other)),
        }
    }
}

struct UnknownVersion(u64);

impl fmt::Display for UnknownVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "its version is {}, but this program supports only version 1",
            self.0
        )
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: &str = r#"{"version":1,"idScope":"0ne00000A0A","registrationId":"toaster-0815","assignedHub":"contoso.azure-devices.net","deviceId":"Toaster#0815"}"#;

    fn cached() -> CachedAssignment {
        CachedAssignment::new(
            "0ne00000A0A".parse().unwrap(),
            "toaster-0815".parse().unwrap(),
            "contoso.azure-devices.net".parse().unwrap(),
            "Toaster#0815".parse().unwrap(),
        )
    }

    #[test]
    fn the_format_is_stable() {
        assert_eq!(String::from_utf8(cached().to_json()).unwrap(), JSON);
        assert_eq!(
            CachedAssignment::from_json(JSON.as_bytes()).unwrap(),
            cached()
        );
        let newer = JSON.replace("{", r#"{"more":[{}],"#);
        assert_eq!(
            CachedAssignment::from_json(newer.as_bytes()).unwrap(),
            cached()
        );
    }

    #[test]
    fn the_payload_is_kept_and_not_shown() {
        let with_payload = cached().with_payload(Some(serde_json::json!({"rate": "s3cret"})));
        let read = CachedAssignment::from_json(&with_payload.to_json()).unwrap();
        assert_eq!(read, with_payload);
        assert_eq!(read.payload_json().unwrap()["rate"], "s3cret");
        assert!(read.payload::<u8>().is_err());
        assert_eq!(cached().payload::<u8>().unwrap(), None);
        assert!(!format!("{read:?}").contains("s3cret"));
    }

    #[test]
    fn an_unknown_connection_profile_is_kept() {
        let json = JSON.replace(
            r#""deviceId""#,
            r#""connectionProfile":"quantum","deviceId""#,
        );
        let read = CachedAssignment::from_json(json.as_bytes()).unwrap();
        assert_eq!(read.connection_profile().unwrap().as_str(), "quantum");
        let again = CachedAssignment::from_json(&read.to_json()).unwrap();
        assert_eq!(again, read);
        assert_eq!(cached().connection_profile(), None);
    }

    #[test]
    fn a_byte_order_mark_is_ignored() {
        let marked = format!("\u{feff}{JSON}");
        let read = CachedAssignment::from_json(marked.as_bytes()).unwrap();
        assert_eq!(read, cached());
    }

    #[test]
    fn an_error_names_the_cause() {
        let error = |json: &str| {
            let error = CachedAssignment::from_json(json.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
            let source = std::error::Error::source(&error).map(ToString::to_string);
            format!("{error}: {}", source.unwrap_or_default())
        };
        let newer = error(&JSON.replace("1,", "2,"));
        assert!(newer.contains("version is 2"), "{newer}");
        let cut = error(&JSON[..40]);
        assert!(cut.contains("damaged: EOF"), "{cut}");
    }

    #[test]
    fn other_documents_are_refused() {
        for other in [
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            JSON[..JSON.len() - 1].to_owned(),
            format!("{JSON}{JSON}"),
            JSON.replace("1,", "2,"),
            JSON.replace(r#""version":1,"#, ""),
            JSON.replace("contoso", "con toso"),
            JSON.replace("0ne", "0ne/"),
            format!("{JSON}{}", " ".repeat(CachedAssignment::MAX_BYTES)),
        ] {
            assert!(
                CachedAssignment::from_json(other.as_bytes()).is_err(),
                "{other}"
            );
        }
        assert!(CachedAssignment::from_json(&[0xff; 64]).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(CachedAssignment::from_json(&bytes).is_err());
        }

        #[test]
        fn a_document_with_a_changed_byte_is_refused_or_read_consistently(
            cut in 0..JSON.len(),
            at in 0..JSON.len(),
            byte in any::<u8>(),
        ) {
            prop_assert!(CachedAssignment::from_json(&JSON.as_bytes()[..cut]).is_err());
            let mut scratched = JSON.as_bytes().to_vec();
            scratched[at] = byte;
            if let Ok(read) = CachedAssignment::from_json(&scratched) {
                prop_assert_eq!(CachedAssignment::from_json(&read.to_json()).unwrap(), read);
            }
        }
    }
}
