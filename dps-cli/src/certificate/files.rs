//! Files that the certificate commands write. A key is readable by its owner only, and nothing is overwritten by accident.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::failure::{Failure, Result};

pub(super) fn write(path: &Path, content: &str, overwrite: bool) -> Result {
    create(path, content, overwrite, false)
}

pub(super) fn write_key(path: &Path, key: &str, overwrite: bool) -> Result {
    create(path, key, overwrite, true)
}

/// A certificate in PEM (RFC 7468).
pub(super) fn pem(der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

fn create(path: &Path, content: &str, overwrite: bool, secret: bool) -> Result {
    if path.as_os_str() == "-" {
        print!("{content}");
        return Ok(());
    }
    let mut options = File::options();
    options
        .write(true)
        .create_new(!overwrite)
        .create(true)
        .truncate(overwrite);
    #[cfg(unix)]
    if secret {
        use std::os::unix::fs::OpenOptionsExt;
        options.mode(0o600);
    }
    let _ = secret;
    let about = |error: std::io::Error| {
        let failure =
            Failure::usage(format!("{} cannot be written", path.display())).because(&error);
        match error.kind() {
            std::io::ErrorKind::AlreadyExists => failure.with_hint("use --overwrite to replace it"),
            _ => failure,
        }
    };
    options
        .open(path)
        .and_then(|mut file| file.write_all(content.as_bytes()))
        .map_err(about)
}
