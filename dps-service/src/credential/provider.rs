//! Bearer tokens from a provider: fetched when the current token is about to expire, once for all waiting requests.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tracing::warn;
use zeroize::Zeroizing;

use super::RESERVE;
use crate::error::{Error, ErrorKind};

/// A source of bearer tokens of Microsoft Entra ID.
///
/// The tokens must be for the scope [`ENTRA_SCOPE`](dps_types::protocol::service::ENTRA_SCOPE). The client keeps a token
/// until a minute before it expires, or until the service refuses it, so a provider does not have to. The client never
/// calls it concurrently.
///
/// ```
/// use std::time::{Duration, SystemTime};
/// use dps_service::{AccessToken, TokenProvider};
///
/// struct FromEnvironment;
///
/// #[async_trait::async_trait]
/// impl TokenProvider for FromEnvironment {
///     async fn token(&self) -> Result<AccessToken, Box<dyn std::error::Error + Send + Sync>> {
///         let in_an_hour = SystemTime::now() + Duration::from_secs(3600);
///         Ok(AccessToken::new(std::env::var("DPS_TOKEN")?, in_an_hour))
///     }
/// }
/// ```
#[async_trait]
pub trait TokenProvider: Send + Sync {
    /// Returns a token that is valid now.
    ///
    /// # Errors
    ///
    /// When no token is available. The client returns an error with this one as its source, and does not retry: the
    /// provider itself can decide whether a retry may help.
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>>;
}

macro_rules! forward {
    ($($Pointer:ty),*) => {$(
        #[async_trait]
        impl<P: TokenProvider + ?Sized> TokenProvider for $Pointer {
            async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
                (**self).token().await
            }
        }
    )*};
}

forward!(Arc<P>, Box<P>, &P);

/// A bearer token with its expiry. It is wiped when dropped, and Debug does not show it.
#[derive(Clone)]
pub struct AccessToken {
    token: Zeroizing<String>,
    expires_at: SystemTime,
}

impl AccessToken {
    /// Creates a token from its text, without `Bearer` in front. White space around it is ignored, such as the line end of
    /// a file.
    pub fn new(token: impl Into<String>, expires_at: SystemTime) -> Self {
        let text = Zeroizing::new(token.into());
        Self {
            token: Zeroizing::new(text.trim().to_owned()),
            expires_at,
        }
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A provider, and the current token.
pub(crate) struct BearerTokens {
    provider: Box<dyn TokenProvider>,
    current: Mutex<Option<AccessToken>>,
}

impl BearerTokens {
    pub(crate) fn new(provider: impl TokenProvider + 'static) -> Self {
        Self {
            provider: Box::new(provider),
            current: Mutex::new(None),
        }
    }

    /// Returns the `Authorization` header of a request that is sent now. Requests wait while a token is being fetched.
    pub(crate) async fn authorization(&self, now: SystemTime) -> Result<Zeroizing<String>, Error> {
        let mut current = self.current.lock().await;
        let lasts = |until: SystemTime| {
            current
                .as_ref()
                .is_some_and(|token| token.expires_at > until)
        };
        let (fresh, usable) = (lasts(now + RESERVE), lasts(now));
        if !fresh {
            match self.provider.token().await {
                Ok(token) => *current = Some(token),
                Err(error) if usable => {
                    warn!(%error, "no new token is available: using the current one until it expires");
                }
                Err(error) => {
                    let message = "the token provider returned no token";
                    return Err(Error::new(ErrorKind::NoToken, message).with_source(error));
                }
            }
        }
        let token = current.as_ref().map_or("", |token| &token.token);
        Ok(header(token))
    }

    /// Discards the current token, unless it is already another one than the refused one.
    pub(super) async fn discard(&self, refused: &[u8]) {
        let mut current = self.current.lock().await;
        current.take_if(|token| header(&token.token).as_bytes() == refused);
    }
}

fn header(token: &str) -> Zeroizing<String> {
    Zeroizing::new(format!("Bearer {token}"))
}

impl fmt::Debug for BearerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Returns numbered tokens: the first expires after one hour, the second after two. It has `left` of them.
    struct Numbered {
        asked: Arc<AtomicU32>,
        left: u32,
    }

    #[async_trait]
    impl TokenProvider for Numbered {
        async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
            tokio::time::sleep(Duration::from_secs(1)).await;
            let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
            match number <= self.left {
                true => Ok(AccessToken::new(
                    format!("t{number}"),
                    at(u64::from(number) * 3600),
                )),
                false => Err("the account is locked".into()),
            }
        }
    }

    fn tokens(left: u32) -> (BearerTokens, Arc<AtomicU32>) {
        let asked = Arc::new(AtomicU32::new(0));
        let provider = Numbered {
            asked: Arc::clone(&asked),
            left,
        };
        (BearerTokens::new(provider), asked)
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    async fn text_at(tokens: &BearerTokens, seconds: u64) -> String {
        tokens.authorization(at(seconds)).await.unwrap().to_string()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_kept_until_a_minute_before_it_expires() {
        let (tokens, asked) = tokens(9);
        assert_eq!(text_at(&tokens, 0).await, "Bearer t1");
        assert_eq!(text_at(&tokens, 3539).await, "Bearer t1");
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        assert_eq!(text_at(&tokens, 3540).await, "Bearer t2");
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_requests_share_one_token() {
        let (tokens, asked) = tokens(9);
        let (a, b, c) = tokio::join!(
            text_at(&tokens, 0),
            text_at(&tokens, 0),
            text_at(&tokens, 0)
        );
        assert_eq!([a, b, c], ["Bearer t1"; 3]);
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_cancelled_request_the_next_one_fetches_the_token() {
        let (tokens, asked) = tokens(9);
        let hurried = tokio::time::timeout(Duration::from_millis(1), tokens.authorization(at(0)));
        assert!(hurried.await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        assert_eq!(text_at(&tokens, 0).await, "Bearer t1");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_new_token_the_current_one_is_used_until_it_expires() {
        let (tokens, _) = tokens(1);
        text_at(&tokens, 0).await;
        assert_eq!(text_at(&tokens, 3599).await, "Bearer t1");
        let error = tokens.authorization(at(3600)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoToken);
        assert_eq!(error.source().unwrap().to_string(), "the account is locked");
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = AccessToken::new("sesame", UNIX_EPOCH);
        assert!(!format!("{token:?}").contains("sesame"));
    }
}
