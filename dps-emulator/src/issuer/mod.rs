//! Certificate authorities: one to make device certificates with, and the emulator's own on top of it.

mod request;
mod server;

use std::error::Error as StdError;
use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::time::{Duration, SystemTime};

use dps_types::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::attest::PresentedChain;
use crate::certificate::Certificate;

pub(crate) use server::ServerAuthority;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate authority for tests and first steps: it signs device certificates and other authorities.
///
/// The keys are ECDSA on P-256. Authorities are valid for 20 years, devices for 10, all from yesterday on so that
/// no clock is too late.
///
/// ```
/// use dps_emulator::CertificateAuthority;
///
/// # fn main() -> Result<(), dps_emulator::AuthorityError> {
/// let root = CertificateAuthority::new("Contoso Root")?;
/// let factory = root.intermediate("Contoso Factory 1")?;
/// let device = factory.issue("device-1")?;
///
/// let for_the_operator = root.certificate_pem();
/// let for_the_device = (device.certificate_chain_pem(), device.private_key_pem());
/// # let _ = (for_the_operator, for_the_device);
/// # Ok(())
/// # }
/// ```
pub struct CertificateAuthority {
    name: String,
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
    /// The authorities above this one, the root last.
    above: Vec<String>,
}

/// A device's certificate, with the intermediates above it, and its private key.
pub struct DeviceCredentials {
    certificate: String,
    intermediates: String,
    private_key: Zeroizing<String>,
}

impl CertificateAuthority {
    /// A root of this common name, with a new key.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Name`] for an empty name, [`AuthorityErrorKind::Generate`].
    pub fn new(common_name: &str) -> Result<Self, AuthorityError> {
        let (params, key) = (authority_params(common_name)?, new_key()?);
        let certificate = params.self_signed(&key).map_err(generate)?.pem();
        Ok(Self {
            name: common_name.to_owned(),
            issuer: Issuer::new(params, key),
            certificate,
            above: Vec::new(),
        })
    }

    /// An authority below this one, with a new key.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn intermediate(&self, common_name: &str) -> Result<Self, AuthorityError> {
        let (params, key) = (authority_params(common_name)?, new_key()?);
        let signed = params.signed_by(&key, &self.issuer).map_err(generate)?;
        Ok(Self {
            name: common_name.to_owned(),
            issuer: Issuer::new(params, key),
            certificate: signed.pem(),
            above: self.chain().map(str::to_owned).collect(),
        })
    }

    /// A certificate for the device of this registration id, which becomes the common name, with a new key.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn issue(&self, registration_id: &str) -> Result<DeviceCredentials, AuthorityError> {
        self.issue_with_validity(registration_id, years(10))
    }

    /// As [`issue`](Self::issue), valid from the start of the range to its end, in whole seconds. Makes expired
    /// certificates for tests.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn issue_with_validity(
        &self,
        registration_id: &str,
        validity: Range<SystemTime>,
    ) -> Result<DeviceCredentials, AuthorityError> {
        let (params, key) = (device_params(registration_id, validity)?, new_key()?);
        let signed = params.signed_by(&key, &self.issuer).map_err(generate)?;
        let chain: Vec<_> = self.chain().collect();
        let intermediates = &chain[..self.above.len()];
        Ok(DeviceCredentials::new(
            signed.pem(),
            intermediates.concat(),
            &key,
        ))
    }

    /// The authority's own certificate: what an enrollment group takes.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The authority's own certificate and all above it, the root last.
    pub fn chain_pem(&self) -> String {
        self.chain().collect()
    }

    fn chain(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.certificate)
            .chain(&self.above)
            .map(String::as_str)
    }

    /// A root that [`new`](Self::new) made before.
    fn restore(certificate: String, key: &str) -> Result<Self, AuthorityError> {
        const UNUSABLE: &str =
            "the certificate and the key are damaged, expired, or not each other's";
        let unusable = || AuthorityError::new(AuthorityErrorKind::Damaged, UNUSABLE);

        let root = Certificate::from_text(&certificate).map_err(|e| unusable().because(e))?;
        let name = root.common_name().ok_or_else(unusable)?;
        // The error is left out: it may quote the key.
        let key = KeyPair::from_pem(key).map_err(|_| unusable())?;
        let restored = Self {
            name: name.to_owned(),
            issuer: Issuer::new(authority_params(name)?, key),
            certificate,
            above: Vec::new(),
        };

        let trial = restored.issue("trial")?;
        let trial =
            Certificate::from_text(&trial.certificate).map_err(|e| unusable().because(e))?;
        PresentedChain::new(&[trial.der().clone()])
            .and_then(|chain| chain.distance_to(&root, SystemTime::now()))
            .map_err(|e| unusable().because(e))?;
        Ok(restored)
    }
}

impl DeviceCredentials {
    /// A certificate that the device signed itself, as individual enrollments allow, with a new key.
    ///
    /// # Errors
    ///
    /// As for [`CertificateAuthority::new`].
    pub fn self_signed(registration_id: &str) -> Result<Self, AuthorityError> {
        let (params, key) = (device_params(registration_id, years(10))?, new_key()?);
        let certificate = params.self_signed(&key).map_err(generate)?;
        Ok(Self::new(certificate.pem(), String::new(), &key))
    }

    fn new(certificate: String, intermediates: String, key: &KeyPair) -> Self {
        Self {
            certificate,
            intermediates,
            private_key: Zeroizing::new(key.serialize_pem()),
        }
    }

    /// The device's certificate alone: what an individual enrollment takes.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// What the device presents: its certificate, then the intermediates, without the root.
    pub fn certificate_chain_pem(&self) -> String {
        [&*self.certificate, &*self.intermediates].concat()
    }

    /// The private key, PKCS#8. It is wiped from these credentials on drop.
    pub fn private_key_pem(&self) -> &str {
        &self.private_key
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for DeviceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCredentials")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

fn authority_params(common_name: &str) -> Result<CertificateParams, AuthorityError> {
    let mut params = params(common_name, years(20))?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn device_params(
    registration_id: &str,
    validity: Range<SystemTime>,
) -> Result<CertificateParams, AuthorityError> {
    let mut params = params(registration_id, validity)?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    Ok(params)
}

fn params(
    common_name: &str,
    validity: Range<SystemTime>,
) -> Result<CertificateParams, AuthorityError> {
    if common_name.is_empty() {
        let what = "a certificate needs a name";
        return Err(AuthorityError::new(AuthorityErrorKind::Name, what));
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, common_name);
    params.not_before = whole_second(validity.start);
    params.not_after = whole_second(validity.end);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn new_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate().map_err(generate)
}

fn years(count: u32) -> Range<SystemTime> {
    let now = SystemTime::now();
    now - DAY..now + 365 * count * DAY
}

/// Brings clocks that no certificate can hold back into range, as [`Timestamp`] does.
fn whole_second(moment: SystemTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(Timestamp::from(moment).unix_seconds())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

/// Why a certificate authority could not be made, loaded or used.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct AuthorityError {
    kind: AuthorityErrorKind,
    what: String,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The kinds of [`AuthorityError`].
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuthorityErrorKind {
    /// A name is empty, or neither a DNS name nor an IP address: correct it.
    Name,
    /// A certificate signing request is malformed, or asks for a kind of key that is not supported: make another.
    Request,
    /// A key or a signature could not be made. Not expected: the system gave no random numbers.
    Generate,
    /// A file could not be read: check its permissions.
    Read,
    /// A file could not be written: check the directory and the space left.
    Write,
    /// The kept authority is incomplete, damaged or expired: remove both its files to get a new one.
    Damaged,
}

impl AuthorityError {
    /// What went wrong, to match on.
    pub fn kind(&self) -> AuthorityErrorKind {
        self.kind
    }

    fn new(kind: AuthorityErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    fn because(self, source: impl StdError + Send + Sync + 'static) -> Self {
        Self {
            source: Some(Box::new(source)),
            ..self
        }
    }

    fn at(self, path: &Path) -> Self {
        Self {
            what: format!("{}: {}", path.display(), self.what),
            ..self
        }
    }
}

fn generate(error: impl StdError + Send + Sync + 'static) -> AuthorityError {
    let what = "a certificate could not be made";
    AuthorityError::new(AuthorityErrorKind::Generate, what).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::attest::chain::ChainRule;

    fn certificates(pem: &str) -> Vec<Certificate> {
        pem.split_inclusive("-----END CERTIFICATE-----")
            .filter(|block| block.contains("BEGIN"))
            .map(|block| Certificate::from_text(block).unwrap())
            .collect()
    }

    fn names(pem: &str) -> Vec<String> {
        let name = |it: &Certificate| it.common_name().unwrap().to_owned();
        certificates(pem).iter().map(name).collect()
    }

    fn distance(
        device: &DeviceCredentials,
        anchor: &CertificateAuthority,
    ) -> Result<usize, ChainRule> {
        let presented: Vec<_> = certificates(&device.certificate_chain_pem())
            .iter()
            .map(|it| it.der().clone())
            .collect();
        let anchor = Certificate::from_text(anchor.certificate_pem()).unwrap();
        PresentedChain::new(&presented)
            .and_then(|chain| chain.distance_to(&anchor, SystemTime::now()))
            .map_err(|error| error.rule())
    }

    #[test]
    fn a_device_presents_all_but_the_root() {
        let root = CertificateAuthority::new("Contoso Root").unwrap();
        let region = root.intermediate("Region").unwrap();
        let factory = region.intermediate("Factory").unwrap();
        let device = factory.issue("device-1").unwrap();

        assert_eq!(names(root.certificate_pem()), ["Contoso Root"]);
        assert_eq!(
            names(&factory.chain_pem()),
            ["Factory", "Region", "Contoso Root"]
        );
        assert_eq!(names(device.certificate_pem()), ["device-1"]);
        assert_eq!(
            names(&device.certificate_chain_pem()),
            ["device-1", "Factory", "Region"]
        );
        assert_eq!(distance(&device, &root), Ok(2));
        assert_eq!(distance(&device, &factory), Ok(0));

        let direct = root.issue("device-2").unwrap();
        assert_eq!(names(&direct.certificate_chain_pem()), ["device-2"]);
        assert_eq!(distance(&direct, &root), Ok(0));
        assert_eq!(distance(&direct, &factory), Err(ChainRule::NotAnchored));
    }

    #[test]
    fn the_validity_is_as_asked_for() {
        let root = CertificateAuthority::new("Root").unwrap();
        let now = SystemTime::now();

        let expired = root.issue_with_validity("device-1", now - 2 * DAY..now - DAY);
        assert_eq!(distance(&expired.unwrap(), &root), Err(ChainRule::Expired));
        let early = root.issue_with_validity("device-1", now + DAY..now + 2 * DAY);
        assert_eq!(
            distance(&early.unwrap(), &root),
            Err(ChainRule::NotYetValid)
        );

        let device = DeviceCredentials::self_signed("device-1").unwrap();
        let device = Certificate::from_text(device.certificate_pem()).unwrap();
        assert!(device.is_valid_at(now + 3649 * DAY));
        assert!(!device.is_valid_at(now + 3651 * DAY));
        assert!(!device.is_valid_at(now - 2 * DAY));
    }

    #[test]
    fn no_key_shows_in_debug() {
        let root = CertificateAuthority::new("Root").unwrap();
        let device = root.issue("device-1").unwrap();
        assert!(
            device
                .private_key_pem()
                .starts_with("-----BEGIN PRIVATE KEY-----")
        );
        assert!(!format!("{device:?}").contains("PRIVATE KEY"));
        assert_eq!(
            format!("{root:?}"),
            "CertificateAuthority { name: \"Root\", .. }"
        );
    }

    #[test]
    fn a_certificate_without_a_name_is_refused() {
        let root = CertificateAuthority::new("Root").unwrap();
        for error in [
            CertificateAuthority::new("").unwrap_err(),
            root.intermediate("").unwrap_err(),
            root.issue("").unwrap_err(),
            DeviceCredentials::self_signed("").unwrap_err(),
        ] {
            assert_eq!(error.kind(), AuthorityErrorKind::Name, "{error}");
        }
    }
}
