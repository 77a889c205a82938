//! Function keys: which callers a webhook answers, as with an Azure Function.

use std::fmt;

use http::HeaderName;
use http::request::Parts;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq as _};

/// The header that may hold a key. Source: azure-docs `azure-functions/function-keys-how-to.md`.
const HEADER: HeaderName = HeaderName::from_static("x-functions-key");
/// The parameter of the query that may hold a key. Source: the same page.
const PARAMETER: &str = "code";

/// Hashes of the keys: the time of a comparison does not depend on what was sent, and no key can leak from here.
#[derive(Default)]
pub(super) struct FunctionKeys(Vec<[u8; 32]>);

/// The reason for which a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyError {
    MissingOrWrong,
    /// There are two, and a server in front of this one may have checked the other.
    Ambiguous,
}

impl FunctionKeys {
    pub(super) fn add(&mut self, key: &str) {
        self.0.push(hash(key.trim().as_bytes()));
    }

    /// Checks that the request has one of the keys, in the header or in the query, or that no key is required.
    pub(super) fn check(&self, head: &Parts) -> Result<(), KeyError> {
        if self.0.is_empty() {
            return Ok(());
        }
        let mut in_header = head.headers.get_all(HEADER).iter();
        let mut in_query = codes(head.uri.query().unwrap_or_default());
        let header = in_header.next();
        let code = in_query.next();
        if in_header.next().is_some() || in_query.next().is_some() {
            return Err(KeyError::Ambiguous);
        }
        let known = header.is_some_and(|key| self.contains(key.as_bytes()))
            || code.is_some_and(|key| self.contains(&key));
        known.then_some(()).ok_or(KeyError::MissingOrWrong)
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

/// The values of `code`. The Azure Functions host ignores the case of the name. A `+` is not a space: keys are base64.
fn codes(query: &str) -> impl Iterator<Item = Vec<u8>> + '_ {
    let pairs = query.split('&');
    pairs
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| {
            let name: Vec<u8> = percent_decode_str(name).collect();
            name.eq_ignore_ascii_case(PARAMETER.as_bytes())
        })
        .map(|(_, value)| percent_decode_str(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "bb7U+/tXY0h4Q==";

    fn check(keys: &[&str], query: &str, headers: &[&str]) -> Result<(), KeyError> {
        let mut all = FunctionKeys::default();
        keys.iter().for_each(|key| all.add(key));
        let mut request = http::Request::post(format!("/api/f?{query}"));
        for key in headers {
            request = request.header(HEADER, *key);
        }
        all.check(&request.body(()).unwrap().into_parts().0)
    }

    #[test]
    fn a_key_is_accepted_in_query_or_header() {
        for query in [
            "code=bb7U+/tXY0h4Q==",
            "a=b&code=bb7U%2B%2FtXY0h4Q%3D%3D&c",
            "code=old",
            "Code=old",
            "CODE=old",
            "c%6Fde=old",
        ] {
            assert_eq!(check(&["old", KEY], query, &[]), Ok(()), "{query}");
        }
        assert_eq!(check(&[KEY], "", &[KEY]), Ok(()));
        assert_eq!(check(&[KEY], "code=wrong", &[KEY]), Ok(()));
        assert_eq!(check(&[" key\r\n"], "code=key", &[]), Ok(()));
        assert_eq!(check(&[], "code=a&code=b", &[]), Ok(()));
    }

    #[test]
    fn other_keys_are_refused() {
        for query in ["", "code", "code=", "xcode=bb7U+/tXY0h4Q==", "code=bb7U"] {
            let wrong = Err(KeyError::MissingOrWrong);
            assert_eq!(check(&[KEY], query, &[]), wrong, "{query}");
            assert_eq!(check(&[KEY], query, &[""]), wrong, "{query}");
        }
    }

    #[test]
    fn two_keys_are_ambiguous_whichever_is_right() {
        for (query, headers) in [
            ("code=key&code=key", &[][..]),
            ("code=key&code=wrong", &[]),
            ("code=wrong&Code=key", &[]),
            ("code=key&c%6Fde=", &[]),
            ("", &["key", "wrong"]),
            ("", &["wrong", "key"]),
            ("code=key&code=key", &["key"]),
        ] {
            let refused = check(&["key"], query, headers);
            assert_eq!(refused, Err(KeyError::Ambiguous), "{query} {headers:?}");
        }
    }

    #[test]
    fn an_empty_key_matches_nothing() {
        for key in ["", " \n"] {
            assert!(check(&[key], "code=", &[""]).is_err());
            assert!(check(&[key], "code=%20", &[]).is_err());
            assert!(check(&[key], "", &[]).is_err());
        }
    }
}
