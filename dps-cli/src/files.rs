//! Files that the program writes: atomically, keys readable by their owner only, and nothing is overwritten by accident.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tempfile::NamedTempFile;
use zeroize::Zeroizing;

use crate::failure::{Failure, Result};

/// Who can read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// The owner: the file contains a key.
    Owner,
    /// Everyone whom the umask allows.
    Everyone,
}

/// Writes a file, or stdout when the path is `-`. After a power failure the file has either its old or its new content.
pub(crate) fn write(
    path: &Path,
    content: impl AsRef<[u8]>,
    overwrite: bool,
    access: Access,
) -> Result {
    let content = content.as_ref();
    if path.as_os_str() == "-" {
        return Ok(io::stdout().write_all(content)?);
    }
    create(path, content, overwrite, access).map_err(|error| {
        let failure =
            Failure::usage(format!("{} cannot be written", path.display())).because(&error);
        match error.kind() {
            io::ErrorKind::AlreadyExists => failure.with_hint("use --overwrite to replace it"),
            _ => failure,
        }
    })
}

/// Writes a file that contains no key.
pub(crate) fn write_public(path: &Path, content: impl AsRef<[u8]>, overwrite: bool) -> Result {
    write(path, content, overwrite, Access::Everyone)
}

/// Writes a file that contains a key.
pub(crate) fn write_key(path: &Path, key: &str, overwrite: bool) -> Result {
    write(path, key, overwrite, Access::Owner)
}

/// Opens a file that will contain keys: only its owner can read it, also if it existed before.
pub(crate) fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
        let file = options.mode(0o600).open(path)?;
        if file.metadata()?.is_file() {
            file.set_permissions(fs::Permissions::from_mode(0o600))?;
        }
        Ok(file)
    }
    #[cfg(not(unix))]
    options.open(path)
}

/// Renames a file, and flushes the directory so that the new name survives a power failure.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    sync_directory(to)
}

/// Checks that a file can be created at this path.
pub(crate) fn check_writable(path: &Path) -> io::Result<()> {
    tempfile::tempfile_in(directory(path))
        .map(drop)
        .map_err(|error| {
            let what = format!("{} cannot be written: {error}", path.display());
            io::Error::new(error.kind(), what)
        })
}

/// The path with more at its end, such as `.next`.
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// Removes a file that need not exist.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Certificates in PEM, one after the other.
pub(crate) fn chain_pem(chain: impl IntoIterator<Item = impl AsRef<[u8]>>) -> String {
    let pem = |der: &[u8]| pem("CERTIFICATE", der).to_string();
    chain.into_iter().map(|der| pem(der.as_ref())).collect()
}

/// An object in PEM (RFC 7468), such as `CERTIFICATE`.
pub(crate) fn pem(label: &str, der: &[u8]) -> Zeroizing<String> {
    let text = Zeroizing::new(STANDARD.encode(der));
    let mut pem = Zeroizing::new(String::with_capacity(
        text.len() + text.len() / 64 + 2 * label.len() + 40,
    ));
    pem.push_str(&format!("-----BEGIN {label}-----\n"));
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

/// Creates or replaces a file in one step.
pub(crate) fn create(
    path: &Path,
    content: impl AsRef<[u8]>,
    overwrite: bool,
    access: Access,
) -> io::Result<()> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    let permissions = {
        use std::os::unix::fs::PermissionsExt;
        fs::Permissions::from_mode(match access {
            Access::Owner => 0o600,
            Access::Everyone => 0o644,
        })
    };
    #[cfg(unix)]
    builder.permissions(permissions);
    let _ = access;
    let mut file: NamedTempFile = builder.tempfile_in(directory(path))?;
    file.write_all(content.as_ref())?;
    file.as_file().sync_all()?;
    match overwrite {
        true => file.persist(path),
        false => file.persist_noclobber(path),
    }
    .map_err(|error| error.error)?;
    sync_directory(path)
}

fn directory(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

fn sync_directory(path: &Path) -> io::Result<()> {
    match cfg!(unix) {
        true => File::open(directory(path))?.sync_all(),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_not_replaced_by_accident() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device.key");
        write_key(&path, "first", false).unwrap();
        assert!(write_key(&path, "second", false).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        write_key(&path, "second", true).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "second");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[cfg(unix)]
    #[test]
    fn a_key_that_replaces_a_public_file_is_readable_by_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("device.key");
        fs::write(&path, "public").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write_key(&path, "secret", true).unwrap();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn pem_has_lines_of_64_characters() {
        let pem = pem("CERTIFICATE", &[7; 50]);
        let lines: Vec<_> = pem.lines().collect();
        assert_eq!(lines[0], "-----BEGIN CERTIFICATE-----");
        assert_eq!((lines[1].len(), lines[2].len()), (64, 4));
        assert_eq!(lines[3], "-----END CERTIFICATE-----");
        assert!(pem.ends_with("-----\n"));
    }
}
