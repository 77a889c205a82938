//! A certificate authority that checks certificate signing requests and issues certificates.

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
    PublicKeyData, SignatureAlgorithm,
};
use rustls::SignatureScheme;
use x509_cert::der::{DecodePem, Encode};
use x509_cert::request::CertReq;

pub(crate) struct Authority {
    root: CertifiedIssuer<'static, KeyPair>,
    factory: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    /// A root and an intermediate that issues the certificates of devices.
    pub(crate) fn new() -> Self {
        let root =
            CertifiedIssuer::self_signed(authority("Toasters Root"), KeyPair::generate().unwrap());
        let root = root.unwrap();
        let factory = KeyPair::generate().unwrap();
        let factory = CertifiedIssuer::signed_by(authority("Toasters Factory"), factory, &root);
        Self {
            root,
            factory: factory.unwrap(),
        }
    }

    pub(crate) fn root_pem(&self) -> String {
        self.root.pem()
    }

    /// Issues a certificate, and returns it with that of the intermediate, PEM.
    ///
    /// It checks the signature of the request, which proves possession of the key.
    pub(crate) fn sign(&self, request: &str) -> String {
        self.sign_from(request, 2020)
    }

    /// As [`sign`](Self::sign), valid from this year.
    pub(crate) fn sign_from(&self, request: &str, year: i32) -> String {
        let leaf = Self::leaf(request, year, &self.factory);
        leaf + &self.factory.pem()
    }

    /// Issues a certificate without an intermediate, and returns it with the root.
    pub(crate) fn sign_with_root(&self, request: &str) -> String {
        Self::leaf(request, 2020, &self.root) + &self.root.pem()
    }

    fn leaf(request: &str, year: i32, issuer: &CertifiedIssuer<'static, KeyPair>) -> String {
        let request = Request::read(request);
        let mut parameters = CertificateParams::default();
        parameters.not_before = rcgen::date_time_ymd(year, 1, 1);
        parameters
            .distinguished_name
            .push(DnType::CommonName, request.common_name.as_str());
        // rcgen derives the number from the key, and a token may find a certificate by its issuer and number.
        parameters.serial_number = Some(getrandom::u64().unwrap().into());
        parameters.signed_by(&request, issuer).unwrap().pem()
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    parameters
}

/// A request whose signature was verified with its own key.
pub(crate) struct Request {
    pub(crate) common_name: String,
    public_key: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl Request {
    pub(crate) fn read(pem: &str) -> Self {
        let request = CertReq::from_pem(pem).unwrap();
        // RFC 5758, 3.2, and RFC 8017, A.2.4.
        let (algorithm, scheme) = match request.algorithm.oid.to_string().as_str() {
            "1.2.840.10045.4.3.2" => (
                &rcgen::PKCS_ECDSA_P256_SHA256,
                SignatureScheme::ECDSA_NISTP256_SHA256,
            ),
            "1.2.840.10045.4.3.3" => (
                &rcgen::PKCS_ECDSA_P384_SHA384,
                SignatureScheme::ECDSA_NISTP384_SHA384,
            ),
            "1.2.840.113549.1.1.11" => (&rcgen::PKCS_RSA_SHA256, SignatureScheme::RSA_PKCS1_SHA256),
            other => panic!("{other}"),
        };
        let public_key = request.info.public_key.subject_public_key.raw_bytes();
        let verifiers = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let signed = request.info.to_der().unwrap();
        let is_signed = verifiers
            .mapping
            .iter()
            .filter(|(of, _)| *of == scheme)
            .flat_map(|(_, verifiers)| verifiers.iter())
            .any(|verifier| {
                let signature = request.signature.raw_bytes();
                verifier
                    .verify_signature(public_key, &signed, signature)
                    .is_ok()
            });
        assert!(is_signed, "the request's signature is not its key's");
        let common_name = request.info.subject.common_name().unwrap().unwrap();
        Self {
            common_name: common_name.value().into_owned(),
            public_key: public_key.to_vec(),
            algorithm,
        }
    }
}

impl PublicKeyData for Request {
    fn der_bytes(&self) -> &[u8] {
        &self.public_key
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}
