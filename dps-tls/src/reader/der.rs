//! Classifies a DER object by its outline, without a parser for each kind.

use std::fmt;

const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;
const OCTET_STRING: u8 = 0x04;
const OID: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
const CONTEXT_0: u8 = 0xa0;

/// 1.2.840.113549.1.7: the content types of PKCS#7.
const PKCS7: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07";

/// The kind of a DER object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Certificate,
    PrivateKey,
    EncryptedKey,
    DsaKey,
    PublicKey,
    Request,
    RevocationList,
    Parameters,
    Pkcs7,
    Pkcs12,
    Unknown,
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "a certificate",
            Self::PrivateKey => "a private key",
            Self::EncryptedKey => "an encrypted private key",
            Self::DsaKey => "a DSA private key",
            Self::PublicKey => "a public key",
            Self::Request => "a certificate request",
            Self::RevocationList => "a revocation list",
            Self::Parameters => "parameters of a key",
            Self::Pkcs7 => "PKCS#7",
            Self::Pkcs12 => "PKCS#12",
            Self::Unknown => "DER of another kind, or damaged DER",
        })
    }
}

/// Returns true if the input looks like DER. A text can begin with the character `0`, which is the tag of a sequence.
pub(super) fn is_der(bytes: &[u8]) -> bool {
    bytes.first() == Some(&SEQUENCE)
        && (bytes.get(1).is_some_and(|length| *length >= 0x80)
            || split(bytes)
                .is_some_and(|(_, rest)| rest.first().is_none_or(|tag| *tag == SEQUENCE)))
}

/// Splits off the first object with its header.
pub(super) fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, content, rest) = element(bytes)?;
    let header = bytes.len() - rest.len() - content.len();
    Some(bytes.split_at(header + content.len()))
}

pub(super) fn content_of(der: &[u8]) -> Content {
    let Some((SEQUENCE, content, [])) = element(der) else {
        return Content::Unknown;
    };
    match elements(content).as_deref() {
        Some([(SEQUENCE, signed), (SEQUENCE, _), (BIT_STRING, _)]) => of_signed(signed),
        Some([(SEQUENCE, algorithm), (OCTET_STRING, _)]) if begins_with_oid(algorithm) => {
            Content::EncryptedKey
        }
        Some([(SEQUENCE, algorithm), (BIT_STRING, _)]) if begins_with_oid(algorithm) => {
            Content::PublicKey
        }
        Some([(INTEGER, version), (SEQUENCE, inner), ..]) => match is_pkcs7(inner) {
            true if *version == [3] => Content::Pkcs12,
            _ => Content::PrivateKey,
        },
        Some([(INTEGER, _), (OCTET_STRING, _), ..]) => Content::PrivateKey,
        Some([(INTEGER, _), (INTEGER, _)]) => Content::PublicKey,
        Some([(INTEGER, _), rest @ ..]) if rest.iter().all(|(tag, _)| *tag == INTEGER) => {
            match rest.len() {
                5 => Content::DsaKey,
                _ => Content::PrivateKey,
            }
        }
        Some([(OID, _), ..]) if is_pkcs7(content) => Content::Pkcs7,
        _ => Content::Unknown,
    }
}

/// Returns true if a certificate has no version field, which means version 1.
pub(crate) fn is_version_1(certificate: &[u8]) -> bool {
    let to_be_signed = element(certificate)
        .and_then(|(_, content, _)| element(content))
        .map(|(_, content, _)| content);
    to_be_signed
        .and_then(element)
        .is_some_and(|(tag, ..)| tag == INTEGER)
}

/// Returns true if the settings after a TRUSTED CERTIFICATE name uses that it is rejected for, or cannot be read.
pub(super) fn rejects_uses(settings: &[u8]) -> bool {
    match element(settings) {
        _ if settings.is_empty() => false,
        Some((SEQUENCE, content, [])) => {
            elements(content).is_none_or(|all| all.iter().any(|(tag, _)| *tag == CONTEXT_0))
        }
        _ => true,
    }
}

/// A certificate, a request and a revocation list are all signed in the same way.
fn of_signed(signed: &[u8]) -> Content {
    let Some(elements) = elements(signed) else {
        return Content::Unknown;
    };
    let tags: Vec<u8> = elements.iter().map(|(tag, _)| *tag).collect();
    match tags.as_slice() {
        // Serial number, algorithm, issuer, validity, subject, key.
        [
            CONTEXT_0,
            INTEGER,
            SEQUENCE,
            SEQUENCE,
            SEQUENCE,
            SEQUENCE,
            SEQUENCE,
            ..,
        ]
        | [
            INTEGER,
            SEQUENCE,
            SEQUENCE,
            SEQUENCE,
            SEQUENCE,
            SEQUENCE,
            ..,
        ] => Content::Certificate,
        [INTEGER, SEQUENCE, SEQUENCE] | [INTEGER, SEQUENCE, SEQUENCE, CONTEXT_0] => {
            Content::Request
        }
        // The time of the update is a UTCTime or a GeneralizedTime.
        [INTEGER, SEQUENCE, SEQUENCE, 0x17 | 0x18, ..] | [SEQUENCE, SEQUENCE, 0x17 | 0x18, ..] => {
            Content::RevocationList
        }
        _ => Content::Unknown,
    }
}

fn is_pkcs7(content: &[u8]) -> bool {
    element(content).is_some_and(|(tag, oid, _)| tag == OID && oid.starts_with(PKCS7))
}

fn begins_with_oid(content: &[u8]) -> bool {
    element(content).is_some_and(|(tag, ..)| tag == OID)
}

/// All elements of a sequence, with their tags.
fn elements(mut content: &[u8]) -> Option<Vec<(u8, &[u8])>> {
    let mut all = Vec::new();
    while !content.is_empty() {
        let (tag, inner, rest) = element(content)?;
        all.push((tag, inner));
        content = rest;
    }
    Some(all)
}

/// Tag, content and rest. Only tags of one byte and definite lengths, as DER has them.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [tag, length, rest @ ..] = bytes else {
        return None;
    };
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(length & 0x7f))?;
            let length = length
                .iter()
                .fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*tag, content, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_never_read_past_the_end() {
        for der in [
            b"".as_slice(),
            b"\x30",
            b"\x30\x82",
            b"\x30\xff\x00",
            b"\x30\x84\xff\xff\xff\xff\x00",
            b"\x30\x02\x30",
            b"\x30\x04\x30\x02\x06",
            b"\x30\x80\x00\x00",
        ] {
            assert_eq!(content_of(der), Content::Unknown, "{der:?}");
            assert!(!is_version_1(der));
        }
    }
}
