//! The certificate of an enrollment or an upload: the emulator keeps the first certificate that the common reader finds.
#![no_main]

use dps_emulator::fuzzing::certificate;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Some(kept) = certificate(text) else {
        return;
    };
    let read = dps_tls::read_certificates(text.as_bytes()).expect("the common reader");
    assert_eq!(data_encoding::BASE64.encode(&read[0]), kept);
    assert_eq!(certificate(&kept).as_deref(), Some(&*kept));
});
