//! The proof of a device's identity to DPS: the trait of all attestations, and the three kinds of proof.

use std::fmt;
use std::sync::Arc;

use dps_types::RegistrationId;
use dps_types::sas::Sign;

use super::identity::ClientIdentity;
use super::tpm_keys::TpmKeys;

/// The identity of a device, and the proof of it.
///
/// `Box`, `Arc` and `&` of an attestation are attestations, so a program may choose one at run time:
///
/// ```
/// # use dps_device::{Attestation, Error, RegistrationId, SymmetricKey, SymmetricKeyAttestation, X509Attestation};
/// # fn choose(id: RegistrationId, key: Option<SymmetricKey>) -> Result<Box<dyn Attestation>, Error> {
/// Ok(match key {
///     Some(key) => Box::new(SymmetricKeyAttestation::new(id, key)),
///     None => Box::new(X509Attestation::from_files("chain.pem", "key.pem")?),
/// })
/// # }
/// ```
pub trait Attestation: fmt::Debug + Send + Sync {
    /// The registration id of the device. It is the same each time.
    fn registration_id(&self) -> &RegistrationId;

    /// The proof. Its kind is the same each time.
    fn proof(&self) -> Proof<'_>;

    /// A second proof, tried once in a registration when the service refuses the first one with status 401 or refuses the
    /// MQTT connection.
    fn secondary_proof(&self) -> Option<Proof<'_>> {
        None
    }
}

/// A proof that DPS accepts. A transport carries it, or fails with
/// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
#[derive(Clone, Copy)]
#[non_exhaustive]
pub enum Proof<'a> {
    /// A client certificate, sent in the TLS handshake.
    Certificate(&'a ClientIdentity),
    /// A shared key, which signs SAS tokens.
    SharedKey(&'a dyn Sign),
    /// A TPM, which signs with a key that the service sends in a challenge.
    Tpm(&'a dyn TpmKeys),
}

impl fmt::Debug for Proof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(identity) => f.debug_tuple("Certificate").field(identity).finish(),
            Self::SharedKey(_) => f.write_str("SharedKey(..)"),
            Self::Tpm(_) => f.write_str("Tpm(..)"),
        }
    }
}

macro_rules! forward_attestation {
    ($($pointer:ty),+) => {$(
        impl<T: Attestation + ?Sized> Attestation for $pointer {
            fn registration_id(&self) -> &RegistrationId {
                (**self).registration_id()
            }

            fn proof(&self) -> Proof<'_> {
                (**self).proof()
            }

            fn secondary_proof(&self) -> Option<Proof<'_>> {
                (**self).secondary_proof()
            }
        }
    )+};
}

forward_attestation!(&T, Box<T>, Arc<T>);

/// The secondary proof if it is asked for and there is one, and the first proof otherwise.
pub(crate) fn proof(attestation: &dyn Attestation, secondary: bool) -> Proof<'_> {
    let second = secondary.then(|| attestation.secondary_proof()).flatten();
    second.unwrap_or_else(|| attestation.proof())
}
