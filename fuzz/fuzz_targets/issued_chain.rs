//! The certificates that a service issues: no bytes make the checks panic, and no changed certificate below the root passes them.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use dps_device::certificate::{CertificateRequest, Credential, IssuedCertificate};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer};

/// 2040. The certificates are valid until 2126.
const NOW: Duration = Duration::from_secs(2_208_988_800);

static FIXTURE: LazyLock<Fixture> = LazyLock::new(Fixture::read);

fuzz_target!(init: LazyLock::force(&FIXTURE), |input: (Vec<String>, u8, u16, u8)| {
    let (texts, index, offset, change) = input;
    let check = |chain: &[String]| FIXTURE.check(chain);
    assert!(check(&texts).is_err());
    if let Ok(credential) = Credential::from_json(texts.concat().as_bytes())
        && let Ok(written) = credential.to_json()
    {
        assert_eq!(Credential::from_json(&written).ok(), Some(credential));
    }

    let mut chain = FIXTURE.chain.clone();
    let certificate = &mut chain[usize::from(index) % 2];
    let offset = usize::from(offset) % certificate.len();
    if change == 0 {
        certificate.truncate(offset);
    } else {
        certificate[offset] ^= change;
    }
    assert!(check(&encoded(&chain)).is_err());
});

/// A request, and a chain that passes the checks. `scripts/fuzz-fixtures` made them.
struct Fixture {
    request: CertificateRequest,
    chain: Vec<Vec<u8>>,
}

impl Fixture {
    fn read() -> Self {
        let pem = include_bytes!("../fixtures/issued_chain.pem");
        let request = CertificateSigningRequestDer::from_pem_slice(pem).expect("a request");
        let chain = CertificateDer::pem_slice_iter(pem).map(|it| it.expect("a certificate").to_vec());
        let fixture = Self {
            request: CertificateRequest::read(&request).expect("a request"),
            chain: chain.collect(),
        };
        fixture.check(&encoded(&fixture.chain)).expect("the chain is valid");
        fixture
    }

    fn check(&self, chain: &[String]) -> Result<IssuedCertificate, dps_device::Error> {
        IssuedCertificate::from_answer(&self.request, chain, SystemTime::UNIX_EPOCH + NOW)
    }
}

fn encoded(chain: &[Vec<u8>]) -> Vec<String> {
    chain.iter().map(|der| data_encoding::BASE64.encode(der)).collect()
}
