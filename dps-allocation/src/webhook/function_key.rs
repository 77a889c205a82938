//! Who may call: those who know a function key, as with an Azure Function.

use std::fmt;

use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// Hashes of the keys: comparing them takes the same time whatever is sent, and there is no key here to leak.
#[derive(Default)]
pub(super) struct FunctionKeys(Vec<[u8; 32]>);

impl FunctionKeys {
    pub(super) fn add(&mut self, key: &str) {
        self.0.push(hash(key.as_bytes()));
    }

    /// Whether one of the keys was sent, or none is wanted.
    pub(super) fn admit(&self, query: Option<&str>, header: Option<&str>) -> bool {
        self.0.is_empty()
            || header.is_some_and(|key| self.contains(key.as_bytes()))
            || query.and_then(code).is_some_and(|key| self.contains(&key))
    }

    fn contains(&self, sent: &[u8]) -> bool {
        if sent.is_empty() {
            return false;
        }
        let sent = hash(sent);
        let found = self
            .0
            .iter()
            .fold(Choice::from(0), |found, key| found | key.ct_eq(&sent));
        found.into()
    }
}

impl fmt::Debug for FunctionKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} keys", self.0.len())
    }
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The value of `code`. A `+` stays one: keys are base64, and never have a space.
fn code(query: &str) -> Option<Vec<u8>> {
    query
        .split('&')
        .find_map(|pair| pair.strip_prefix("code="))
        .map(|value| percent_decode_str(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "bb7U+/tXY0h4Q==";

    fn keys(all: &[&str]) -> FunctionKeys {
        let mut keys = FunctionKeys::default();
        all.iter().for_each(|key| keys.add(key));
        keys
    }

    #[test]
    fn a_key_is_taken_from_query_or_header() {
        let keys = keys(&["old", KEY]);
        for query in [
            "code=bb7U+/tXY0h4Q==",
            "a=b&code=bb7U%2B%2FtXY0h4Q%3D%3D&c",
            "code=old",
        ] {
            assert!(keys.admit(Some(query), None), "{query}");
        }
        assert!(keys.admit(None, Some(KEY)));
        assert!(keys.admit(Some("code=wrong"), Some(KEY)));
    }

    #[test]
    fn other_keys_are_refused() {
        let keys = keys(&[KEY]);
        for query in ["", "code", "code=", "xcode=bb7U+/tXY0h4Q==", "code=bb7U"] {
            assert!(!keys.admit(Some(query), None), "{query}");
        }
        assert!(!keys.admit(None, Some("")));
        assert!(!keys.admit(None, None));
    }

    #[test]
    fn an_empty_key_closes_the_door() {
        let keys = keys(&[""]);
        assert!(!keys.admit(Some("code="), Some("")));
        assert!(!keys.admit(None, None));
    }
}
