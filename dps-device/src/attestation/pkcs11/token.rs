//! A token, open: the way to the keys and certificates in it.

use std::sync::Arc;

use super::connection::{Connection, Link};
use super::failure::Failure;
use super::pin::Pin;
use super::uri::Uri;
use crate::error::{Error, ErrorKind};

/// A PKCS#11 token, logged in to.
///
/// It has one session, used by one at a time, and opens another when that is lost: the token was out and is back, say. A clone
/// is the same token. The login counts for the whole process, as PKCS#11 has it: a second `Token` for the same token
/// finds itself logged in, whatever its PIN.
///
/// No call here has a time limit of its own, since a key pad waits for a person: put `tokio::time::timeout` around it. A
/// registration has one, which cannot interrupt a token that hangs in the TLS handshake.
#[derive(Debug, Clone)]
pub struct Token(pub(super) Arc<Link>);

impl Token {
    /// Opens the token that the URI names, with the PIN that the URI names. A token that wants none needs none, and one with a key pad
    /// of its own asks there.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`] when there is no such module or token, or more than one such token, or the PIN is
    /// missing, wrong or locked. [`ErrorKind::Signing`] when the token does not work.
    pub async fn open(uri: &Uri) -> Result<Self, Error> {
        Self::connect(uri.clone(), Pin::from_uri(uri)?).await
    }

    /// [`open`](Self::open) with this PIN. What the URI says about it is not looked at.
    ///
    /// # Errors
    /// As [`open`](Self::open).
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

    /// Works with the token on a thread that may wait.
    pub(super) async fn with<T: Send + 'static>(
        &self,
        doing: &'static str,
        work: impl Fn(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Error> {
        let link = self.0.clone();
        blocking(move || link.with(doing, work)).await
    }
}

/// Does what blocks on a thread for it. A caller that goes away meanwhile does not stop it: the token is busy for that long anyway.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => {
                Err(Error::new(ErrorKind::Signing, "the runtime shuts down").with_source(error))
            }
        },
    }
}
