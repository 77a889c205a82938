//! Continuation tokens: opaque to clients, they identify the start of the next page.
//!
//! A token contains the last key of the previous page. Items that are created or deleted between two pages therefore neither
//! hide nor repeat another item, and a token is valid after a restart.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

use super::Listing;
use crate::service_error::ServiceError;

/// The length of the digest that detects a token that was truncated or not issued by the emulator.
const CHECK_LEN: usize = 6;

/// The position after the last key of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Continuation(String);

impl Continuation {
    pub(crate) fn after(key: String) -> Self {
        Self(key)
    }

    /// The last key of the previous page.
    pub(crate) fn key(&self) -> &str {
        &self.0
    }

    /// The token, which is valid only for this list.
    pub(crate) fn to_token(&self, listing: Listing<'_>) -> String {
        let mut bytes = check(listing, &self.0).to_vec();
        bytes.extend(self.0.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    pub(crate) fn parse(token: &str, listing: Listing<'_>) -> Result<Self, ServiceError> {
        let key = || {
            let bytes = URL_SAFE_NO_PAD.decode(token.trim()).ok()?;
            let (found, key) = bytes.split_at_checked(CHECK_LEN)?;
            let key = String::from_utf8(key.to_vec()).ok()?;
            (found == check(listing, &key)).then_some(key)
        };
        key().map(Self).ok_or_else(|| {
            ServiceError::invalid(
                "The x-ms-continuation is not a continuation token of this query.",
            )
        })
    }
}

fn check(listing: Listing<'_>, key: &str) -> [u8; CHECK_LEN] {
    let group = match listing {
        Listing::Registrations(group) => group.to_lowercase(),
        _ => String::new(),
    };
    let text = format!("{}\n{group}\n{key}", listing.item_type());
    let digest: [u8; 32] = Sha256::digest(text).into();
    let mut start = [0; CHECK_LEN];
    start.copy_from_slice(&digest[..CHECK_LEN]);
    start
}

#[cfg(test)]
mod tests {
    use dps_types::EnrollmentGroupId;

    use super::*;

    #[test]
    fn a_token_is_valid_only_for_its_own_list() {
        let (one, other): (EnrollmentGroupId, EnrollmentGroupId) =
            ("one".parse().unwrap(), "other".parse().unwrap());
        let lists = [
            Listing::Individuals,
            Listing::Groups,
            Listing::Registrations(&one),
            Listing::Registrations(&other),
        ];
        for (place, list) in lists.iter().enumerate() {
            let continuation = Continuation::after("device-7".to_owned());
            let token = continuation.to_token(*list);
            for (other, reader) in lists.iter().enumerate() {
                let read = Continuation::parse(&token, *reader);
                assert_eq!(read.is_ok(), place == other);
            }
            assert_eq!(Continuation::parse(&token, *list), Ok(continuation));
        }
    }

    #[test]
    fn an_invalid_token_is_refused() {
        let token = Continuation::after("device-7".to_owned()).to_token(Listing::Groups);
        let cut = &token[..token.len() - 1];
        let longer = format!("{token}A");
        for text in ["x", "AAAA", "%%%", "ZGV2aWNlLTc", cut, &longer] {
            assert!(
                Continuation::parse(text, Listing::Groups).is_err(),
                "{text}"
            );
        }
    }
}
