//! The assignment that a device keeps over restarts, so that it finds its hub without DPS. It holds no credential.

use std::fmt;

use dps_types::sealed::{VERSION, seal, verify};
use dps_types::{ConnectionProfile, DeviceId, HubHostname, IdScope, RegistrationId, json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::Error;

/// An assignment as a device stores it: the device that it is for, the hub, and the payload of the custom allocation webhook.
///
/// It holds no key and no token. Debug does not show the payload, which belongs to the operator.
#[derive(Clone, PartialEq, Eq)]
pub struct CachedAssignment(Document);

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    version: u64,
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
        &self.0.id_scope
    }

    /// The registration id of the device.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.0.registration_id
    }

    /// The hub.
    pub fn hub(&self) -> &HubHostname {
        &self.0.assigned_hub
    }

    /// The device id in that hub.
    pub fn device_id(&self) -> &DeviceId {
        &self.0.device_id
    }

    /// The connection profile of the hub, which may be one that this client does not support. `None` means
    /// [`ConnectionProfile::Classic`].
    pub fn connection_profile(&self) -> Option<&ConnectionProfile> {
        self.0.connection_profile.as_ref()
    }

    /// The payload of the custom allocation webhook as JSON. `None` if the last registration returned none.
    pub fn payload_json(&self) -> Option<&Value> {
        self.0.payload.as_ref()
    }

    /// The payload of the custom allocation webhook. `None` if the last registration returned none.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`](crate::ErrorKind::Protocol) if the payload is not a valid `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<Option<T>, Error> {
        let payload = self.0.payload.as_ref().map(T::deserialize).transpose();
        payload.map_err(|error| {
            Error::protocol("the webhook's payload does not have the expected type")
                .with_source(error)
        })
    }

    /// Writes the assignment as JSON, for a store of your own, which must keep the bytes as they are: the last member is a checksum of
    /// all bytes before it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the document would be longer than
    /// [`MAX_BYTES`](Self::MAX_BYTES), because of a very long payload.
    pub fn to_json(&self) -> Result<Vec<u8>, Error> {
        // The fields are names and a JSON value, so the encoding cannot fail.
        let mut json = serde_json::to_vec(&self.0).unwrap_or_default();
        seal(&mut json);
        match json.len() <= Self::MAX_BYTES {
            true => Ok(json),
            false => Err(Error::configuration(format!(
                "the assignment cannot be saved: its document has {} bytes, and at most {} are supported",
                json.len(),
                Self::MAX_BYTES
            ))),
        }
    }

    /// Reads a document that [`to_json`](Self::to_json) has written. Unknown fields are ignored, and so is a byte order mark.
    ///
    /// A document of version 1, which earlier programs have written, has no checksum.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the document is longer than
    /// [`MAX_BYTES`](Self::MAX_BYTES), is damaged, or has a version that this crate does not support.
    pub fn from_json(document: &[u8]) -> Result<Self, Error> {
        let damaged = || Error::configuration("the saved assignment is damaged");
        if document.len() > Self::MAX_BYTES {
            return Err(Error::configuration(format!(
                "the saved assignment is longer than {} bytes",
                Self::MAX_BYTES
            )));
        }
        let read: Document =
            json::from_slice(document).map_err(|error| damaged().with_source(error))?;
        verify(document, read.version).map_err(|damage| damaged().with_source(damage))?;
        Ok(Self(Document {
            version: VERSION,
            ..read
        }))
    }

    pub(super) fn new(
        id_scope: IdScope,
        registration_id: RegistrationId,
        hub: HubHostname,
        device_id: DeviceId,
    ) -> Self {
        Self(Document {
            version: VERSION,
            id_scope,
            registration_id,
            assigned_hub: hub,
            device_id,
            connection_profile: None,
            payload: None,
        })
    }

    pub(super) fn with_profile(mut self, connection_profile: Option<ConnectionProfile>) -> Self {
        self.0.connection_profile = connection_profile;
        self
    }

    pub(super) fn with_payload(mut self, payload: Option<Value>) -> Self {
        self.0.payload = payload;
        self
    }

    /// True if both name the same device in the same hub.
    pub(super) fn is_same_hub(&self, other: &Self) -> bool {
        self.hub() == other.hub() && self.device_id() == other.device_id()
    }
}

impl fmt::Debug for CachedAssignment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedAssignment")
            .field("id_scope", &self.0.id_scope)
            .field("registration_id", &self.0.registration_id)
            .field("assigned_hub", &self.0.assigned_hub)
            .field("device_id", &self.0.device_id)
            .field("has_payload", &self.0.payload.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::changed_bytes::refuses_each_changed_byte;

    /// The digits are those of `sha256sum` for the bytes before the member.
    const JSON: &str = r#"{"version":2,"idScope":"0ne00000A0A","registrationId":"toaster-0815","assignedHub":"contoso.azure-devices.net","deviceId":"Toaster#0815","checksum":"fe760cc37aff51f7"}"#;
    /// A document of an earlier program.
    const OLD: &str = r#"{"version":1,"idScope":"0ne00000A0A","registrationId":"toaster-0815","assignedHub":"contoso.azure-devices.net","deviceId":"Toaster#0815"}"#;

    fn cached() -> CachedAssignment {
        CachedAssignment::new(
            "0ne00000A0A".parse().unwrap(),
            "toaster-0815".parse().unwrap(),
            "contoso.azure-devices.net".parse().unwrap(),
            "Toaster#0815".parse().unwrap(),
        )
    }

    /// A document with other members than those that this program writes, and the right checksum.
    fn sealed(json: &str) -> Vec<u8> {
        let mut json = json.as_bytes().to_vec();
        seal(&mut json);
        json
    }

    #[test]
    fn the_format_is_stable() {
        assert_eq!(
            String::from_utf8(cached().to_json().unwrap()).unwrap(),
            JSON
        );
        assert_eq!(
            CachedAssignment::from_json(JSON.as_bytes()).unwrap(),
            cached()
        );
        let newer = OLD.replace(r#"{"version":1"#, r#"{"more":[{}],"version":2"#);
        assert_eq!(
            CachedAssignment::from_json(&sealed(&newer)).unwrap(),
            cached()
        );
    }

    #[test]
    fn a_document_of_an_earlier_program_has_no_checksum() {
        for old in [OLD.to_owned(), OLD.replace('{', r#"{"more":[{}],"#)] {
            let read = CachedAssignment::from_json(old.as_bytes()).unwrap();
            assert_eq!(read, cached());
            assert_eq!(read.to_json().unwrap(), JSON.as_bytes());
        }
    }

    #[test]
    fn a_changed_byte_in_a_name_is_found() {
        let error = CachedAssignment::from_json(JSON.replace("contoso", "contosp").as_bytes());
        let error = error.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
        assert_eq!(
            format!("{error:#}"),
            "the saved assignment is damaged: its checksum is not that of its content"
        );
    }

    #[test]
    fn any_changed_byte_is_found() {
        refuses_each_changed_byte(JSON, CachedAssignment::from_json);
    }

    /// Numbers are longer when they are written again: `1e15` becomes `1000000000000000.0`.
    #[test]
    fn a_document_that_could_not_be_read_again_is_not_written() {
        let payload = |numbers: usize| {
            let json = format!("[{}]", vec!["1e15"; numbers].join(","));
            cached().with_payload(Some(serde_json::from_str(&json).unwrap()))
        };
        let longest = payload(13_000).to_json().unwrap();
        assert!(longest.len() <= CachedAssignment::MAX_BYTES);
        assert_eq!(
            CachedAssignment::from_json(&longest).unwrap(),
            payload(13_000)
        );
        let error = payload(14_000).to_json().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
        assert!(error.to_string().contains("at most 262144"), "{error}");
    }

    #[test]
    fn the_payload_is_kept_and_not_shown() {
        let with_payload = cached().with_payload(Some(serde_json::json!({"rate": "s3cret"})));
        let read = CachedAssignment::from_json(&with_payload.to_json().unwrap()).unwrap();
        assert_eq!(read, with_payload);
        assert_eq!(read.payload_json().unwrap()["rate"], "s3cret");
        assert!(read.payload::<u8>().is_err());
        assert_eq!(cached().payload::<u8>().unwrap(), None);
        assert!(!format!("{read:?}").contains("s3cret"));
    }

    #[test]
    fn an_unknown_connection_profile_is_kept() {
        let json = OLD.replace(
            r#""deviceId""#,
            r#""connectionProfile":"quantum","deviceId""#,
        );
        let read = CachedAssignment::from_json(json.as_bytes()).unwrap();
        assert_eq!(read.connection_profile().unwrap().as_str(), "quantum");
        let again = CachedAssignment::from_json(&read.to_json().unwrap()).unwrap();
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
        let newer = error(&JSON.replace(":2,", ":3,"));
        assert!(newer.contains("version is 3"), "{newer}");
        let older = error(&JSON.replace(":2,", ":1,"));
        assert!(older.contains("its checksum is not"), "{older}");
        let without = error(&OLD.replace(":1,", ":2,"));
        assert!(without.contains("it has no checksum"), "{without}");
        let cut = error(&JSON[..40]);
        assert!(cut.contains("damaged: EOF"), "{cut}");
    }

    #[test]
    fn other_documents_are_refused() {
        for other in [
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            OLD[..OLD.len() - 1].to_owned(),
            format!("{OLD}{OLD}"),
            format!("{JSON}{JSON}"),
            OLD.replace("1,", "2,"),
            OLD.replace(r#""version":1,"#, ""),
            OLD.replace("contoso", "con toso"),
            OLD.replace("0ne", "0ne/"),
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
        fn an_old_document_with_a_changed_byte_is_refused_or_read_consistently(
            cut in 0..OLD.len(),
            at in 0..OLD.len(),
            byte in any::<u8>(),
        ) {
            prop_assert!(CachedAssignment::from_json(&OLD.as_bytes()[..cut]).is_err());
            let mut scratched = OLD.as_bytes().to_vec();
            scratched[at] = byte;
            if let Ok(read) = CachedAssignment::from_json(&scratched) {
                let written = read.to_json().unwrap();
                prop_assert_eq!(CachedAssignment::from_json(&written).unwrap(), read);
            }
        }
    }
}
