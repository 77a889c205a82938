//! Values from the command line that come from files: documents, certificates, and secrets that no process list may show.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::{env, io};

use dps_types::SymmetricKey;
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};

/// The longest file that is read whole: certificates, keys, and one document.
const MAX_BYTES: u64 = 4 << 20;

/// Reads a file, or stdin when the path is `-`.
pub(crate) fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>> {
    let about = |error: io::Error| {
        Failure::usage(format!("{} cannot be read", path.display())).because(&error)
    };
    let source: Box<dyn Read> = match path.to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(path).map_err(about)?),
    };
    let mut bytes = Zeroizing::new(Vec::new());
    source
        .take(MAX_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(about)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::usage(format!(
            "{} is longer than {MAX_BYTES} bytes",
            path.display()
        )));
    }
    Ok(bytes)
}

/// Reads a file of text, or stdin when the path is `-`.
pub(crate) fn read_text(path: &Path) -> Result<Zeroizing<String>> {
    let bytes = read(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::usage(format!("{} is not UTF-8 text", path.display())))?;
    Ok(Zeroizing::new(
        text.trim_start_matches('\u{feff}').to_owned(),
    ))
}

/// A value of the command line, or the content of a file when it is `@FILE`.
pub(crate) fn value_or_file(text: &str) -> Result<Zeroizing<String>> {
    match text.strip_prefix('@') {
        Some(file) => Ok(Zeroizing::new(
            read_text(Path::new(file))?.trim().to_owned(),
        )),
        None => Ok(Zeroizing::new(text.to_owned())),
    }
}

/// A symmetric key from a file that contains its base64, or from an environment variable.
pub(crate) fn key(file: Option<&Path>, variable: &str) -> Result<Option<SymmetricKey>> {
    let text = match file {
        Some(file) => read_text(file)?,
        None => match env::var(variable) {
            Ok(text) if !text.is_empty() => Zeroizing::new(text),
            _ => return Ok(None),
        },
    };
    let place = file.map_or_else(|| variable.to_owned(), |file| file.display().to_string());
    match SymmetricKey::from_base64(text.trim()) {
        Ok(key) => Ok(Some(key)),
        Err(error) => Err(Failure::from(error).about(place)),
    }
}
