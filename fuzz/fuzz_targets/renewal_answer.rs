//! The hub's answer to a certificate request: any status and body is read without a panic, and a refusal has a rule.
#![no_main]

use std::error::Error;

use dps_device::certificate::{IssuedCertificate, RenewalAnswer, RenewalRefusal};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|answer: (u16, &[u8])| {
    let (status, body) = answer;
    for status in [status, 200, 202, 409] {
        match RenewalAnswer::read(status, body, None) {
            Ok(RenewalAnswer::Issued(certificates)) => {
                assert!(certificates.len() <= IssuedCertificate::MAX_CERTIFICATES);
            }
            Ok(_) => assert_eq!(status, 202),
            Err(error) => {
                let refusal = error.source().and_then(|source| source.downcast_ref::<RenewalRefusal>());
                assert_eq!(refusal.is_some(), (400..600).contains(&status));
                let _ = (refusal.map(RenewalRefusal::rule), error.to_string());
            }
        }
    }
});
