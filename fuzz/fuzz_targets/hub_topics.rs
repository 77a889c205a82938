//! The topics of messages and direct methods of a hub: formatting and parsing are inverse.
#![no_main]

use std::fmt::{Debug, Display};
use std::str::FromStr;

use dps_types::ParseError;
use dps_types::protocol::hub_message::{DeviceboundTopic, EventsTopic, InputTopic, PropertyBag};
use dps_types::protocol::hub_method::{MethodRequestTopic, MethodResponseTopic};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    check::<PropertyBag>(text);
    check::<EventsTopic>(text);
    check::<DeviceboundTopic>(text);
    check::<InputTopic>(text);
    check::<MethodRequestTopic>(text);
    check::<MethodResponseTopic>(text);
});

fn check<T: FromStr<Err = ParseError> + Display + Debug + PartialEq>(text: &str) {
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string().parse(), Ok(read));
    }
}
