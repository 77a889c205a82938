//! Ids, ETags, keys, times and header values: formatting an accepted value returns the input or a stable form.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use dps_types::protocol::{ApiVersion, IfMatch, decode, encode, parse_retry_after};
use dps_types::{
    DeviceId, ETag, EnrollmentGroupId, HubHostname, IdScope, ModuleId, OperationId, ParseError,
    RegistrationId, SymmetricKey, Timestamp,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    keeps::<RegistrationId>(text);
    keeps::<EnrollmentGroupId>(text);
    keeps::<IdScope>(text);
    keeps::<DeviceId>(text);
    keeps::<ModuleId>(text);
    keeps::<HubHostname>(text);
    keeps::<OperationId>(text);
    keeps::<ETag>(text);
    keeps::<ApiVersion>(text);
    let _ = text.parse::<IfMatch>();
    if let Ok(time) = text.parse::<Timestamp>() {
        assert_eq!(time.to_string().parse(), Ok(time));
    }
    if let Ok(key) = SymmetricKey::from_base64(text) {
        // White space in the text is ignored.
        assert_eq!(*key.to_base64(), text.split_whitespace().collect::<String>());
    }
    if let Some(wait) = parse_retry_after(text, UNIX_EPOCH) {
        assert!(wait <= Duration::from_secs(100 * 365 * 24 * 60 * 60));
    }
    let _ = decode(text);
    assert_eq!(decode(&encode(text)).as_deref(), Some(text));
});

fn keeps<T: FromStr<Err = ParseError> + Display + Debug>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string(), text);
    }
}
