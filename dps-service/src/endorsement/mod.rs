//! The check of an endorsement key before its device is enrolled: the manufacturer of the TPM certifies the key.

mod content;
mod fault;

use std::fmt;
use std::time::SystemTime;

use dps_tls::{read_certificates, read_padded_certificates};
use dps_types::tpm::TpmPublic;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

pub use content::CertifiedTpm;
pub use fault::EndorsementFault;

use crate::error::{Error, ErrorKind};
use content::Content;

/// The certificates of TPM manufacturers, which a back end trusts to certify endorsement keys.
///
/// DPS itself accepts every endorsement key that is enrolled: it does not check that the key is inside a TPM. The back end that enrolls
/// the device can check this with the manufacturer's certificate of the key, which many TPMs hold in their memory.
///
/// A check is that
///
/// * a given root of a manufacturer has issued the certificate, directly or over intermediates, and the certificate and the intermediates
///   are valid now;
/// * its public key is the endorsement key;
/// * it is a certificate for an endorsement key: the extended key usage 2.23.133.8.1, the key usage `keyEncipherment`, not a
///   certification authority, and the manufacturer, model and version of the TPM in the subject alternative name.
///
/// Revocation and the dates of the roots are not checked: a root is trusted until it is removed from the input.
///
/// Source: TCG, *EK Credential Profile for TPM Family 2.0*, level 0 version 2.3, chapter 3.2.
///
/// ```no_run
/// # fn check(certificate: &[u8], endorsement_key: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::SystemTime;
///
/// use dps_service::{EndorsementVerifier, IndividualEnrollment, AttestationMechanism};
/// use dps_types::tpm::TpmPublic;
///
/// let verifier = EndorsementVerifier::new(std::fs::read("manufacturer-roots.pem")?)?
///     .with_intermediates(std::fs::read("manufacturer-intermediates.pem")?)?;
/// let key = TpmPublic::from_base64(endorsement_key)?;
/// let tpm = verifier.verify(&key, certificate, SystemTime::now())?;
/// println!("a TPM of {}, model {}", tpm.manufacturer(), tpm.model());
/// let enrollment =
///     IndividualEnrollment::new(key.default_registration_id(), AttestationMechanism::tpm(key.to_base64()));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EndorsementVerifier {
    roots: Vec<TrustAnchor<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
}

impl EndorsementVerifier {
    /// Trusts the manufacturers with these root certificates (PEM or DER). Every certificate of the input is trusted.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] if the input is not a list of certificates.
    pub fn new(roots: impl AsRef<[u8]>) -> Result<Self, Error> {
        let anchor = |der| {
            anchor_from_trusted_cert(der)
                .map(|anchor| anchor.to_owned())
                .map_err(|error| {
                    unreadable("a root certificate of a manufacturer").with_source(error)
                })
        };
        let roots = read_certificates(roots.as_ref()).map_err(|error| {
            unreadable("the root certificates of the manufacturers").with_source(error)
        })?;
        Ok(Self {
            roots: roots.iter().map(anchor).collect::<Result<_, _>>()?,
            intermediates: Vec::new(),
        })
    }

    /// Adds intermediate certificates (PEM or DER), which are not trusted by themselves.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn with_intermediates(mut self, certificates: impl AsRef<[u8]>) -> Result<Self, Error> {
        let certificates = read_certificates(certificates.as_ref()).map_err(|error| {
            unreadable("the intermediate certificates of the manufacturers").with_source(error)
        })?;
        self.intermediates.extend(certificates);
        Ok(self)
    }

    /// Checks the certificate of an endorsement key: PEM, or DER as the TPM stores it. Intermediate certificates may follow it.
    ///
    /// # Errors
    /// [`ErrorKind::Endorsement`] if the check fails: the source is an [`EndorsementFault`]. Do not enroll the device.
    pub fn verify(
        &self,
        endorsement_key: &TpmPublic,
        certificate: impl AsRef<[u8]>,
        now: SystemTime,
    ) -> Result<CertifiedTpm, Error> {
        self.check(endorsement_key, certificate.as_ref(), now)
            .map_err(|fault| {
                let message = "the manufacturer's certificate does not confirm the endorsement key";
                Error::new(ErrorKind::Endorsement, message).with_source(fault)
            })
    }

    fn check(
        &self,
        endorsement_key: &TpmPublic,
        certificate: &[u8],
        now: SystemTime,
    ) -> Result<CertifiedTpm, EndorsementFault> {
        let chain = match certificate.first() {
            Some(0x30) => read_padded_certificates(certificate),
            _ => read_certificates(certificate),
        };
        let chain = chain.map_err(|error| EndorsementFault::Malformed {
            reason: error.to_string(),
        })?;
        let [certificate, intermediates @ ..] = &chain[..] else {
            return Err(EndorsementFault::Malformed {
                reason: "there is no certificate".to_owned(),
            });
        };
        let content = Content::parse(certificate)?;
        content.check_key(endorsement_key)?;
        content.check_use()?;
        content.check_validity(now)?;
        self.check_issuers(certificate, intermediates, now)?;
        content.tpm()
    }

    /// Checks the signatures, the validity of the issuers, and their constraints.
    fn check_issuers(
        &self,
        certificate: &CertificateDer<'_>,
        sent: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), EndorsementFault> {
        let untrusted = |error: webpki::Error| EndorsementFault::Untrusted {
            reason: error.to_string(),
        };
        let certificate = EndEntityCert::try_from(certificate).map_err(untrusted)?;
        let intermediates: Vec<_> = self.intermediates.iter().chain(sent).cloned().collect();
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        // The certificate itself must have the usage, which was checked. Its issuers need it only if they are restricted.
        let usage = KeyUsage::required_if_present(content::ENDORSEMENT_USAGE.as_bytes());
        certificate
            .verify_for_usage(
                default_provider().signature_verification_algorithms.all,
                &self.roots,
                &intermediates,
                UnixTime::since_unix_epoch(now),
                usage,
                None,
                None,
            )
            .map_err(untrusted)?;
        Ok(())
    }
}

impl fmt::Debug for EndorsementVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndorsementVerifier")
            .field("roots", &self.roots.len())
            .field("intermediates", &self.intermediates.len())
            .finish()
    }
}

fn unreadable(what: &str) -> Error {
    Error::new(
        ErrorKind::InvalidConfiguration,
        format!("{what} cannot be read"),
    )
}
