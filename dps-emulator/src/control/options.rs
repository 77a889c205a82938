//! The options of the control endpoint.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::Token;
use crate::error::{Error, ErrorKind};

/// The options of the control endpoint, for [`EmulatorBuilder::control`](crate::EmulatorBuilder::control).
///
/// The endpoint shows keys and changes state. By default it listens on 127.0.0.1, on a free port, and needs no token: a web page
/// of another origin cannot use it, because it checks `Host` and `Origin`.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use dps_emulator::{ControlEndpoint, Emulator};
///
/// let dps = Emulator::builder().control(ControlEndpoint::default().port(8080)).start().await?;
/// # drop(dps);
/// # Ok(())
/// # }
/// ```
///
/// See the page [The emulator](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/emulator.md#the-control-endpoint) of the book.
#[derive(Clone)]
pub struct ControlEndpoint {
    pub(crate) bind: IpAddr,
    pub(crate) port: u16,
    pub(super) token: Option<Token>,
}

impl Default for ControlEndpoint {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            port: 0,
            token: None,
        }
    }
}

impl ControlEndpoint {
    /// The port; 0, which selects a free one, by default.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The address to listen on. An address other than loopback requires a [token](Self::token).
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.bind = address;
        self
    }

    /// The token that every request but `/health` and `/ready` must have, as `Authorization: Bearer TOKEN`.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Token::new(token.into()));
        self
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let reason = match &self.token {
            None if !self.bind.is_loopback() => {
                "the control endpoint requires a token on an address other than loopback"
            }
            Some(token) if token.is_empty() => "the token of the control endpoint is empty",
            _ => return Ok(()),
        };
        Err(Error::new(ErrorKind::Configuration, reason))
    }
}

impl fmt::Debug for ControlEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ControlEndpoint")
            .field("bind", &self.bind)
            .field("port", &self.port)
            .field("token", &self.token.as_ref().map(|_| ".."))
            .finish()
    }
}
