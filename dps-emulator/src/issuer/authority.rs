//! A certificate authority that makes device certificates.

use std::fmt;
use std::ops::Range;
use std::path::Path;
use std::time::SystemTime;

use rcgen::{CertificateParams, Issuer, KeyPair};

use super::{
    DeviceCredentials, authority_params, device_params, generate, new_key, subject, years,
};
use crate::attest::PresentedChain;
use crate::certificate::Certificate;
use crate::error::{Error, ErrorKind};

/// A certificate authority for tests and first steps. It issues certificates for devices and for other authorities.
///
/// The keys are ECDSA on P-256. Certificates of authorities are valid for 20 years, those of devices for 10. Their validity
/// starts one day ago, so that a slow clock accepts them.
///
/// ```
/// use dps_emulator::CertificateAuthority;
///
/// # fn main() -> Result<(), dps_emulator::Error> {
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
    pub(super) issuer: Issuer<'static, KeyPair>,
    pub(super) certificate: String,
    /// The certificates of the authorities above this one, the root last.
    above: Vec<String>,
}

impl CertificateAuthority {
    /// Makes a root with this common name and a new key.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] for an empty name, [`ErrorKind::Certificate`] if no key could be made.
    pub fn new(common_name: &str) -> Result<Self, Error> {
        Self::with_key(common_name, new_key()?)
    }

    pub(super) fn with_key(common_name: &str, key: KeyPair) -> Result<Self, Error> {
        let params = authority_params(subject::common_name(common_name)?, years(20));
        let certificate = params.self_signed(&key).map_err(generate)?.pem();
        Ok(Self {
            name: common_name.to_owned(),
            issuer: Issuer::new(params, key),
            certificate,
            above: Vec::new(),
        })
    }

    /// Makes an authority below this one, with a new key.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn intermediate(&self, common_name: &str) -> Result<Self, Error> {
        let params = authority_params(subject::common_name(common_name)?, years(20));
        let key = new_key()?;
        let signed = params.signed_by(&key, &self.issuer).map_err(generate)?;
        Ok(Self {
            name: common_name.to_owned(),
            issuer: Issuer::new(params, key),
            certificate: signed.pem(),
            above: self.chain().map(str::to_owned).collect(),
        })
    }

    /// Issues a certificate with the registration id as common name, and a new key.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn issue(&self, registration_id: &str) -> Result<DeviceCredentials, Error> {
        self.issue_with_validity(registration_id, years(10))
    }

    /// Issues a certificate like [`issue`](Self::issue), valid from the start of the range to its end, in whole seconds. For
    /// tests with expired certificates.
    ///
    /// # Errors
    ///
    /// As for [`new`](Self::new).
    pub fn issue_with_validity(
        &self,
        registration_id: &str,
        validity: Range<SystemTime>,
    ) -> Result<DeviceCredentials, Error> {
        self.issue_from(device_params(
            subject::common_name(registration_id)?,
            validity,
        ))
    }

    /// Issues a certificate with any subject and a new key: attributes such as `("OU", "Line 1")`, the most general one
    /// first. For allocation policies that read the subject.
    ///
    /// An attribute is one of `CN`, `SN`, `SERIALNUMBER`, `C`, `L`, `ST`, `STREET`, `O`, `OU`, `T`, `GN`, `DC` and `E`, or an
    /// object identifier. The device registers with the common name as its registration id.
    ///
    /// ```
    /// # fn main() -> Result<(), dps_emulator::Error> {
    /// let root = dps_emulator::CertificateAuthority::new("Contoso Root")?;
    /// let device = root.issue_with_subject([("O", "Contoso"), ("OU", "Line 1"), ("CN", "device-1")])?;
    /// # let _ = device;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidName`] for an attribute that is unknown, empty or repeated; and as for [`new`](Self::new).
    pub fn issue_with_subject<'a>(
        &self,
        subject: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<DeviceCredentials, Error> {
        self.issue_from(device_params(subject::parse(subject)?, years(10)))
    }

    fn issue_from(&self, params: CertificateParams) -> Result<DeviceCredentials, Error> {
        let key = new_key()?;
        let signed = params.signed_by(&key, &self.issuer).map_err(generate)?;
        let intermediates = self.intermediates_pem();
        Ok(DeviceCredentials::new(signed.pem(), intermediates, &key))
    }

    /// The authority's own certificate, for an enrollment group.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The authority's own certificate and all certificates above it, the root last.
    pub fn chain_pem(&self) -> String {
        self.chain().collect()
    }

    /// The certificates that a device below this authority presents after its own: all but the root.
    pub(super) fn intermediates_pem(&self) -> String {
        self.chain().take(self.above.len()).collect()
    }

    fn chain(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.certificate)
            .chain(&self.above)
            .map(String::as_str)
    }

    /// Reads a root that was made before.
    pub(super) fn restore(certificate: String, key: &str, path: &Path) -> Result<Self, Error> {
        const UNUSABLE: &str = "the certificate authority is damaged or expired, or its two files do not belong together: remove both files to get a new one";
        let unusable = || {
            let what = format!("{}: {UNUSABLE}", path.display());
            Error::new(ErrorKind::Certificate, what)
        };

        let root = Certificate::from_text(&certificate).map_err(|e| unusable().with_source(e))?;
        // A change anywhere in it would make clients refuse what it issues.
        if !root.is_signed_by(root.public_key()) {
            return Err(unusable());
        }
        let name = root.common_name().ok_or_else(unusable)?;
        // The error is not a source: it may quote the key.
        let key = KeyPair::from_pem(key).map_err(|_| unusable())?;
        let restored = Self {
            name: name.to_owned(),
            issuer: Issuer::new(
                authority_params(subject::common_name(name)?, years(20)),
                key,
            ),
            certificate,
            above: Vec::new(),
        };

        // Issuing a certificate shows that the key belongs to the root.
        let device = restored.issue("test")?;
        let device = Certificate::from_text(device.certificate_pem())
            .map_err(|e| unusable().with_source(e))?;
        PresentedChain::new(&[device.der().clone()])
            .and_then(|chain| chain.distance_to(&root, SystemTime::now()))
            .map_err(|e| unusable().with_source(e))?;
        Ok(restored)
    }
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::super::DAY;
    use super::*;
    use crate::attest::chain_error::ChainRule;

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
    fn a_device_presents_the_chain_without_the_root() {
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
    fn the_validity_is_the_given_range() {
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
    fn debug_output_has_no_key() {
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
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        }
    }

    #[test]
    fn any_subject_can_be_issued() {
        let root = CertificateAuthority::new("Root").unwrap();
        let subject = [
            ("C", "US"),
            ("O", "Contoso, Inc."),
            ("OU", "Line 1"),
            ("CN", "device-1"),
            ("E", "line1@contoso.com"),
        ];
        let device = root.issue_with_subject(subject).unwrap();
        assert_eq!(distance(&device, &root), Ok(0));
        let device = Certificate::from_text(device.certificate_pem()).unwrap();
        assert_eq!(device.common_name(), Some("device-1"));
        assert_eq!(
            device.subject(),
            "E=line1@contoso.com, CN=device-1, OU=Line 1, O=\"Contoso, Inc.\", C=US"
        );
        let error = root.issue_with_subject([("CN", "")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidName);
    }
}
