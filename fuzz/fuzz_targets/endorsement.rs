//! The content of an NV index: certificates in a TPM, and the certificate of an endorsement key.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use dps_service::EndorsementVerifier;
use dps_tls::{read_certificates, read_padded_certificates};
use dps_types::tpm::TpmPublic;
use libfuzzer_sys::fuzz_target;

/// Trusts an authority that has certified nothing, so that no input is confirmed.
static VERIFIER: LazyLock<EndorsementVerifier> = LazyLock::new(|| {
    EndorsementVerifier::new(include_bytes!("../../dps-tls/tests/keys/ec-certificate.pem")).expect("a root")
});

/// The endorsement key of the certificate in the seeds.
static KEY: LazyLock<TpmPublic> = LazyLock::new(|| {
    TpmPublic::parse(include_bytes!("../seeds/endorsement/key")).expect("a key")
});

fuzz_target!(init: (LazyLock::force(&VERIFIER), LazyLock::force(&KEY)), |bytes: &[u8]| {
    if let Ok(certificates) = read_padded_certificates(bytes) {
        let used: Vec<u8> = certificates.iter().flat_map(|der| der.to_vec()).collect();
        assert!(bytes.starts_with(&used));
        assert_eq!(read_certificates(&used).expect("certificates"), certificates);
        let filled = [&used[..], &[0xff; 7]].concat();
        assert_eq!(read_padded_certificates(&filled).expect("certificates"), certificates);
    }
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_737_600);
    let refused = VERIFIER.verify(&KEY, bytes, now).expect_err("no authority has issued it");
    let _ = format!("{refused:#}");
});
