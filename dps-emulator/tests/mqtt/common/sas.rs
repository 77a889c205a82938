//! SAS tokens of devices, made here from HMAC and base64 alone.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The year 2100.
pub(crate) const FOREVER: u64 = 4_102_444_800;

/// `SharedAccessSignature sr=0ne00000001%2Fregistrations%2Fdev-1&sig=…&se=…&skn=registration`
pub(crate) fn token(id: &str, key: &str) -> String {
    token_until(id, key, FOREVER)
}

pub(crate) fn token_until(id: &str, key: &str, se: u64) -> String {
    sign(
        &format!("0ne00000001/registrations/{id}"),
        key,
        se,
        "registration",
    )
}

pub(super) fn sign(resource: &str, key: &str, se: u64, skn: &str) -> String {
    let sr = percent(resource);
    let signature = percent(&hmac(key, format!("{sr}\n{se}").as_bytes()));
    format!("SharedAccessSignature sr={sr}&sig={signature}&se={se}&skn={skn}")
}

/// A device's token for its hub: it names no policy.
pub(super) fn sign_device(resource: &str, key: &str, se: u64) -> String {
    let sr = percent(resource);
    let signature = percent(&hmac(key, format!("{sr}\n{se}").as_bytes()));
    format!("SharedAccessSignature sr={sr}&sig={signature}&se={se}")
}

/// The key of a device in a group: base64 of the HMAC of its id under the group's key.
pub(crate) fn derive(group_key: &str, id: &str) -> String {
    hmac(group_key, id.as_bytes())
}

fn hmac(key: &str, data: &[u8]) -> String {
    let key = STANDARD.decode(key).expect("a key is base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length will do");
    mac.update(data);
    STANDARD.encode(mac.finalize().into_bytes())
}

fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}
