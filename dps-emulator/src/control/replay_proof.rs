//! The credentials with which a device's recorded request is answered again.

use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dps_types::SymmetricKey;
use dps_types::enrollment::{
    AttestationMechanism, AttestationType, EnrollmentGroup, IndividualEnrollment,
};
use dps_types::protocol::device::{self, DeviceRoute};
use dps_types::sas::{SasToken, SasTokenBuilder};
use rustls_pki_types::CertificateDer;

use super::reply::Failure;
use crate::attest::{Presented, PresentedChain};
use crate::endpoint::Gateway;
use crate::recording::{Attestation, RecordedExchange};

/// The most groups whose key is tried.
const MAX_GROUPS: usize = 100;
/// The time for which a token is valid.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// The status of a request with a token that is not valid.
const UNAUTHORIZED: u16 = 401;

/// The credentials to present, one after the other, until they are accepted.
pub(super) enum Proofs {
    Nothing,
    Chain(PresentedChain),
    Tokens(Vec<SasToken>),
}

impl Proofs {
    /// The credentials of a request, or the reason that there is no such credential.
    pub(super) async fn new(
        gateway: &Gateway,
        route: &DeviceRoute,
        attestation: &Attestation,
        recorded: &RecordedExchange,
    ) -> Result<Result<Self, &'static str>, Failure> {
        let keys = match attestation {
            Attestation::None => return Ok(Ok(Self::Nothing)),
            Attestation::X509 { certificates } => {
                let chain = chain(certificates).ok_or("its certificates cannot be read");
                return Ok(chain.map(Self::Chain));
            }
            // The recorded token was not valid, and this one must be refused as well.
            Attestation::Token if recorded.status == UNAUTHORIZED => {
                vec![SymmetricKey::generate()]
            }
            Attestation::Token => match keys(gateway, route).await? {
                Ok(keys) => keys,
                Err(reason) => return Ok(Err(reason)),
            },
        };
        let now = gateway.instance.now();
        let expiry = now.checked_add(LIFETIME).unwrap_or(now);
        let expiry = expiry.duration_since(UNIX_EPOCH).unwrap_or_default();
        let resource = device::resource(&route.id_scope, &route.registration_id);
        let sign = |key: &SymmetricKey| {
            SasTokenBuilder::new(&resource, expiry.as_secs())
                .policy(device::SAS_POLICY)
                .sign_with(key)
        };
        Ok(Ok(Self::Tokens(keys.iter().map(sign).collect())))
    }

    pub(super) fn presented(&self) -> Vec<Presented<'_>> {
        match self {
            Self::Nothing => vec![Presented::Nothing],
            Self::Chain(chain) => vec![Presented::Chain(chain)],
            Self::Tokens(tokens) => tokens.iter().cloned().map(Presented::Token).collect(),
        }
    }
}

fn chain(certificates: &[String]) -> Option<PresentedChain> {
    let certificates: Option<Vec<CertificateDer<'static>>> = certificates
        .iter()
        .map(|text| STANDARD.decode(text).ok().map(CertificateDer::from))
        .collect();
    PresentedChain::new(&certificates?).ok()
}

/// The keys that the device may have now: the one of its individual enrollment, or the derived one of each group. A device
/// without an enrollment has a random key.
async fn keys(
    gateway: &Gateway,
    route: &DeviceRoute,
) -> Result<Result<Vec<SymmetricKey>, &'static str>, Failure> {
    let state = &gateway.instance.state;
    let id = &route.registration_id;
    if let Some(enrollment) = state
        .enrollment::<IndividualEnrollment>(&id.to_lowercase())
        .await?
    {
        return Ok(match enrollment.attestation.kind {
            AttestationType::Tpm => Err("a TPM must answer a new challenge"),
            _ => Ok(vec![
                primary_key(enrollment.attestation).unwrap_or_else(SymmetricKey::generate),
            ]),
        });
    }
    let groups: Vec<EnrollmentGroup> = state.enrollments().await?;
    let mut keys: Vec<SymmetricKey> = groups
        .into_iter()
        .filter_map(|group| primary_key(group.attestation))
        .map(|key| key.derive_device_key(id))
        .take(MAX_GROUPS)
        .collect();
    if keys.is_empty() {
        keys.push(SymmetricKey::generate());
    }
    Ok(Ok(keys))
}

fn primary_key(attestation: AttestationMechanism) -> Option<SymmetricKey> {
    let keys = attestation.symmetric_key?;
    keys.primary_key?.parse().ok()
}
