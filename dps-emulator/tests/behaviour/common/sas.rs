//! SAS tokens in every spelling that clients use, made here from HMAC and base64 alone.

use std::time::SystemTime;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// The year 2100.
pub(crate) const FOREVER: u64 = 4_102_444_800;

/// The fields of a token, before it is signed.
#[derive(Clone)]
pub(crate) struct Sas {
    /// The resource as it is written in the token and signed.
    pub(crate) sr: String,
    pub(crate) se: u64,
    pub(crate) skn: Option<String>,
}

impl Sas {
    /// The resource of most device SDKs: `0ne00000001%2Fregistrations%2Fdev-1`.
    pub(crate) fn device(scope: &str, id: &str) -> Self {
        Self {
            sr: percent(&format!("{scope}/registrations/{id}")),
            se: FOREVER,
            skn: Some("registration".to_owned()),
        }
    }

    /// A token of a device for its hub: `localhost%2Fdevices%2Fdev-1`, without a policy.
    pub(crate) fn at_hub(resource: &str) -> Self {
        Self {
            sr: percent(resource),
            se: FOREVER,
            skn: None,
        }
    }

    pub(crate) fn sr(self, sr: impl Into<String>) -> Self {
        Self {
            sr: sr.into(),
            ..self
        }
    }

    pub(crate) fn se(self, se: u64) -> Self {
        Self { se, ..self }
    }

    pub(crate) fn skn(self, skn: Option<&str>) -> Self {
        Self {
            skn: skn.map(str::to_owned),
            ..self
        }
    }

    /// `SharedAccessSignature sr=…&sig=…&se=…[&skn=…]`, the documented order.
    pub(crate) fn sign(&self, key: &str) -> String {
        self.sign_in_order(key, &["sr", "sig", "se", "skn"])
    }

    pub(crate) fn sign_in_order(&self, key: &str, order: &[&str]) -> String {
        let signature = hmac(key, format!("{}\n{}", self.sr, self.se).as_bytes());
        let fields: Vec<String> = order
            .iter()
            .filter_map(|name| {
                let value = match *name {
                    "sr" => self.sr.clone(),
                    "sig" => percent(&signature),
                    "se" => self.se.to_string(),
                    _ => self.skn.clone()?,
                };
                Some(format!("{name}={value}"))
            })
            .collect();
        format!("SharedAccessSignature {}", fields.join("&"))
    }
}

/// A device's token for DPS, with the id scope that emulators have by default.
pub(crate) fn token(id: &str, key: &str) -> String {
    token_until(id, key, FOREVER)
}

/// As [`token`], valid until this Unix time.
pub(crate) fn token_until(id: &str, key: &str, se: u64) -> String {
    Sas::device("0ne00000001", id).se(se).sign(key)
}

/// The key of a device in a group: base64 of the HMAC of its id under the group's key.
pub(crate) fn derive(group_key: &str, id: &str) -> String {
    hmac(group_key, id.as_bytes())
}

/// Percent-encoding with upper-case digits of all but letters, digits and `-._~`.
pub(crate) fn percent(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

pub(crate) fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.expect("after 1970").as_secs()
}

fn hmac(key: &str, data: &[u8]) -> String {
    let key = STANDARD.decode(key).expect("a key is base64");
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("any length will do");
    mac.update(data);
    STANDARD.encode(mac.finalize().into_bytes())
}

#[test]
fn the_documented_vectors() {
    let group_key =
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
    assert_eq!(
        derive(group_key, "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6"),
        "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc="
    );
    let key =
        "18RQk/hOPJR9EbsJlk2j8WA6vWaj/yi+oaYg7zmxfQNdOyMSu+SJ8O7TSlZhDJCYmn4rzEiVKIzNiVAWjLxrGA==";
    assert_eq!(
        Sas::device("0ne00111111", "my-symkey-device")
            .se(1_663_952_627)
            .sign(key),
        "SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fmy-symkey-device\
         &sig=8VPprb8BiTkuVE0hBqHm%2FSVrzVpdD8VZcXugntdbhuU%3D&se=1663952627&skn=registration"
    );
}
