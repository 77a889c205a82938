//! The PIN: where it comes from, and that it stays out of every text.

use std::error::Error as StdError;
use std::path::PathBuf;
use std::sync::Arc;
use std::{env, fmt, fs, io};

use zeroize::Zeroizing;

use super::uri::{PinAttribute, Uri};
use crate::error::Error;

/// Where the user PIN of a token comes from. It is asked for at each login, held no longer, and wiped.
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
    /// A PIN that is held in memory. It is taken over and wiped when dropped.
    pub fn new(pin: impl Into<String>) -> Self {
        Self(Source::Value(Zeroizing::new(pin.into())))
    }

    /// Asks the function at each login: a person, or a vault. It is called on a thread where it may block.
    pub fn from_fn<F, E>(ask: F) -> Self
    where
        F: Fn() -> Result<String, E> + Send + Sync + 'static,
        E: Into<Box<dyn StdError + Send + Sync>>,
    {
        let ask = move || ask().map(Zeroizing::new).map_err(Into::into);
        Self(Source::Callback(Arc::new(ask)))
    }

    /// The environment variable of this name.
    pub fn from_env(name: impl Into<String>) -> Self {
        Self(Source::Environment(name.into()))
    }

    /// The text of this file, without the end of the line.
    pub fn from_file(path: impl Into<PathBuf>) -> Self {
        Self(Source::File(path.into()))
    }

    /// What `pin-value` or `pin-source` of the URI says, when it has one.
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
                Error::configuration("the callback gave no PIN").with_shared_source(error.into())
            })?,
            // A value that is not Unicode stays out of the error.
            Source::Environment(name) => env::var(name).map(Zeroizing::new).map_err(|_| {
                Error::configuration(format!(
                    "there is no PIN in the environment variable {name}"
                ))
            })?,
            Source::File(path) => read(path).map_err(|error| {
                let path = path.display();
                Error::configuration(format!("the PIN cannot be read from {path}"))
                    .with_source(error)
            })?,
            Source::Value(pin) => pin.clone(),
        };
        if pin.is_empty() {
            return Err(Error::configuration("the PIN is empty"));
        }
        Ok(pin)
    }
}

fn read(path: &PathBuf) -> io::Result<Zeroizing<String>> {
    let text = Zeroizing::new(fs::read_to_string(path)?);
    let line = text.strip_suffix('\n').unwrap_or(&text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    Ok(Zeroizing::new(line.to_owned()))
}

/// The file of a `pin-source`. RFC 7512, 2.4: a file URI, or `|` and a command.
fn file_of(source: &str) -> Result<PathBuf, Error> {
    if source.starts_with('|') {
        return Err(Error::configuration(
            "pin-source names a program, and none is run for a PIN: use a file, or a callback",
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
        "pin-source is no absolute path and no file URI",
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
    fn a_uri_tells_where_the_pin_is() {
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
    fn a_pin_is_in_no_text() {
        for pin in [
            Pin::new("1234"),
            of("pkcs11:?pin-value=1234").unwrap().unwrap(),
        ] {
            assert_eq!(pin.ask().unwrap().as_str(), "1234");
            assert_eq!(format!("{pin:?}"), "Pin(..)");
        }
    }

    #[test]
    fn a_pin_that_is_not_there_is_named() {
        let error = Pin::from_env("DPS_TEST_NO_SUCH_PIN").ask().unwrap_err();
        assert!(error.to_string().contains("DPS_TEST_NO_SUCH_PIN"));

        let error = Pin::from_file("/no/such/pin").ask().unwrap_err();
        assert!(error.to_string().contains("/no/such/pin"));

        let error = Pin::from_fn(|| Err("nobody is there")).ask().unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "nobody is there");

        assert!(Pin::new("").ask().is_err());
    }
}
