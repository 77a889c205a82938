//! A certificate that DPS or the hub issued for a key pair of the device.

use std::fmt;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dps_types::{RegistrationId, Timestamp};
use rustls::pki_types::CertificateDer;

use super::chain::{self, CheckedChain, Expected, is_self_issued};
use super::fault::{CertificateFault as Fault, MAX_CERTIFICATES};
use super::key_pair::KeyPair;
use super::request::CertificateRequest;
use crate::attestation::{Attestation, ClientIdentity, Proof};
use crate::error::Error;

/// A certificate that was issued for this device, with its key pair and its issuers.
///
/// It is an [`Attestation`] for the hub: pass it to `HubEndpoint::with_certificate`. It does not replace the attestation that the
/// device has for DPS. Clones are cheap.
///
/// ```no_run
/// # async fn example(client: dps_device::ProvisioningClient) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_device::certificate::{CertificateRequest, KeyKind, KeyPair};
///
/// let request = CertificateRequest::new("toaster-1".parse()?, KeyPair::generate(KeyKind::P256)?).await?;
/// let (_assignment, certificate) = client.register().certificate(request).await?;
/// println!("{} certificates, until {:?}", certificate.chain().count(), certificate.valid_until());
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct IssuedCertificate {
    registration_id: RegistrationId,
    key: KeyPair,
    chain: Vec<CertificateDer<'static>>,
    identity: ClientIdentity,
    valid_from: SystemTime,
    valid_until: SystemTime,
}

impl IssuedCertificate {
    /// The maximum number of certificates in an issued chain. The service sends three.
    pub const MAX_CERTIFICATES: usize = MAX_CERTIFICATES;

    /// Reads the answer to a request: certificates in base64 of DER, the device's first, then each issuer up to the root.
    ///
    /// Nothing of the answer is used unless all of it is sound: the order, the signatures, the validity, the common name, and the
    /// public key.
    ///
    /// # Errors
    /// [`ErrorKind::Certificate`](crate::ErrorKind::Certificate), whose source is a [`CertificateFault`](super::CertificateFault).
    pub fn from_answer<C: AsRef<[u8]>>(
        request: &CertificateRequest,
        certificates: &[C],
        now: SystemTime,
    ) -> Result<Self, Error> {
        if certificates.len() > Self::MAX_CERTIFICATES {
            let found = certificates.len();
            return Err(Fault::TooMany { found }.into());
        }
        let ders = certificates
            .iter()
            .enumerate()
            .map(|(index, text)| {
                STANDARD.decode(text).map_err(|_| Fault::Malformed {
                    position: index + 1,
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        Self::new(
            request.registration_id().clone(),
            request.key().clone(),
            ders,
            Some(now),
        )
    }

    /// The registration id, which is the common name of the certificate.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    /// The key pair of the certificate.
    pub fn key(&self) -> &KeyPair {
        &self.key
    }

    /// All certificates, each one DER: the device's first, then each issuer up to the root.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.chain.iter().map(AsRef::as_ref)
    }

    /// The identity for the TLS handshake: the certificate, its issuers without the root, and the key.
    pub fn identity(&self) -> &ClientIdentity {
        &self.identity
    }

    /// The start of the validity.
    pub fn valid_from(&self) -> SystemTime {
        self.valid_from
    }

    /// The end of the validity.
    pub fn valid_until(&self) -> SystemTime {
        self.valid_until
    }

    /// True if the certificate is no longer valid at this time.
    pub fn has_expired(&self, now: SystemTime) -> bool {
        now >= self.valid_until
    }

    /// The whole duration of the validity.
    pub fn lifetime(&self) -> Duration {
        self.valid_until
            .duration_since(self.valid_from)
            .unwrap_or_default()
    }

    pub(super) fn new(
        registration_id: RegistrationId,
        key: KeyPair,
        ders: Vec<Vec<u8>>,
        now: Option<SystemTime>,
    ) -> Result<Self, Error> {
        let expected = Expected {
            registration_id: &registration_id,
            public_key: key.public_key(),
            now,
        };
        let CheckedChain {
            certificates: chain,
            valid_from,
            valid_until,
        } = chain::check(ders, &expected)?;
        let mut sent = chain.clone();
        if sent.len() > 1 && sent.last().is_some_and(|last| is_self_issued(last)) {
            sent.pop();
        }
        let identity = key.identity_of(sent)?;
        Ok(Self {
            registration_id,
            key,
            chain,
            identity,
            valid_from,
            valid_until,
        })
    }
}

impl Attestation for IssuedCertificate {
    fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Certificate(&self.identity)
    }
}

/// Two are equal if they have the same certificate.
impl PartialEq for IssuedCertificate {
    fn eq(&self, other: &Self) -> bool {
        self.chain == other.chain
    }
}

impl Eq for IssuedCertificate {}

impl fmt::Debug for IssuedCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedCertificate")
            .field("registration_id", &self.registration_id)
            .field("key", &self.key)
            .field("valid_from", &Timestamp::from(self.valid_from))
            .field("valid_until", &Timestamp::from(self.valid_until))
            .finish_non_exhaustive()
    }
}
