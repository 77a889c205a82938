//! The content of a PKCS#12 file (.pfx, .p12): its certificates and keys, without the bytes of a key.

mod limits;

use p12_keystore::{Pkcs12Archive, error::Error};
use serde_json::{Value, json};

use super::parsed::Parsed;
use crate::failure::{Failure, Result};

/// Describes the content. `None` if the bytes are not a PKCS#12 file.
pub(super) fn describe(bytes: &[u8], password: &str) -> Option<Result<Vec<Value>>> {
    if !is_pkcs12(bytes) {
        return None;
    }
    let checked = limits::check(bytes, password).map_err(|exceeded| {
        Failure::usage("the PKCS#12 file exceeds a limit of this program").because(&exceeded)
    });
    Some(checked.and_then(|()| {
        let archive = Pkcs12Archive::from_pkcs12(bytes, password).map_err(unreadable)?;
        content(&archive)
    }))
}

/// A PFX begins with a sequence that contains the version 3 (RFC 7292, section 4). A private key has version 0 or 1.
fn is_pkcs12(bytes: &[u8]) -> bool {
    const VERSION_3: [u8; 3] = [0x02, 0x01, 0x03];
    let header = match bytes {
        [0x30, length @ 0x81..=0x84, ..] => 2 + usize::from(length & 0x0f),
        [0x30, ..] => 2,
        _ => return false,
    };
    bytes
        .get(header..)
        .is_some_and(|content| content.starts_with(&VERSION_3))
}

fn content(archive: &Pkcs12Archive) -> Result<Vec<Value>> {
    let mut documents = Vec::new();
    for bag in &archive.certs {
        let certificate = Parsed::from_der(bag.cert.as_der()).map_err(Failure::usage)?;
        documents.push(certificate.describe());
    }
    let keys = archive.keys.iter().map(|_| "private key");
    let secrets = archive.secrets.iter().map(|_| "secret key");
    documents.extend(
        keys.chain(secrets)
            .map(|kind| json!({"kind": kind, "state": "in a PKCS#12 file"})),
    );
    Ok(documents)
}

fn unreadable(error: Error) -> Failure {
    Failure::usage("the PKCS#12 file cannot be read, or the password is wrong")
        .because(&error)
        .with_hint("pass the password with --password-file or the variable DPS_FILE_PASSWORD")
}
