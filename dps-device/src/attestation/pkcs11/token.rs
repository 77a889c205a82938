//! An open token, with access to its keys and certificates.

use std::sync::Arc;

use super::connection::{Connection, Link};
use super::failure::Failure;
use super::pin::Pin;
use super::uri::Uri;
use crate::error::{Error, ErrorKind};

/// A PKCS#11 token with a login.
///
/// It has one session, which one caller uses at a time, and opens a new one when that is lost, for example because the token was
/// removed and inserted again. A clone is the same token. In PKCS#11 a login applies to the whole process: a second `Token` for the
/// same token is logged in already, with any PIN.
///
/// The methods have no timeout, because a token with a key pad waits for a person: use `tokio::time::timeout`. A registration has a
/// timeout, but it cannot interrupt a token that hangs in the TLS handshake.
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
    /// missing, wrong or locked. [`ErrorKind::Signing`] if the token fails.
    pub async fn open(uri: &Uri) -> Result<Self, Error> {
        Self::connect(uri.clone(), Pin::from_uri(uri)?).await
    }

    /// Opens the token that the URI selects, with this PIN. A PIN in the URI is ignored.
    ///
    /// # Errors
    /// See [`open`](Self::open).
    pub async fn open_with_pin(uri: &Uri, pin: Pin) -> Result<Self, Error> {
        Self::connect(uri.clone(), Some(pin)).await
    }

    async fn connect(uri: Uri, pin: Option<Pin>) -> Result<Self, Error> {
        blocking(move || {
            let link = Link::new(&uri, pin)?;
            link.with("be opened", |_| Ok(()))?;
            Ok(Self(Arc::new(link)))
        })
        .await
    }

    /// Runs work with the token on a thread for blocking work.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let link = self.0.clone();
        blocking(move || link.with(doing, work)).await
    }
}

/// Runs work on a thread for blocking work. Dropping the future does not stop it.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(
                Error::new(ErrorKind::Signing, "the runtime is shutting down").with_source(error),
            ),
        },
    }
}
