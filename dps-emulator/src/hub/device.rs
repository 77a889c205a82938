//! A device in a hub, or a module of a device: its identity and its twin.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_types::{DeviceId, ETag, EncodedKey, ModuleId, Timestamp};
use serde::{Deserialize, Serialize};

use super::Identity;
use super::twin::Twin;
use crate::attest::Presented;
use crate::issuance::{Credential, Issuance};

/// A device or module in a hub's identity registry, as it is stored.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Device {
    pub(super) device_id: DeviceId,
    /// The module, if it is a module of the device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) module_id: Option<ModuleId>,
    /// The manager of the module, such as `iotEdge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) managed_by: Option<String>,
    pub(super) generation_id: String,
    pub(super) etag: ETag,
    pub(super) enabled: bool,
    pub(super) status_updated: Option<Timestamp>,
    pub(super) authentication: Authentication,
    pub(super) iot_edge: bool,
    pub(super) twin: Twin,
}

/// The credentials of a device at its hub.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Authentication {
    /// With a SAS token signed with one of the keys.
    Sas {
        primary: EncodedKey,
        secondary: Option<EncodedKey>,
    },
    /// With a certificate that has one of the thumbprints: the SHA-256 of its DER, in upper-case hex.
    SelfSigned {
        primary: String,
        secondary: Option<String>,
    },
    /// With a certificate that DPS or the hub issued.
    CertificateAuthority(Credential),
}

impl Device {
    pub(super) fn new(
        device_id: DeviceId,
        authentication: Authentication,
        iot_edge: bool,
        twin: Twin,
        now: Timestamp,
    ) -> Self {
        Self {
            device_id,
            module_id: None,
            managed_by: None,
            generation_id: format!("{}{:09}", now.unix_seconds(), random() % 1_000_000_000),
            etag: new_etag(),
            enabled: true,
            status_updated: None,
            authentication,
            iot_edge,
            twin,
        }
    }

    /// Updates the device to its enrollment. The ETag changes only if the device changes.
    pub(super) fn refresh(&mut self, authentication: Authentication, iot_edge: bool) {
        if self.authentication != authentication || self.iot_edge != iot_edge {
            self.authentication = authentication;
            self.iot_edge = iot_edge;
            self.etag = new_etag();
        }
    }

    pub(super) fn set_enabled(&mut self, enabled: bool, now: Timestamp) {
        if self.enabled != enabled {
            self.enabled = enabled;
            self.status_updated = Some(now);
            self.etag = new_etag();
        }
    }

    /// Whether the credentials are those of this identity, and it may connect to its hub now.
    pub(super) fn accepts(
        &self,
        identity: &Identity,
        presented: &Presented<'_>,
        now: SystemTime,
        issuance: &Issuance,
    ) -> bool {
        self.enabled
            && match (&self.authentication, presented) {
                (Authentication::Sas { primary, secondary }, Presented::Token(token)) => {
                    let resource = identity.resource();
                    let signed = |key: &EncodedKey| key.parse().is_ok_and(|key| token.verify(&key));
                    token.policy().is_none()
                        && token.covers(&resource)
                        && token.expires_at() > now
                        && [Some(primary), secondary.as_ref()]
                            .into_iter()
                            .flatten()
                            .any(signed)
                }
                (Authentication::SelfSigned { primary, secondary }, Presented::Chain(chain)) => {
                    let leaf = chain.leaf();
                    leaf.is_valid_at(now)
                        && [Some(primary), secondary.as_ref()]
                            .into_iter()
                            .flatten()
                            .any(|thumbprint| thumbprint == leaf.sha256_thumbprint())
                }
                (Authentication::CertificateAuthority(credential), Presented::Chain(chain)) => {
                    issuance.accepts(credential, chain)
                }
                _ => false,
            }
    }
}

#[expect(clippy::expect_used, reason = "base64 is printable ASCII")]
fn new_etag() -> ETag {
    ETag::new(STANDARD.encode(random().to_string())).expect("a valid ETag")
}

fn random() -> u32 {
    uuid::Uuid::new_v4().as_fields().0
}
