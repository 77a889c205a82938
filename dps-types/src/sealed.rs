//! The checksum of what a program keeps on its disk: a changed byte may leave a document that is still valid.
//!
//! It protects against damage, and not against an attacker, who can compute it as well.

use std::fmt;

use sha2::{Digest, Sha256};

/// The version of JSON documents with a checksum. Earlier programs have written documents of version 1, which have none.
pub const VERSION: u64 = 2;

/// The number of bytes that [`seal`] adds to a document.
pub const SEAL_BYTES: usize = MEMBER.len() + DIGITS + END.len() - 1;

/// The last member of a document, up to its digits, and what follows them.
const MEMBER: &[u8] = br#","checksum":""#;
const DIGITS: usize = 16;
const END: &[u8] = br#""}"#;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Returns the first eight bytes of the SHA-256 of all parts together.
pub fn checksum(parts: &[&[u8]]) -> [u8; 8] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    let digest: [u8; 32] = hash.finalize().into();
    let mut start = [0; 8];
    start.copy_from_slice(&digest[..8]);
    start
}

/// Adds a last member `checksum` to a JSON object with other members: the checksum of all bytes before the member, in lower-case hex.
///
/// ```
/// use dps_types::sealed::{VERSION, seal, verify};
///
/// let mut document = br#"{"version":2,"a":1}"#.to_vec();
/// seal(&mut document);
/// assert_eq!(document, br#"{"version":2,"a":1,"checksum":"aa4cfdc69197e0ff"}"#);
/// assert_eq!(verify(&document, VERSION), Ok(()));
/// ```
pub fn seal(object: &mut Vec<u8>) {
    let _brace = object.pop();
    let digits = digits(object);
    object.extend_from_slice(MEMBER);
    object.extend_from_slice(digits.as_bytes());
    object.extend_from_slice(END);
}

/// Checks the checksum of a document of this version. It may have a byte order mark, and white space at its end.
///
/// # Errors
/// If the document has changed since it was written, or has a version other than 1 and [`VERSION`].
pub fn verify(document: &[u8], version: u64) -> Result<(), Damage> {
    let document = document.strip_prefix(BYTE_ORDER_MARK).unwrap_or(document);
    let document = document.trim_ascii_end();
    let length = MEMBER.len() + DIGITS + END.len();
    let start = document.len().checked_sub(length);
    let parts = start.and_then(|start| document.split_at_checked(start));
    let found = parts.and_then(|(content, member)| {
        let digits = member.strip_prefix(MEMBER)?.strip_suffix(END)?;
        Some((content, digits))
    });
    match (version, found) {
        (1 | VERSION, Some((content, found))) if found == digits(content).as_bytes() => Ok(()),
        (1 | VERSION, Some(_)) => Err(Damage::Changed),
        (1, None) => Ok(()),
        (VERSION, None) => Err(Damage::NoChecksum),
        (other, _) => Err(Damage::Version(other)),
    }
}

fn digits(content: &[u8]) -> String {
    format!("{:016x}", u64::from_be_bytes(checksum(&[content])))
}

/// The reason for which a document is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Damage {
    /// The checksum is not that of the content.
    Changed,
    /// A document of version [`VERSION`] has no checksum at its end.
    NoChecksum,
    /// The document has this version, which is not supported.
    Version(u64),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Changed => f.write_str("its checksum is not that of its content"),
            Self::NoChecksum => f.write_str("it has no checksum at its end"),
            Self::Version(other) => write!(
                f,
                "its version is {other}, but this program supports only versions 1 and {VERSION}"
            ),
        }
    }
}

impl std::error::Error for Damage {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The digits are those of `printf '{"version":2,"a":1' | sha256sum`.
    const SEALED: &[u8] = br#"{"version":2,"a":1,"checksum":"aa4cfdc69197e0ff"}"#;

    #[test]
    fn the_format_is_stable() {
        let mut object = br#"{"version":2,"a":1}"#.to_vec();
        seal(&mut object);
        assert_eq!(object, SEALED);
        assert_eq!(verify(SEALED, 2), Ok(()));
    }

    #[test]
    fn a_byte_order_mark_and_white_space_at_the_end_are_accepted() {
        let edited = [BYTE_ORDER_MARK, SEALED, b"\r\n"].concat();
        assert_eq!(verify(&edited, 2), Ok(()));
    }

    #[test]
    fn only_version_1_may_lack_the_checksum() {
        for old in [&br#"{"version":1,"a":1}"#[..], b"{}", b""] {
            assert_eq!(verify(old, 1), Ok(()));
            assert_eq!(verify(old, 2), Err(Damage::NoChecksum));
        }
        assert_eq!(verify(SEALED, 3), Err(Damage::Version(3)));
    }

    #[test]
    fn upper_case_digits_are_not_the_checksum() {
        let upper = String::from_utf8(SEALED.to_vec()).unwrap();
        let upper = upper.replace("aa4cfdc69197e0ff", "AA4CFDC69197E0FF");
        assert_eq!(verify(upper.as_bytes(), 2), Err(Damage::Changed));
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_intact_and_any_changed_byte_is_found(
            text in ".{0,40}",
            at in any::<prop::sample::Index>(),
            change in 1..=u8::MAX,
        ) {
            let mut object = serde_json::to_vec(&serde_json::json!({ "text": text })).unwrap();
            seal(&mut object);
            prop_assert_eq!(verify(&object, VERSION), Ok(()));
            let at = at.index(object.len());
            object[at] ^= change;
            prop_assert!(verify(&object, VERSION).is_err());
        }
    }
}
