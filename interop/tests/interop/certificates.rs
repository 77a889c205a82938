//! Certificates for devices: a root, an intermediate, and leaf certificates.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A certificate authority.
#[derive(Debug)]
pub(crate) struct CertificateAuthority(CertifiedIssuer<'static, KeyPair>);

impl CertificateAuthority {
    /// Creates a root certificate.
    ///
    /// # Panics
    /// When the certificate cannot be created.
    pub(crate) fn root(name: &str) -> Self {
        let root = CertifiedIssuer::self_signed(authority(name), key());
        Self(root.expect("a root"))
    }

    /// Creates an intermediate certificate.
    ///
    /// # Panics
    /// When the certificate cannot be created.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let signed = CertifiedIssuer::signed_by(authority(name), key(), &self.0);
        Self(signed.expect("an intermediate"))
    }

    /// Creates a device certificate. The chain has only this certificate.
    ///
    /// # Panics
    /// When the certificate cannot be created.
    pub(crate) fn device(&self, registration_id: &str) -> DeviceCertificate {
        let key = key();
        let signed = device(registration_id).signed_by(&key, &self.0);
        DeviceCertificate {
            chain: signed.expect("a device certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    /// The certificate.
    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }
}

/// A device's certificate chain and private key.
#[derive(Clone)]
pub(crate) struct DeviceCertificate {
    /// PEM, the device's certificate first.
    pub chain: String,
    /// PEM of PKCS#8.
    pub key: String,
}

impl DeviceCertificate {
    /// Creates a self-signed device certificate.
    ///
    /// # Panics
    /// When the certificate cannot be created.
    pub(crate) fn self_signed(registration_id: &str) -> Self {
        let key = key();
        let signed = device(registration_id).self_signed(&key);
        Self {
            chain: signed.expect("a device certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    /// Appends this CA's certificate to the chain.
    #[must_use]
    pub(crate) fn with(mut self, authority: &CertificateAuthority) -> Self {
        self.chain.push_str(&authority.pem());
        self
    }
}

impl fmt::Debug for DeviceCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCertificate")
            .field("chain", &self.chain)
            .finish_non_exhaustive()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn device(registration_id: &str) -> CertificateParams {
    let mut params = named(registration_id);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
