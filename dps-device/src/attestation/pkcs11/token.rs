//! An open token, with access to its keys and certificates.

use std::sync::Arc;

use super::connection::{Connection, Link};
use super::failure::Failure;
use super::options::TokenOptions;
use super::pin::Pin;
use super::uri::Uri;
use crate::attestation::blocking::AbortOnDrop;
use crate::error::{Error, ErrorKind};

/// A PKCS#11 token with a login.
///
/// It has one session, which one caller uses at a time, and opens a new one when that is lost, for example because the token was
/// removed and inserted again. A clone is the same token. In PKCS#11 a login applies to the whole process: a second `Token` for the
/// same token is logged in already, with any PIN.
///
/// A token has a thread of its own, which calls the module. A call waits for it until the [timeout](TokenOptions::with_timeout): a
/// signature in a TLS handshake as well, where rustls signs synchronously. When the module answers again, later calls work again.
/// Dropping the last clone and the last key of a token closes the session, and waits at most 5 seconds for that.
///
/// ```no_run
/// # async fn attestation() -> Result<dps_device::X509Attestation, Box<dyn std::error::Error>> {
/// use dps_device::X509Attestation;
/// use dps_device::pkcs11::{Pin, Token, Uri};
///
/// let uri: Uri = "pkcs11:token=device;object=toaster-1?module-path=/usr/lib/softhsm/libsofthsm2.so".parse()?;
/// let token = Token::open_with_pin(&uri, Pin::from_file("/etc/toaster/pin")).await?;
/// let attestation = X509Attestation::new(token.identity(&uri).await?)?;
/// # Ok(attestation)
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Token(pub(super) Arc<Link>);

impl Token {
    /// Opens the token that the URI selects, with the PIN from the URI. A token without a login needs no PIN, and a token with a key
    /// pad asks for it there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] if the module cannot be loaded, no token or more than one token matches, or the PIN is
    /// missing, wrong or locked. [`ErrorKind::Signing`] if the token fails. [`ErrorKind::Deadline`] if the module does not answer
    /// within the timeout, or too many calls of it have not returned.
    pub async fn open(uri: &Uri) -> Result<Self, Error> {
        Self::open_with(uri, TokenOptions::default()).await
    }

    /// Opens the token that the URI selects, with this PIN. A PIN in the URI is ignored.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub async fn open_with_pin(uri: &Uri, pin: Pin) -> Result<Self, Error> {
        Self::open_with(uri, TokenOptions::default().with_pin(pin)).await
    }

    /// Opens the token that the URI selects, with these options.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub async fn open_with(uri: &Uri, options: TokenOptions) -> Result<Self, Error> {
        let pin = match options.pin {
            Some(pin) => Some(pin),
            None => Pin::from_uri(uri)?,
        };
        let token = Self(Arc::new(Link::new(uri, pin, options.timeout)?));
        token.with("be opened", |_| Ok(())).await?;
        Ok(token)
    }

    /// Runs work on the thread of the token. The work must not own a token.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        self.0.with_async(doing, work).await
    }
}

/// Runs work on a thread for blocking work. If the future is dropped, work that has not begun is not run.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match AbortOnDrop(tokio::task::spawn_blocking(work)).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(
                Error::new(ErrorKind::Signing, "the runtime is shutting down").with_source(error),
            ),
        },
    }
}
