//! SAS tokens: parse, format, verify, and parse again.
#![no_main]

use dps_types::SymmetricKey;
use dps_types::sas::SasToken;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(token) = text.parse::<SasToken>() else {
        return;
    };
    let key = SymmetricKey::from_bytes([7; 32]).expect("a valid length");
    let verified = token.verify(&key);
    let _ = token.covers("0ne00000A0A/registrations/dev1");
    let _ = token.covers(text);

    let again: SasToken = token.reveal().parse().expect("a written value can be read");
    assert_eq!(format!("{again:?}"), format!("{token:?}"));
    assert_eq!(again.verify(&key), verified);
});
