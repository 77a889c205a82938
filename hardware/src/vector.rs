//! What was wrapped for the TPM [`SoftwareTpm::from_vector`](crate::SoftwareTpm::from_vector), elsewhere and once: the
//! `authenticationKey` of a challenge, and the one of an assignment.

use serde_json::Value;

const VECTOR: &str = include_str!("../fixtures/authentication-key-vector.json");

/// An `authenticationKey` in base64, as a challenge has it.
pub fn challenge() -> String {
    text("authenticationKey")
}

/// The key in [`challenge`].
pub fn challenge_key() -> Vec<u8> {
    (0x00..0x20).collect()
}

/// An `authenticationKey` in base64 with another key, longer and without URI data, as an assignment has it.
pub fn wrapped_hub_key() -> String {
    text("hub_authenticationKey")
}

/// The key in [`wrapped_hub_key`].
pub fn hub_key() -> Vec<u8> {
    (0xc0..=0xff).collect()
}

/// The whole fixture.
///
/// # Panics
/// When it is damaged.
pub fn fixture() -> Value {
    serde_json::from_str(VECTOR).expect("the fixture is JSON")
}

fn text(name: &str) -> String {
    fixture()[name]
        .as_str()
        .expect("a text of the fixture")
        .to_owned()
}
