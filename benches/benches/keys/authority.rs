//! The authority of the devices, and keys in memory of each kind.

use dps_types::enrollment::EnrollmentGroup;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, DnType,
    IsCa, KeyPair, KeyUsagePurpose,
};
use rsa::PrivateKey;
use rsa::pkcs8::EncodePrivateKey;

pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters
            .distinguished_name
            .push(DnType::CommonName, "Contoso Keys");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        Self(CertifiedIssuer::self_signed(parameters, key).unwrap())
    }

    /// The enrollment group of the certificates that it issues.
    pub(crate) fn group(&self) -> EnrollmentGroup {
        EnrollmentGroup::signing_certificate("keys-of-each-kind".parse().unwrap(), self.0.pem())
    }

    /// Issues the certificate of a key, DER.
    pub(crate) fn sign(&self, name: &str, key: &KeyPair) -> Vec<u8> {
        let mut parameters = CertificateParams::default();
        parameters.distinguished_name.push(DnType::CommonName, name);
        let issued = parameters.signed_by(key, &self.0).unwrap();
        issued.der().to_vec()
    }

    /// Issues the certificate of a request, PEM.
    pub(crate) fn sign_request(&self, request: &str) -> String {
        let request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.signed_by(&self.0).unwrap().pem()
    }
}

/// Keys in memory with their names.
pub(crate) fn pairs_in_memory() -> Vec<(&'static str, KeyPair)> {
    let generated = [
        ("ECDSA P-256", &rcgen::PKCS_ECDSA_P256_SHA256),
        ("ECDSA P-384", &rcgen::PKCS_ECDSA_P384_SHA384),
        ("Ed25519", &rcgen::PKCS_ED25519),
    ];
    let generated = generated.map(|(name, kind)| (name, KeyPair::generate_for(kind).unwrap()));
    let rsa = [("RSA 2048", 2048), ("RSA 3072", 3072), ("RSA 4096", 4096)];
    let rsa = rsa.map(|(name, bits)| {
        let mut random = getrandom::rand_core::UnwrapErr(getrandom::SysRng);
        let key = PrivateKey::new(&mut random, bits).unwrap();
        let pkcs8 = key.to_pkcs8_der().unwrap();
        (name, KeyPair::try_from(pkcs8.as_bytes()).unwrap())
    });
    generated.into_iter().chain(rsa).collect()
}
