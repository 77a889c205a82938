//! A name of the emulator's server.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use rustls_pki_types::ServerName;

use crate::error::{Error, ErrorKind};

/// A DNS name or IP address by which clients reach the emulator.
///
/// ```
/// use dps_emulator::HostName;
///
/// let name: HostName = "dps.example".parse()?;
/// assert_eq!(name.as_str(), "dps.example");
/// assert!("dps example".parse::<HostName>().is_err());
/// # Ok::<_, dps_emulator::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    /// The name as text. An IPv6 address has no brackets.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for HostName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match ServerName::try_from(text) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(Error::new(
                ErrorKind::InvalidName,
                format!("'{text}' is not a valid DNS name or IP address"),
            )),
        }
    }
}

impl From<IpAddr> for HostName {
    fn from(address: IpAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses() {
        for valid in ["dps.example", "localhost", "my-box", "10.0.0.1", "::1"] {
            let name = valid.parse::<HostName>().expect(valid);
            assert_eq!(name.to_string(), valid);
        }
        for invalid in [
            "",
            "no name!",
            "a..b",
            "[::1]",
            "host:8443",
            "https://host",
            "*",
            "ä.example",
        ] {
            let error = invalid.parse::<HostName>().expect_err(invalid);
            assert_eq!(error.kind(), ErrorKind::InvalidName);
            let message = format!("'{invalid}' is not a valid DNS name or IP address");
            assert_eq!(error.to_string(), message);
        }
    }
}
