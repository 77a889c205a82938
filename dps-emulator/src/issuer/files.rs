//! Files of a certificate authority in the data directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use crate::error::{Error, ErrorKind};

/// The longest file. Certificates and keys have some kilobytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads a file; `None` if it does not exist.
pub(super) fn read(path: &Path) -> Result<Option<String>, Error> {
    // A link to a file that does not exist is an error: something else was meant to provide the file.
    match fs::symlink_metadata(path).and_then(|_| read_text(path)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_symlink() => Ok(None),
        Err(error) => {
            let what = format!("{}: the file could not be read", path.display());
            Err(Error::new(ErrorKind::Certificate, what).with_source(error))
        }
    }
}

/// Reads a regular file. Opening a named pipe would wait for another program, and a device may have no end.
fn read_text(path: &Path) -> io::Result<String> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let mut text = String::new();
    File::open(path)?
        .take(MAX_BYTES + 1)
        .read_to_string(&mut text)?;
    match text.len() as u64 > MAX_BYTES {
        true => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("it is longer than {MAX_BYTES} bytes"),
        )),
        false => Ok(text),
    }
}

/// Writes the key and then the certificate, so that a certificate never lacks its key.
pub(super) fn write_pair(
    dir: &Path,
    (key_file, key): (&str, &str),
    (certificate_file, certificate): (&str, &str),
) -> Result<(), Error> {
    fs::create_dir_all(dir)
        .and_then(|()| write_atomically(dir, key_file, key, 0o600))
        .and_then(|()| write_atomically(dir, certificate_file, certificate, 0o644))
        .map_err(|error| {
            let what = format!(
                "{}: the certificate authority could not be saved",
                dir.display()
            );
            Error::new(ErrorKind::Certificate, what).with_source(error)
        })
}

/// Writes the whole file or nothing, even if the power fails.
fn write_atomically(dir: &Path, name: &str, content: &str, mode: u32) -> io::Result<()> {
    let new = dir.join(format!(".{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create_new(&new, mode)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, dir.join(name))?;
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    Ok(())
}

#[cfg_attr(not(unix), expect(unused_variables, reason = "only Unix has modes"))]
fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    options.open(path)
}
