//! The PIN of a token: its sources. It is never shown.

use std::error::Error as StdError;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{env, fmt, fs, io};

use zeroize::Zeroizing;

use super::uri::{PinAttribute, Uri};
use crate::error::Error;

const MAX_BYTES: usize = 4096;

/// The source of a token's user PIN. The PIN is read at each login and wiped afterwards.
///
/// A byte order mark and line ends at the end are removed. A PIN of more than one line or of more than 4096 bytes is an error.
///
/// ```
/// use dps_device::pkcs11::Pin;
///
/// let pin = Pin::from_file("/etc/toaster/pin"); // read when the token is opened
/// # drop(pin);
/// ```
#[derive(Clone)]
pub struct Pin(Source);

#[derive(Clone)]
enum Source {
    Callback(Arc<Callback>),
    Environment(String),
    File(PathBuf),
    Value(Zeroizing<String>),
}

type Callback =
    dyn Fn() -> Result<Zeroizing<String>, Box<dyn StdError + Send + Sync>> + Send + Sync;

impl Pin {
    /// A PIN that is held in memory and wiped when it is dropped.
    pub fn new(pin: impl Into<String>) -> Self {
        Self(Source::Value(Zeroizing::new(pin.into())))
    }

    /// Calls the function at each login, to ask a person or a vault, on the thread of the token. It may block until the timeout of
    /// the token, but must not wait for another task of the runtime: after a lost session a TLS handshake waits for it.
    pub fn from_fn<F, E>(ask: F) -> Self
    where
        F: Fn() -> Result<String, E> + Send + Sync + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let ask = move || ask().map(Zeroizing::new).map_err(Into::into);
        Self(Source::Callback(Arc::new(ask)))
    }

    /// Reads the environment variable with this name.
    pub fn from_env(name: impl Into<String>) -> Self {
        Self(Source::Environment(name.into()))
    }

    /// Reads this file, which must be UTF-8.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// The `pin-value` or `pin-source` of the URI. `None` if it has neither.
    pub(super) fn from_uri(uri: &Uri) -> Result<Option<Self>, Error> {
        match uri.pin() {
            Some(PinAttribute::Value(pin)) => Ok(Some(Self(Source::Value(pin.clone())))),
            Some(PinAttribute::Source(source)) => file_of(source).map(Self::from_file).map(Some),
            None => Ok(None),
        }
    }

    pub(super) fn ask(&self) -> Result<Zeroizing<String>, Error> {
        let pin = match &self.0 {
            Source::Callback(ask) => ask().map_err(|error| {
                Error::configuration("the callback returned no PIN").with_shared_source(error.into())
            })?,
            // The error of `var` contains a value that is not Unicode, so it is not used as the source.
            Source::Environment(name) => env::var(name).map(Zeroizing::new).map_err(|_| {
                Error::configuration(format!(
                    "the PIN cannot be read from the environment variable {name}: it is not set, or not Unicode"
                ))
            })?,
            Source::File(path) => read(path).map_err(|error| {
                let path = path.display();
                Error::configuration(format!("the PIN cannot be read from the file {path}"))
                    .with_source(error)
            })?,
            Source::Value(pin) => pin.clone(),
        };
        one_line(&pin)
    }
}

/// Removes what editors and shells add to a PIN: a byte order mark, and the end of the line.
fn one_line(text: &str) -> Result<Zeroizing<String>, Error> {
    let pin = text.strip_prefix('\u{feff}').unwrap_or(text);
    let pin = pin.trim_end_matches(['\r', '\n']);
    match pin {
        "" => Err(Error::configuration("the PIN is empty")),
        pin if pin.len() > MAX_BYTES => Err(Error::configuration(format!(
            "the PIN is longer than {MAX_BYTES} bytes"
        ))),
        pin if pin.contains(['\r', '\n', '\0']) => Err(Error::configuration(
            "the PIN has more than one line or a zero byte",
        )),
        pin => Ok(Zeroizing::new(pin.to_owned())),
    }
}

/// Reads no more of the file than a PIN may have, and wipes what it has read.
fn read(path: &Path) -> io::Result<Zeroizing<String>> {
    // The buffer does not grow, because a buffer that grows leaves copies of the PIN behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 8));
    fs::File::open(path)?
        .take(MAX_BYTES as u64 + 8)
        .read_to_end(&mut bytes)?;
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "the file is not UTF-8: save it as plain text",
        )),
    }
}

/// The file of a `pin-source`, which is a file URI, or `|` and a command. Source: RFC 7512, 2.4.
fn file_of(source: &str) -> Result<PathBuf, Error> {
    if source.starts_with('|') {
        return Err(Error::configuration(
            "pin-source names a program, which is not supported: use a file, or Pin::from_fn",
        ));
    }
    let path = match source.strip_prefix("file:") {
        Some(rest) => match rest.strip_prefix("//") {
            Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
            None => rest,
        },
        None => source,
    };
    if path.starts_with('/') || cfg!(windows) {
        return Ok(path.into());
    }
    Err(Error::configuration(
        "pin-source is neither an absolute path nor a file URI",
    ))
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Source::Callback(_) => f.write_str("Pin(callback)"),
            Source::Environment(name) => write!(f, "Pin(environment variable {name})"),
            Source::File(path) => write!(f, "Pin(file {})", path.display()),
            Source::Value(_) => f.write_str("Pin(..)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(uri: &str) -> Result<Option<Pin>, Error> {
        Pin::from_uri(&uri.parse().unwrap())
    }

    #[test]
    fn a_uri_names_the_source_of_the_pin() {
        for (uri, file) in [
            ("pkcs11:?pin-source=file:/etc/pin", "/etc/pin"),
            ("pkcs11:?pin-source=file:///etc/a%20pin", "/etc/a pin"),
            ("pkcs11:?pin-source=file://localhost/etc/pin", "/etc/pin"),
            ("pkcs11:?pin-source=/etc/pin", "/etc/pin"),
        ] {
            let pin = of(uri).unwrap().unwrap();
            assert_eq!(format!("{pin:?}"), format!("Pin(file {file})"));
        }
        assert!(of("pkcs11:").unwrap().is_none());
        assert!(of("pkcs11:?pin-source=file:pin").is_err());
        assert!(of("pkcs11:?pin-source=file://elsewhere/pin").is_err());
        let program = of("pkcs11:?pin-source=%7C/usr/lib/pinomatic").unwrap_err();
        assert!(program.to_string().contains("names a program"));
    }

    #[test]
    fn a_pin_is_never_shown() {
        for pin in [
            Pin::new("1234"),
            of("pkcs11:?pin-value=1234").unwrap().unwrap(),
        ] {
            assert_eq!(pin.ask().unwrap().as_str(), "1234");
            assert_eq!(format!("{pin:?}"), "Pin(..)");
        }
    }

    #[test]
    fn the_error_for_a_missing_pin_names_the_source() {
        let error = Pin::from_env("DPS_TEST_NO_SUCH_PIN").ask().unwrap_err();
        assert!(error.to_string().contains("DPS_TEST_NO_SUCH_PIN"));

        let error = Pin::from_file("/no/such/pin").ask().unwrap_err();
        assert!(error.to_string().contains("/no/such/pin"));

        let error = Pin::from_fn(|| Err("the vault is locked"))
            .ask()
            .unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "the vault is locked");

        assert!(Pin::new("").ask().is_err());
    }

    #[test]
    fn a_byte_order_mark_and_line_ends_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        for text in ["1234", "1234\n", "1234\r\n", "\u{feff}1234\r\n", "1234\n\n"] {
            std::fs::write(&path, text).unwrap();
            assert_eq!(*Pin::from_file(&path).ask().unwrap(), "1234", "{text:?}");
            let returned = text.to_owned();
            let pin = Pin::from_fn(move || Ok::<_, io::Error>(returned.clone()));
            assert_eq!(*pin.ask().unwrap(), "1234", "{text:?}");
        }
        // Spaces may be part of a PIN.
        assert_eq!(*Pin::new(" 12 34 ").ask().unwrap(), " 12 34 ");
    }

    #[test]
    fn a_file_that_is_not_a_pin_is_an_error_that_does_not_show_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pin");
        let utf_16 = b"\xff\xfe1\x002\x00";
        let long = [b'7'; 100_000];
        for (bytes, reason) in [
            (&b"1234\n5678\n"[..], "more than one line"),
            (b"\xef\xbb\xbf\r\n", "is empty"),
            (b"", "is empty"),
            (b"12\x0034", "a zero byte"),
            (utf_16, "not UTF-8"),
            (&long, "longer than 4096 bytes"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = Pin::from_file(&path).ask().unwrap_err();
            let source = error.source().map(ToString::to_string).unwrap_or_default();
            let text = format!("{error}: {source}");
            assert!(text.contains(reason), "{text}");
            assert!(!text.contains("1234") && !text.contains("777"), "{text}");
        }
    }
}
