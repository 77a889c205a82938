//! An HTTP proxy that tunnels with CONNECT, and the recognition of its refusal of credentials.

use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;

use percent_encoding::percent_decode_str;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorKind};
use crate::failure::causes;

/// An HTTP proxy, with a user name and a password if it requires them. Debug shows neither.
///
/// The TLS connection passes through the proxy unchanged, so the proxy sees only the host name.
#[derive(Clone)]
pub struct Proxy {
    host: String,
    port: u16,
    credentials: Option<(String, Zeroizing<String>)>,
}

impl Proxy {
    /// A proxy at this host, which is a name or an address.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidProxy`] when the host is not valid or the port is 0.
    pub fn new(host: impl Into<String>, port: u16) -> Result<Self, Error> {
        let host = host.into();
        let plain = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(&host);
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let valid = !plain.is_empty() && plain.bytes().all(is_host)
            || plain.parse::<std::net::Ipv6Addr>().is_ok();
        if !valid || port == 0 {
            return Err(invalid("the proxy has no valid host and port"));
        }
        Ok(Self {
            host: plain.to_owned(),
            port,
            credentials: None,
        })
    }

    /// Adds a user name and a password, sent as basic credentials.
    #[must_use]
    pub fn with_credentials(
        mut self,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> Self {
        self.credentials = Some((user.into(), Zeroizing::new(password.into())));
        self
    }

    /// The host, without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// User name and password. The password is the secret itself.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        let (user, password) = self.credentials.as_ref()?;
        Some((user, password))
    }
}

impl FromStr for Proxy {
    type Err = Error;

    /// Reads `http://host:port` and `http://user:password@host:port`. User name and password may be percent-encoded; the
    /// port is 80 when it is left out. The error does not repeat the text.
    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || invalid("the proxy is not written http://user:password@host:port");
        let decode = |text| {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded.map(String::from).map_err(|_| wrong())
        };
        let rest = text.trim().strip_prefix("http://").ok_or_else(wrong)?;
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(credentials), authority),
            None => (None, rest),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| wrong())?)
            }
            _ => (authority, 80),
        };
        let proxy = Self::new(host, port)?;
        let Some(credentials) = credentials else {
            return Ok(proxy);
        };
        let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
        Ok(proxy.with_credentials(decode(user)?, decode(password)?))
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Proxy")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("has_credentials", &self.credentials.is_some())
            .finish()
    }
}

/// Returns true if an HTTP client failed because the proxy answered 407: credentials are missing or rejected.
///
/// hyper-util does not export the type of its error, so its text decides.
pub fn proxy_refused(error: &(dyn StdError + 'static)) -> bool {
    causes(error).any(|error| error.to_string() == "tunnel error: proxy authorization required")
}

fn invalid(what: &'static str) -> Error {
    Error::new(ErrorKind::InvalidProxy, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Proxy {
        text.parse().expect(text)
    }

    #[test]
    fn urls_are_taken_apart() {
        let proxy = read("http://us%40er:p%3Ass:word@proxy.example:3128/");
        assert_eq!((proxy.host(), proxy.port()), ("proxy.example", 3128));
        assert_eq!(proxy.credentials(), Some(("us@er", "p:ss:word")));

        let proxy = read("http://10.0.0.1");
        assert_eq!((proxy.host(), proxy.port()), ("10.0.0.1", 80));
        assert_eq!(proxy.credentials(), None);

        for text in ["http://[::1]:8080", "http://[::1]"] {
            assert_eq!(read(text).host(), "::1");
        }
    }

    #[test]
    fn an_invalid_proxy_is_refused_without_repeating_it() {
        for text in [
            "",
            "proxy:80",
            "socks5://hunter2@proxy:80",
            "http://",
            "http://user:hunter2@",
            "http://hunter2@proxy:none",
            "http://hunter2@proxy:0",
            "http://hunter2@pro xy:80",
            "http://hunter2@proxy/path:80",
            "http://%ff:hunter2@proxy:80",
        ] {
            let error = text.parse::<Proxy>().expect_err(text);
            assert_eq!(error.kind(), ErrorKind::InvalidProxy);
            assert!(!format!("{error:?}").contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn debug_shows_no_credentials() {
        let shown = format!("{:?}", read("http://user:hunter2@proxy:80"));
        assert_eq!(
            shown,
            "Proxy { host: \"proxy\", port: 80, has_credentials: true }"
        );
    }

    #[test]
    fn a_refusal_by_the_proxy_is_recognised_behind_other_errors() {
        let tunnel = || std::io::Error::other("tunnel error: proxy authorization required");
        assert!(proxy_refused(&tunnel()));
        assert!(proxy_refused(&std::io::Error::other(tunnel())));
        assert!(!proxy_refused(&std::io::Error::other(
            "tunnel error: unsuccessful"
        )));
    }
}
