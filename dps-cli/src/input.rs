//! Values from the command line that come from files: documents, certificates, and secrets that no process list may show.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::{env, io};

use clap::{ArgMatches, Command};
use dps_types::SymmetricKey;
use dps_types::tpm::TpmPublic;
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};

/// The longest file that is read whole: certificates, keys, and one document.
const MAX_BYTES: u64 = 4 << 20;

/// A file that an option names, or stdin for `-`. Clones share what was read from stdin, which can be read once.
#[derive(Clone)]
pub(crate) struct InputFile {
    path: PathBuf,
    stdin: Arc<OnceLock<Zeroizing<Vec<u8>>>>,
}

/// The value of an option, or the content of a file for `@FILE`.
#[derive(Clone)]
pub(crate) enum TextOrFile {
    Text(String),
    File(InputFile),
}

/// The value of an option, the content of a file for `@FILE`, or the lines of stdin for `-`.
#[derive(Clone)]
pub(crate) enum TextOrLines {
    Text(TextOrFile),
    Lines,
}

impl InputFile {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn display(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    pub(crate) fn is_stdin(&self) -> bool {
        is_stdin(&self.path)
    }
}

fn is_stdin(path: impl AsRef<OsStr>) -> bool {
    path.as_ref() == "-"
}

impl From<PathBuf> for InputFile {
    fn from(path: PathBuf) -> Self {
        Self {
            path,
            stdin: Arc::default(),
        }
    }
}

impl From<OsString> for InputFile {
    fn from(path: OsString) -> Self {
        PathBuf::from(path).into()
    }
}

impl From<&Path> for InputFile {
    fn from(path: &Path) -> Self {
        path.to_owned().into()
    }
}

impl From<String> for TextOrFile {
    fn from(text: String) -> Self {
        match text.strip_prefix('@') {
            Some(file) => Self::File(Path::new(file).into()),
            None => Self::Text(text),
        }
    }
}

impl From<String> for TextOrLines {
    fn from(text: String) -> Self {
        match is_stdin(&text) {
            true => Self::Lines,
            false => Self::Text(text.into()),
        }
    }
}

/// Checks that at most one option reads stdin.
///
/// # Errors
/// The error names the first two.
pub(crate) fn check_stdin(mut command: Command, matches: &ArgMatches) -> Result {
    command.build();
    let mut options = Vec::new();
    options_with_stdin(&command, matches, &mut options);
    match &options[..] {
        [first, second, ..] => Err(Failure::usage(format!(
            "{first} and {second} both read stdin, which can be read once"
        ))
        .with_hint("use a file for one of them")),
        _ => Ok(()),
    }
}

fn options_with_stdin(command: &Command, matches: &ArgMatches, options: &mut Vec<String>) {
    let subcommand = matches.subcommand();
    for argument in command.get_arguments() {
        // The values of global options are those of the subcommand as well.
        if subcommand.is_some() && argument.is_global_set() {
            continue;
        }
        let kind = argument.get_value_parser().type_id();
        let reads: fn(&OsStr) -> bool = match () {
            () if kind == TypeId::of::<InputFile>() => |value| is_stdin(value),
            () if kind == TypeId::of::<TextOrFile>() => |value| value == "@-",
            () if kind == TypeId::of::<TextOrLines>() => |value| value == "@-" || is_stdin(value),
            () if kind == TypeId::of::<(String, TextOrFile)>() => {
                |value| value.to_string_lossy().ends_with("=@-")
            }
            () => continue,
        };
        let values = matches.try_get_raw(argument.get_id().as_str());
        let values = values.ok().flatten().into_iter().flatten();
        let values = values.filter(|value| reads(value));
        options.extend(values.map(|_| argument.to_string()));
    }
    if let Some((name, matches)) = subcommand
        && let Some(command) = command.find_subcommand(name)
    {
        options_with_stdin(command, matches, options);
    }
}

/// Reads a file, or stdin.
pub(crate) fn read(file: &InputFile) -> Result<Zeroizing<Vec<u8>>> {
    if let Some(known) = file.stdin.get() {
        return Ok(known.clone());
    }
    let about = |error: io::Error| {
        Failure::usage(format!("{} cannot be read", file.display())).because(&error)
    };
    let bytes = match file.is_stdin() {
        true => read_to_limit(io::stdin(), 0),
        false => File::open(&file.path).and_then(|source| {
            let length = source.metadata()?.len();
            read_to_limit(source, length)
        }),
    };
    let bytes = bytes.map_err(about)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(Failure::usage(format!(
            "{} is longer than {MAX_BYTES} bytes",
            file.display()
        )));
    }
    if file.is_stdin() {
        return Ok(file.stdin.get_or_init(|| bytes).clone());
    }
    Ok(bytes)
}

/// Reads at most one byte more than the longest file. `length` is the expected length, if it is known. The content may be a key, so
/// a buffer that is too small is wiped after it was copied.
fn read_to_limit(mut source: impl Read, length: u64) -> io::Result<Zeroizing<Vec<u8>>> {
    /// The end is found when there is space left.
    const SPACE: u64 = 4096;
    let with_space = |length: u64| {
        let capacity = length.saturating_add(SPACE).min(MAX_BYTES + 1);
        Zeroizing::new(Vec::with_capacity(capacity as usize))
    };
    let mut bytes = with_space(length);
    loop {
        let space = bytes.capacity() - bytes.len();
        let read = source.by_ref().take(space as u64).read_to_end(&mut bytes)?;
        if read < space || bytes.len() as u64 > MAX_BYTES {
            return Ok(bytes);
        }
        let mut larger = with_space(2 * bytes.len() as u64);
        larger.extend_from_slice(&bytes);
        bytes = larger;
    }
}

/// Reads a file that need not exist.
///
/// # Errors
/// If the file cannot be read: it is not known whether its content is in use.
pub(crate) fn read_if_exists(path: &Path) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    match exists(path)? {
        true => read(&path.into())
            .map(Some)
            .map_err(|failure| io::Error::other(failure.to_string())),
        false => Ok(None),
    }
}

/// Whether there is a file or a directory at this path.
pub(crate) fn exists(path: &Path) -> io::Result<bool> {
    path.try_exists().map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("{} cannot be read: {error}", path.display()),
        )
    })
}

/// Reads a file of text, or stdin.
pub(crate) fn read_text(file: &InputFile) -> Result<Zeroizing<String>> {
    let bytes = read(file)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|_| Failure::usage(format!("{} is not UTF-8 text", file.display())))?;
    Ok(Zeroizing::new(
        text.trim_start_matches('\u{feff}').to_owned(),
    ))
}

/// A value of the command line, or the content of its file.
pub(crate) fn value_or_file(value: &TextOrFile) -> Result<Zeroizing<String>> {
    match value {
        TextOrFile::File(file) => Ok(Zeroizing::new(read_text(file)?.trim().to_owned())),
        TextOrFile::Text(text) => Ok(Zeroizing::new(text.clone())),
    }
}

/// An endorsement key from a file that contains its base64.
pub(crate) fn endorsement_key(file: &InputFile) -> Result<TpmPublic> {
    TpmPublic::from_base64(read_text(file)?.trim()).map_err(|error| {
        Failure::usage(format!("{} is not an endorsement key", file.display())).because(&error)
    })
}

/// A symmetric key from a file that contains its base64, or from an environment variable.
pub(crate) fn key(file: Option<&InputFile>, variable: &str) -> Result<Option<SymmetricKey>> {
    let text = match file {
        Some(file) => read_text(file)?,
        None => match env::var(variable) {
            Ok(text) if !text.is_empty() => Zeroizing::new(text),
            _ => return Ok(None),
        },
    };
    match SymmetricKey::from_base64(text.trim()) {
        Ok(key) => Ok(Some(key)),
        Err(error) => Err(Failure::from(error).about(place(file, variable))),
    }
}

/// A secret of bytes from a file or from an environment variable. Line ends at its end are not a part of it.
#[cfg(feature = "tpm")]
pub(crate) fn secret(
    file: Option<&InputFile>,
    variable: &str,
) -> Result<Option<Zeroizing<Vec<u8>>>> {
    let mut secret = match file {
        Some(file) => read(file)?,
        None => match env::var(variable) {
            Ok(text) if !text.is_empty() => Zeroizing::new(text.into_bytes()),
            _ => return Ok(None),
        },
    };
    while let Some(b'\n' | b'\r') = secret.last() {
        secret.pop();
    }
    match secret.is_empty() {
        true => Err(Failure::usage(format!(
            "{} is empty",
            place(file, variable)
        ))),
        false => Ok(Some(secret)),
    }
}

/// The place of a secret, for an error.
pub(crate) fn place(file: Option<&InputFile>, variable: &str) -> String {
    file.map_or_else(|| variable.to_owned(), |file| file.display().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns at most 1,000 bytes at once, as a pipe does.
    struct Pipe<'a>(&'a [u8]);

    impl Read for Pipe<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1000);
            self.0.read(&mut buffer[..length])
        }
    }

    #[test]
    fn all_is_read_up_to_the_limit() {
        let limit = MAX_BYTES as usize;
        let content: Vec<_> = (0..limit + 10).map(|number| number as u8).collect();
        for length in [0, 1, 4095, 4096, 4097, 12_288, 12_289, 100_000, limit] {
            for expected in [0, 1, length as u64, u64::MAX] {
                let content = &content[..length];
                let read = read_to_limit(Pipe(content), expected).unwrap();
                assert!(*read == content, "{length} {expected}");
            }
        }
        let read = read_to_limit(Pipe(&content), 0).unwrap();
        assert!(*read == content[..=limit]);
    }
}
