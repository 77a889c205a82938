//! The challenge that DPS sends to a TPM before it accepts a registration or a lookup.

use std::time::Duration;

use dps_types::ParseError;
use dps_types::sas::SignError;
use tokio::time::timeout;

use super::error::TransportError;
use crate::error::{ErrorKind, signing_kind};

#[cfg(any(feature = "http", feature = "amqp"))]
pub(super) use keys::with_keys;
#[cfg(feature = "http")]
pub(super) use parse::Challenge;

#[cfg(any(feature = "http", feature = "amqp"))]
mod keys {
    use dps_types::RegistrationRequest;
    use dps_types::enrollment::TpmAttestation;

    use crate::attestation::tpm_keys::TpmKeys;

    /// The request with the public keys of the TPM, which the service needs for the challenge.
    pub(in crate::transport) fn with_keys(
        body: &RegistrationRequest,
        tpm: &dyn TpmKeys,
    ) -> RegistrationRequest {
        let mut keys = TpmAttestation::new(tpm.endorsement_key().to_base64());
        keys.storage_root_key = Some(tpm.storage_root_key().to_base64());
        let mut body = body.clone();
        body.tpm = Some(keys);
        body
    }
}

#[cfg(feature = "http")]
mod parse {
    use std::time::Duration;

    use dps_types::TpmChallenge;
    use dps_types::protocol::device::SAS_POLICY;
    use dps_types::tpm::AuthenticationKey;

    use super::{in_time, malformed_key};
    use crate::attestation::tpm_keys::TpmKeys;
    use crate::transport::error::TransportError;
    use crate::transport::reply::Reply;

    /// A key that only the TPM can open. DPS sends it with status 401. Source: azure-iot-sdk-csharp#432.
    pub(in crate::transport) struct Challenge {
        key: AuthenticationKey,
        key_name: Option<String>,
    }

    impl Challenge {
        /// Reads a reply. `None` when it is not a challenge, but for example a refusal.
        pub(in crate::transport) fn parse(reply: &Reply) -> Result<Option<Self>, TransportError> {
            if reply.status != 401 {
                return Ok(None);
            }
            let Ok(challenge) = dps_types::json::from_slice::<TpmChallenge>(&reply.body) else {
                return Ok(None);
            };
            Ok(Some(Self {
                key: AuthenticationKey::from_base64(&challenge.authentication_key)
                    .map_err(malformed_key)?,
                key_name: challenge.key_name,
            }))
        }

        /// Opens the challenge with the TPM. Returns the name of the key that signs from then on.
        pub(in crate::transport) async fn open(
            self,
            tpm: &dyn TpmKeys,
            limit: Duration,
        ) -> Result<String, TransportError> {
            let opened = tpm.activate(&self.key);
            in_time(opened, limit, "the TPM did not open the challenge").await?;
            Ok(self.key_name.unwrap_or_else(|| SAS_POLICY.to_owned()))
        }
    }
}

/// Sets a time limit for a TPM. A TPM that fails is not asked again: unlike a network it does not recover by itself.
pub(crate) async fn in_time(
    work: impl Future<Output = Result<(), SignError>>,
    limit: Duration,
    what: &'static str,
) -> Result<(), TransportError> {
    match timeout(limit, work).await {
        Ok(done) => {
            done.map_err(|error| TransportError::new(signing_kind(&error), what).with_source(error))
        }
        Err(_) => Err(TransportError::new(
            ErrorKind::Signing,
            format!("{what} within {limit:?}"),
        )),
    }
}

pub(crate) fn malformed_key(error: ParseError) -> TransportError {
    TransportError::new(
        ErrorKind::Protocol,
        "the service sent a malformed key for the TPM",
    )
    .with_source(error)
}
