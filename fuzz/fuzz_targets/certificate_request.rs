//! Certificate signing requests, as DER that a device sends and as PEM.
#![no_main]

use std::sync::LazyLock;

use dps_emulator::CertificateAuthority;
use dps_emulator::fuzzing::authority;
use dps_tls::read_certificates;
use libfuzzer_sys::fuzz_target;

static AUTHORITY: LazyLock<CertificateAuthority> = LazyLock::new(authority);

fuzz_target!(init: LazyLock::force(&AUTHORITY), |bytes: &[u8]| {
    if let Ok(text) = std::str::from_utf8(bytes) {
        let _ = AUTHORITY.issue_for_request("dev-1", text);
    }
    let pem = pem(bytes);
    if let Ok(chain) = AUTHORITY.issue_for_request("dev-1", &pem) {
        assert_eq!(read_certificates(chain.as_bytes()).expect("certificates").len(), 1);
    }
});

/// The input as PEM.
fn pem(der: &[u8]) -> String {
    let base64 = data_encoding::BASE64.encode(der);
    let mut pem = "-----BEGIN CERTIFICATE REQUEST-----\n".to_owned();
    for line in base64.as_bytes().chunks(64) {
        pem.push_str(std::str::from_utf8(line).expect("ASCII"));
        pem.push('\n');
    }
    pem + "-----END CERTIFICATE REQUEST-----\n"
}
