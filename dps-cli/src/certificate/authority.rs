//! A CA of files, which signs certificates.

use std::time::{Duration, SystemTime};

use clap::{Args, ValueEnum};
use dps_device::certificate::KeyKind;
use dps_types::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData,
};
use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::parsed::Parsed;
use super::signing_key::SigningKey;
use crate::failure::{Exit, Failure, Result};
use crate::files;
use crate::input::{self, InputFile};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// The files of a CA.
#[derive(Args)]
pub(super) struct AuthorityFiles {
    /// File with the certificate of the CA, followed by those above it
    #[arg(long, value_name = "FILE", default_value = "ca.pem")]
    ca: InputFile,
    /// File with the private key of the CA
    #[arg(long, value_name = "FILE", default_value = "ca.key")]
    ca_key: InputFile,
}

/// The kind of a new key.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum KeyType {
    P256,
    P384,
}

/// A CA that can sign.
pub(crate) struct Authority {
    pub(super) issuer: Issuer<'static, SigningKey>,
    /// The certificates that a device presents after its own: the CA and those above it, without a root.
    pub(super) intermediates: Vec<CertificateDer<'static>>,
}

impl AuthorityFiles {
    pub(super) fn load(&self) -> Result<Authority> {
        Authority::load(&self.ca, &self.ca_key)
    }
}

impl Authority {
    pub(crate) fn load(ca: &InputFile, ca_key: &InputFile) -> Result<Self> {
        let certificates = dps_tls::read_certificates(&input::read(ca)?).map_err(|error| {
            Failure::usage(format!("{} is not a certificate", ca.display())).because(&error)
        })?;
        let first = certificates
            .first()
            .ok_or_else(|| Failure::usage("the CA file contains no certificate"))?;
        let parsed = Parsed::from_der(first).map_err(Failure::usage)?;
        if !parsed.is_ca {
            return Err(Failure::usage(format!(
                "{} is not the certificate of a CA: {}",
                ca.display(),
                parsed.subject
            )));
        }
        let key = key(ca_key)?;
        if key.der_bytes() != parsed.public_key {
            let message = format!(
                "{} is not the private key of {}",
                ca_key.display(),
                ca.display()
            );
            return Err(Failure::usage(message));
        }
        let issuer = Issuer::from_ca_cert_der(first, key).map_err(|error| failed(&error))?;
        let is_root = |der: &CertificateDer<'_>| {
            Parsed::from_der(der).is_ok_and(|parsed| parsed.is_self_signed())
        };
        let intermediates = certificates
            .iter()
            .filter(|der| !is_root(der))
            .cloned()
            .collect();
        Ok(Self {
            issuer,
            intermediates,
        })
    }

    /// Issues a certificate with a new key: the chain of the device, and its key, both in PEM.
    pub(crate) fn issue_device(&self, id: &str) -> Result<(String, Zeroizing<String>)> {
        let key = KeyType::P256.generate()?;
        let signed = device_params(id, 365)
            .signed_by(&key, &self.issuer)
            .map_err(|error| failed(&error))?;
        let above = files::chain_pem(&self.intermediates);
        Ok((signed.pem() + &above, key.pem()))
    }
}

impl From<KeyType> for KeyKind {
    fn from(key_type: KeyType) -> Self {
        match key_type {
            KeyType::P256 => Self::P256,
            KeyType::P384 => Self::P384,
        }
    }
}

impl KeyType {
    pub(super) fn generate(self) -> Result<SigningKey> {
        SigningKey::generate(match self {
            Self::P256 => &PKCS_ECDSA_P256_SHA256,
            Self::P384 => &PKCS_ECDSA_P384_SHA384,
        })
        .map_err(|error| failed(&error))
    }
}

/// Reads a private key. Its error does not repeat the content.
pub(crate) fn key(file: &InputFile) -> Result<SigningKey> {
    let wrong = || {
        Failure::usage(format!(
            "{} is not a private key in PKCS#8 PEM, or of an unsupported kind",
            file.display()
        ))
        .with_hint("convert it with openssl pkcs8 -topk8 -nocrypt")
    };
    let bytes = input::read(file)?;
    let der = dps_tls::read_key(&bytes).map_err(|error| wrong().because(&error))?;
    let der = Zeroizing::new(der);
    SigningKey::read(&der).map_err(|_| wrong())
}

pub(super) fn ca_params(name: &str, days: u32) -> CertificateParams {
    let mut params = params(name, days);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::KeyCertSign,
        KeyUsagePurpose::CrlSign,
        KeyUsagePurpose::DigitalSignature,
    ];
    params
}

pub(super) fn device_params(name: &str, days: u32) -> CertificateParams {
    let mut params = params(name, days);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

/// The validity starts one hour ago, so that a slow clock accepts it.
fn params(name: &str, days: u32) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now();
    params.not_before = moment(now - DAY / 24);
    params.not_after = moment(now + DAY * days);
    params.use_authority_key_identifier_extension = true;
    params
}

fn moment(time: SystemTime) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(Timestamp::from(time).unix_seconds())
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

pub(super) fn failed(error: &rcgen::Error) -> Failure {
    Failure::new(Exit::Failure, "the certificate cannot be created").because(error)
}
