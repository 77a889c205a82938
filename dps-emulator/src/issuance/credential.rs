//! The common part of all certificates of a device: the authority that issues them, and the identifier that the hub compares.

use std::time::{SystemTime, UNIX_EPOCH};

use dps_types::RegistrationId;
use serde::{Deserialize, Serialize};
use x509_cert::der::Decode;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use super::choices;
use super::config::IssuerName;
use crate::certificate::Certificate;

/// The credential of a device that has certificates issued by DPS or a hub.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credential {
    /// The subject of the certificates.
    pub(crate) registration_id: RegistrationId,
    pub(crate) issuer: IssuerName,
    /// The credential identifier, which every certificate of the device has. A revocation changes it.
    id: String,
    /// The hub regards certificates that were issued until then as expired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expired_until: Option<u64>,
}

impl Credential {
    pub(crate) fn new(registration_id: RegistrationId, issuer: IssuerName) -> Self {
        Self {
            registration_id,
            issuer,
            id: new_id(),
            expired_until: None,
        }
    }

    /// Changes the identifier: no certificate that was issued until now is valid any more.
    pub(crate) fn revoke(&mut self) {
        self.id = new_id();
    }

    /// Makes all certificates that were issued until now expire.
    pub(crate) fn expire(&mut self) {
        self.expired_until = Some(instant());
    }

    /// The credential identifier as a certificate has it.
    pub(super) fn uri(&self) -> String {
        format!("{}{}", choices::CREDENTIAL, self.id)
    }

    /// Checks that a certificate has the current identifier and has not been made to expire. The error is the reason.
    pub(super) fn check(&self, leaf: &Certificate) -> Result<(), &'static str> {
        if !uris(leaf).contains(&self.uri()) {
            return Err(
                "its credential identifier is not the device's: it was revoked, or is of another device",
            );
        }
        match (self.expired_until, issued_at(leaf)) {
            (Some(end), Some(issued)) if issued <= end => Err("it was made to expire"),
            _ => Ok(()),
        }
    }
}

/// A serial number that begins with the time of issuance, so that no clock that a test moves affects the order.
pub(super) fn new_serial_number() -> Vec<u8> {
    let random = uuid::Uuid::new_v4();
    [&instant().to_be_bytes()[..], &random.as_bytes()[..8]].concat()
}

fn issued_at(leaf: &Certificate) -> Option<u64> {
    let serial = leaf.info().serial_number.get(..16)?;
    u64::from_str_radix(serial, 16).ok()
}

fn instant() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_nanos()).unwrap_or_default()
}

fn uris(certificate: &Certificate) -> Vec<String> {
    let parsed = x509_cert::Certificate::from_der(certificate.der()).ok();
    let names = parsed
        .as_ref()
        .and_then(|it| it.tbs_certificate().get_extension::<SubjectAltName>().ok())
        .flatten();
    let names = names.map_or_else(Vec::new, |(_, names)| names.0);
    let uri = |name| match name {
        GeneralName::UniformResourceIdentifier(uri) => Some(uri.to_string()),
        _ => None,
    };
    names.into_iter().filter_map(uri).collect()
}

fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
