//! Certificates for devices: a root, an intermediate, and what they sign.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose,
};

/// A CA that signs other CAs and devices.
#[derive(Debug)]
pub struct CertificateAuthority(CertifiedIssuer<'static, KeyPair>);

impl CertificateAuthority {
    /// A root.
    ///
    /// # Panics
    /// When no certificate can be made, as everything here does.
    pub fn root(name: &str) -> Self {
        let root = CertifiedIssuer::self_signed(authority(name), key());
        Self(root.expect("a root"))
    }

    /// A CA that this one signed.
    ///
    /// # Panics
    /// When no certificate can be made.
    pub fn intermediate(&self, name: &str) -> Self {
        let signed = CertifiedIssuer::signed_by(authority(name), key(), &self.0);
        Self(signed.expect("an intermediate"))
    }

    /// A device that this CA signed. Its chain is its own certificate.
    ///
    /// # Panics
    /// When no certificate can be made.
    pub fn device(&self, registration_id: &str) -> DeviceCertificate {
        let key = key();
        let signed = device(registration_id).signed_by(&key, &self.0);
        DeviceCertificate {
            chain: signed.expect("a device certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    /// The certificate.
    pub fn pem(&self) -> String {
        self.0.pem()
    }
}

/// What a device shows, and the key that goes with it.
#[derive(Clone)]
#[non_exhaustive]
pub struct DeviceCertificate {
    /// PEM, the device's certificate first.
    pub chain: String,
    /// PEM of PKCS#8.
    pub key: String,
}

impl DeviceCertificate {
    /// A device that nobody but itself vouches for.
    ///
    /// # Panics
    /// When no certificate can be made.
    pub fn self_signed(registration_id: &str) -> Self {
        let key = key();
        let signed = device(registration_id).self_signed(&key);
        Self {
            chain: signed.expect("a device certificate").pem(),
            key: key.serialize_pem(),
        }
    }

    /// Shows this CA as well.
    #[must_use]
    pub fn with(mut self, authority: &CertificateAuthority) -> Self {
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
