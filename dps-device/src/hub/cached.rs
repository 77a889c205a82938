//! What a device remembers of its assignment, and where: enough to find its hub without DPS, and nothing that is secret.

use std::fmt;
use std::io;

use async_trait::async_trait;
use dps_types::{DeviceId, HubHostname, IdScope, RegistrationId};
use serde::{Deserialize, Serialize};

/// An assignment as a device remembers it: who it was for, and what came of it. No key, no token, no payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CachedAssignment {
    version: Version,
    id_scope: IdScope,
    registration_id: RegistrationId,
    assigned_hub: HubHostname,
    device_id: DeviceId,
}

/// Where a device keeps its assignment over restarts. [`AssignmentFile`](crate::AssignmentFile) is one.
///
/// A store may fail: the device then registers, as if there were nothing in it, and the failure is logged.
#[async_trait]
pub trait AssignmentStore: Send + Sync {
    /// The assignment that was saved last, if there is one that can be read.
    ///
    /// # Errors
    /// When nobody can say.
    async fn load(&self) -> io::Result<Option<CachedAssignment>>;

    /// Saves this one in the place of the last: all of it or nothing, also when the power fails.
    ///
    /// # Errors
    /// When the last one may still be there.
    async fn save(&self, assignment: &CachedAssignment) -> io::Result<()>;

    /// Forgets the assignment. That there is none is no error.
    ///
    /// # Errors
    /// When it may still be there.
    async fn clear(&self) -> io::Result<()>;
}

impl CachedAssignment {
    /// What is longer is not one, in bytes.
    pub(super) const MAX_BYTES: usize = 16 * 1024;

    /// The instance that made the assignment.
    pub fn id_scope(&self) -> &IdScope {
        &self.id_scope
    }

    /// The device it was made for.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    /// The hub.
    pub fn hub(&self) -> &HubHostname {
        &self.assigned_hub
    }

    /// The device's name in that hub.
    pub fn device_id(&self) -> &DeviceId {
        &self.device_id
    }

    /// As JSON, for a store of your own.
    pub fn to_json(&self) -> Vec<u8> {
        // Four names, which are texts: nothing in them can fail to be written.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// Reads what [`to_json`](Self::to_json) has written, this or an older version of it. Fields that nobody knows do not
    /// matter.
    ///
    /// # Errors
    /// When it is something else, or of a newer version.
    pub fn from_json(json: &[u8]) -> io::Result<Self> {
        if json.len() > Self::MAX_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is too long"));
        }
        serde_json::from_slice(json)
            .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
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
        }
    }

    /// Whether it leads to the same hub under the same name.
    pub(super) fn leads_where(&self, other: &Self) -> bool {
        self.assigned_hub == other.assigned_hub && self.device_id == other.device_id
    }
}

/// The version of the document: there is one.
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
        write!(f, "version {} of it is not known", self.0)
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
    fn it_is_written_like_this_for_ever() {
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
    fn what_is_something_else_is_refused() {
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
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(CachedAssignment::from_json(&bytes).is_err());
        }

        #[test]
        fn a_document_that_was_cut_or_scratched_is_never_another(
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
