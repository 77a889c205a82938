//! MQTT user names and topics: formatting and parsing are inverse.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use dps_types::ParseError;
use dps_types::protocol::hub;
use dps_types::protocol::mqtt::{RequestTopic, ResponseTopic, Username};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    check::<Username>(text);
    check::<RequestTopic>(text);
    check::<ResponseTopic>(text);
    check::<hub::Username>(text);
    check::<hub::TwinRequestTopic>(text);
    check::<hub::TwinResponseTopic>(text);
    check::<hub::DesiredTopic>(text);
});

fn check<T: FromStr<Err = ParseError> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string().parse(), Ok(read));
    }
}
