//! The certificates that a service issues: no bytes make the checks panic, and no changed certificate below the root passes them.
#![no_main]

use std::sync::OnceLock;
use std::time::SystemTime;

use dps_device::certificate::{CertificateRequest, Credential, IssuedCertificate, KeyKind, KeyPair};
use libfuzzer_sys::fuzz_target;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, PublicKeyData, SignatureAlgorithm};

fuzz_target!(|input: (Vec<String>, u8, u16, u8)| {
    let (texts, index, offset, change) = input;
    let world = world();
    let check = |chain: &[String]| IssuedCertificate::from_answer(&world.request, chain, SystemTime::now());
    assert!(check(&texts).is_err());
    if let Ok(credential) = Credential::from_json(texts.concat().as_bytes()) {
        assert_eq!(Credential::from_json(&credential.to_json()).ok(), Some(credential));
    }

    let mut chain = world.chain.clone();
    let certificate = &mut chain[usize::from(index) % 2];
    let offset = usize::from(offset) % certificate.len();
    if change == 0 {
        certificate.truncate(offset);
    } else {
        certificate[offset] ^= change;
    }
    assert!(check(&encoded(&chain)).is_err());
});

struct World {
    request: CertificateRequest,
    chain: [Vec<u8>; 3],
}

/// A request, and a chain that passes the checks.
fn world() -> &'static World {
    static WORLD: OnceLock<World> = OnceLock::new();
    WORLD.get_or_init(|| {
        let key = KeyPair::generate(KeyKind::P256).expect("a key");
        let issue = CertificateRequest::new("toaster".parse().expect("an id"), key);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let request = runtime.block_on(issue).expect("a request");
        let new_key = || rcgen::KeyPair::generate().expect("a key");
        let root = CertifiedIssuer::self_signed(authority("root"), new_key()).expect("a root");
        let issuing = CertifiedIssuer::signed_by(authority("issuing"), new_key(), &root).expect("a CA");
        let point = Point(request.key().public_key()[26..].to_vec());
        let leaf = named("toaster").signed_by(&point, &issuing).expect("a certificate");
        let chain = [leaf.der().to_vec(), issuing.der().to_vec(), root.der().to_vec()];
        IssuedCertificate::from_answer(&request, &encoded(&chain), SystemTime::now()).expect("the chain is sound");
        World { request, chain }
    })
}

fn encoded(chain: &[Vec<u8>]) -> Vec<String> {
    chain.iter().map(|der| data_encoding::BASE64.encode(der)).collect()
}

/// A point on P-256, as rcgen uses it.
struct Point(Vec<u8>);

impl PublicKeyData for Point {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = named(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}
