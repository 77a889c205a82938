//! The options of an open token.

use std::time::Duration;

use super::pin::Pin;

/// The options of [`Token::open_with`](super::Token::open_with).
///
/// ```
/// use std::time::Duration;
///
/// use dps_device::pkcs11::{Pin, TokenOptions};
///
/// let options = TokenOptions::default()
///     .with_pin(Pin::from_file("/etc/toaster/pin"))
///     .with_timeout(Duration::from_secs(10));
/// # drop(options);
/// ```
#[derive(Debug, Clone)]
pub struct TokenOptions {
    pub(super) pin: Option<Pin>,
    pub(super) timeout: Duration,
}

impl TokenOptions {
    /// The default timeout.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

    /// Uses this PIN instead of that of the URI.
    #[must_use]
    pub fn with_pin(mut self, pin: Pin) -> Self {
        self.pin = Some(pin);
        self
    }

    /// Waits this long for the module, 30 seconds by default. The generation of a key pair has ten times this limit.
    ///
    /// The time includes the calls that are before it, the PIN callback, and a person who enters a PIN at a key pad. When it has
    /// passed, the call fails with [`Deadline`](crate::ErrorKind::Deadline); the call itself is not cancelled, so a key may
    /// have been generated. In a TLS handshake the thread that drives the connection waits at most this long.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            pin: None,
            timeout: Self::DEFAULT_TIMEOUT,
        }
    }
}
