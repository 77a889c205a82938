//! The login of a client: the SASL layer, or the certificate of a client without one.

use dps_amqp::sasl::{Mechanism, Outcome, SaslServer};
use dps_amqp::{Error, Frames, ProtocolHeader};
use dps_types::enrollment::TpmAttestation;
use dps_types::protocol::ApiVersion;
use dps_types::protocol::amqp::Address;
use dps_types::sas::SasToken;
use dps_types::tpm::TpmPublic;
use tokio::io::{AsyncRead, AsyncWrite};

use super::super::Caller;
use crate::attest::Presented;
use crate::instances::Instances;
use crate::provision::Device;
use crate::service_error::ServiceError;

/// How a client authenticates. The requests verify it.
pub(super) enum Login {
    /// With a token, for this device.
    Token {
        address: Address,
        token: SasToken,
        /// Whether the token answers a challenge to a TPM.
        tpm: bool,
    },
    /// With a certificate, or not at all.
    Certificate,
}

/// Reads the headers, and performs the SASL exchange if the client begins one. `None` if the client was refused.
pub(super) async fn login<S>(
    mut frames: Frames<S>,
    instances: &Instances,
    caller: Caller<'_>,
) -> Result<Option<(Frames<S>, Login)>, Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // The SDKs use no SASL layer with a certificate.
    if frames.read_header().await? == ProtocolHeader::Amqp {
        return Ok(Some((frames, Login::Certificate)));
    }
    let (mut sasl, mechanism) = SaslServer::accept(&mut frames).await?;
    let name = mechanism_device(&mechanism);
    let login = match mechanism {
        Mechanism::Plain { user, password } => plain(&user, &password),
        Mechanism::Tpm {
            id_scope,
            registration_id,
            endorsement_key,
            storage_root_key,
        } => {
            let address = format!("{id_scope}/registrations/{registration_id}");
            match challenge(
                instances,
                caller,
                &address,
                &endorsement_key,
                &storage_root_key,
            )
            .await
            {
                Ok((address, key)) => {
                    let token = sasl.challenge(&mut frames, &key).await?;
                    with_token(address, &token, true)
                }
                Err(error) => Err(error),
            }
        }
        // The client has authenticated in the TLS layer, or authenticates on a link as at a hub.
        _ => Ok(Login::Certificate),
    };
    match login {
        Ok(login) => {
            sasl.finish(&mut frames, Outcome::Ok).await?;
            if frames.read_header().await? != ProtocolHeader::Amqp {
                return Ok(None);
            }
            Ok(Some((frames, login)))
        }
        Err(error) => {
            instances.first().refused(caller, name.as_deref(), &error);
            let outcome = match error.is_transient() {
                true => Outcome::TemporaryFailure,
                false => Outcome::Unauthorized,
            };
            sasl.finish(&mut frames, outcome).await?;
            Ok(None)
        }
    }
}

fn plain(user: &str, token: &str) -> Result<Login, ServiceError> {
    let address: Address = user.parse().map_err(|error| {
        ServiceError::unauthorized().with_reason(format!(
            "the user name '{user}' is not of the form idScope/registrations/registrationId: {error}; the hubs of this emulator do not have AMQP"
        ))
    })?;
    with_token(address, token, false)
}

/// Reads a token. The requests verify it: a rejected request carries the reason, which a SASL outcome cannot.
fn with_token(address: Address, token: &str, tpm: bool) -> Result<Login, ServiceError> {
    match Presented::of(Some(token), None)? {
        Presented::Token(token) => Ok(Login::Token {
            address,
            token,
            tpm,
        }),
        _ => Err(ServiceError::unauthorized()),
    }
}

/// The key that the TPM must open.
async fn challenge(
    instances: &Instances,
    caller: Caller<'_>,
    address: &str,
    endorsement_key: &[u8],
    storage_root_key: &[u8],
) -> Result<(Address, Vec<u8>), ServiceError> {
    let address: Address = address.parse()?;
    let mut keys = TpmAttestation::new(TpmPublic::parse(endorsement_key)?.to_base64());
    keys.storage_root_key = Some(TpmPublic::parse(storage_root_key)?.to_base64());
    let device = Device {
        id_scope: &address.id_scope,
        registration_id: &address.registration_id,
        presented: Presented::Nothing,
        api_version: ApiVersion::V2021_06_01,
        takes_challenge: true,
        source: caller.peer.address.ip(),
    };
    let gateway = instances.for_device(&address.id_scope).await?;
    let key = gateway.engine.challenge_key(&device, &keys).await?;
    Ok((address, key.to_bytes()))
}

/// The device that a client names, for the log.
fn mechanism_device(mechanism: &Mechanism) -> Option<String> {
    match mechanism {
        Mechanism::Plain { user, .. } => Some(user.clone()),
        Mechanism::Tpm {
            registration_id, ..
        } => Some(registration_id.clone()),
        _ => None,
    }
}
