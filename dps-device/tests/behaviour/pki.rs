//! A root, a server for localhost, and devices under an intermediate.

use std::sync::Arc;

use dps_device::{Roots, X509Attestation};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

pub(crate) struct Pki {
    root: CertifiedIssuer<'static, KeyPair>,
    intermediate: CertifiedIssuer<'static, KeyPair>,
}

impl Pki {
    pub(crate) fn new() -> Self {
        let key = || KeyPair::generate().unwrap();
        let root = CertifiedIssuer::self_signed(authority("root"), key()).unwrap();
        let intermediate =
            CertifiedIssuer::signed_by(authority("intermediate"), key(), &root).unwrap();
        Self { root, intermediate }
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.root.pem()).unwrap()
    }

    /// The chain of a device with this key, the leaf first, the root left out.
    pub(crate) fn device_chain(&self, name: &str, key: &KeyPair) -> String {
        let leaf = named(name).signed_by(key, &self.intermediate).unwrap();
        leaf.pem() + &self.intermediate.pem()
    }

    pub(crate) fn device(&self, name: &str) -> X509Attestation {
        let key = KeyPair::generate().unwrap();
        X509Attestation::from_pem(self.device_chain(name, &key), key.serialize_pem()).unwrap()
    }

    /// A server for `localhost`; one that asks for client certificates accepts those under the root, and no client without.
    pub(crate) fn server(&self, asks: bool) -> Arc<ServerConfig> {
        self.server_with(asks, |_| {})
    }

    /// A server for 127.0.0.1.
    #[cfg(feature = "hub")]
    pub(crate) fn server_at_address(&self) -> Arc<ServerConfig> {
        self.server_with(false, |params| {
            let address = std::net::Ipv4Addr::LOCALHOST.into();
            params.subject_alt_names = vec![rcgen::SanType::IpAddress(address)];
        })
    }

    /// A server whose certificate is valid from the start of one year to the start of another.
    #[cfg(feature = "http")]
    pub(crate) fn server_valid(&self, from: i32, to: i32) -> Arc<ServerConfig> {
        self.server_with(false, |params| {
            params.not_before = rcgen::date_time_ymd(from, 1, 1);
            params.not_after = rcgen::date_time_ymd(to, 1, 1);
        })
    }

    fn server_with(
        &self,
        asks: bool,
        edit: impl FnOnce(&mut CertificateParams),
    ) -> Arc<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let config = if asks {
            let mut roots = RootCertStore::empty();
            roots.add(self.root.der().clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            config.with_no_client_auth()
        };
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        edit(&mut params);
        let certificate: CertificateDer<'static> =
            params.signed_by(&key, &self.root).unwrap().into();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Arc::new(config.with_single_cert(vec![certificate], key).unwrap())
    }
}

/// The actions of a service on certificate requests.
#[cfg(feature = "certificates")]
mod issuing {
    use std::time::SystemTime;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use dps_device::certificate::KeyPair;
    use rcgen::{PublicKeyData, SignatureAlgorithm};
    use x509_cert::der::{Decode, Encode};
    use x509_cert::request::CertReq;
    use x509_cert::spki::SubjectPublicKeyInfoOwned;

    use super::{Pki, named};

    /// A public key as rcgen uses it.
    pub(crate) struct DeviceKey(SubjectPublicKeyInfoOwned);

    pub(crate) fn device_key(key: &KeyPair) -> DeviceKey {
        DeviceKey(SubjectPublicKeyInfoOwned::from_der(key.public_key()).unwrap())
    }

    pub(crate) fn to_base64(der: Vec<u8>) -> String {
        STANDARD.encode(der)
    }

    impl PublicKeyData for DeviceKey {
        fn der_bytes(&self) -> &[u8] {
            self.0.subject_public_key.raw_bytes()
        }

        fn algorithm(&self) -> &'static SignatureAlgorithm {
            match self.der_bytes().len() {
                65 => &rcgen::PKCS_ECDSA_P256_SHA256,
                _ => &rcgen::PKCS_ECDSA_P384_SHA384,
            }
        }
    }

    impl Pki {
        /// Issues a certificate of 30 days for a request in base64: the chain, each in base64 of DER.
        pub(crate) fn issue(&self, csr: &str, name: &str, start: SystemTime) -> Vec<String> {
            let request = CertReq::from_der(&STANDARD.decode(csr).unwrap()).unwrap();
            assert_eq!(request.info.subject.to_string(), format!("CN={name}"));
            let key = request.info.public_key.to_der().unwrap();
            let key = DeviceKey(SubjectPublicKeyInfoOwned::from_der(&key).unwrap());
            self.issue_for(&key, name, start).map(to_base64).to_vec()
        }

        /// Issues a certificate of 30 days.
        pub(crate) fn issue_for(
            &self,
            key: &DeviceKey,
            name: &str,
            start: SystemTime,
        ) -> [Vec<u8>; 3] {
            let mut leaf = named(name);
            leaf.not_before = start.into();
            leaf.not_after = leaf.not_before + std::time::Duration::from_secs(30 * 86400);
            let leaf = leaf.signed_by(key, &self.intermediate).unwrap();
            [
                leaf.der().to_vec(),
                self.intermediate.der().to_vec(),
                self.root.der().to_vec(),
            ]
        }
    }
}
#[cfg(feature = "certificates")]
pub(crate) use issuing::{device_key, to_base64};

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}
