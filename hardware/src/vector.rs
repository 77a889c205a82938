//! Keys that were encrypted by other software for [`SoftwareTpm::from_vector`](crate::SoftwareTpm::from_vector): the
//! `authenticationKey` of a challenge, and that of an assignment.

use serde_json::Value;

const VECTOR: &str = include_str!("../fixtures/authentication-key-vector.json");

/// The `authenticationKey` of a challenge, in base64.
pub fn challenge() -> String {
    text("authenticationKey")
}

/// The key in [`challenge`].
pub fn challenge_key() -> Vec<u8> {
    (0x00..0x20).collect()
}

/// The `authenticationKey` of an assignment, in base64. Its key is longer, and it has no URI data.
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
/// If the fixture is damaged.
pub fn fixture() -> Value {
    serde_json::from_str(VECTOR).expect("the fixture is JSON")
}

fn text(name: &str) -> String {
    fixture()[name]
        .as_str()
        .expect("a string in the fixture")
        .to_owned()
}
