//! Bearer tokens from a provider: asked for when the last one is about to expire, once for all who wait.

use std::error::Error as StdError;
use std::fmt;
use std::time::SystemTime;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tracing::warn;
use zeroize::Zeroizing;

use super::RESERVE;
use crate::error::{Error, ErrorKind};

/// Where bearer tokens of Microsoft Entra ID come from.
///
/// The tokens must be for the scope [`ENTRA_SCOPE`](dps_types::protocol::service::ENTRA_SCOPE). The client keeps each
/// until a minute before it expires, so a provider need not; it is asked by one request at a time.
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
    /// A token that is good from now on.
    ///
    /// # Errors
    ///
    /// When there is none to be had. The client passes the error on as the source of its own, and does not try again:
    /// that is for the provider to do, which knows what may help.
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>>;
}

/// A bearer token, and when it expires. It is wiped when dropped, and Debug does not show it.
#[derive(Clone)]
pub struct AccessToken {
    token: Zeroizing<String>,
    expires_on: SystemTime,
}

impl AccessToken {
    /// A token, without `Bearer` before it.
    pub fn new(token: impl Into<String>, expires_on: SystemTime) -> Self {
        Self {
            token: Zeroizing::new(token.into()),
            expires_on,
        }
    }
}

impl fmt::Debug for AccessToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AccessToken")
            .field("expires_on", &self.expires_on)
            .finish_non_exhaustive()
    }
}

/// A provider, and the token in use.
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

    /// The text of an `Authorization` made now. Who comes while a token is being fetched waits for that one.
    pub(crate) async fn authorization(&self, now: SystemTime) -> Result<Zeroizing<String>, Error> {
        let mut current = self.current.lock().await;
        let lasts = |until: SystemTime| {
            current
                .as_ref()
                .is_some_and(|token| token.expires_on > until)
        };
        let (fresh, usable) = (lasts(now + RESERVE), lasts(now));
        if !fresh {
            match self.provider.token().await {
                Ok(token) => *current = Some(token),
                Err(error) if usable => {
                    warn!(%error, "no new token: the last one is good for a moment");
                }
                Err(error) => {
                    let what = "the token provider has no token";
                    return Err(Error::new(ErrorKind::NoToken, what).with_source(error));
                }
            }
        }
        let token = current.as_ref().map_or("", |token| &token.token);
        Ok(Zeroizing::new(format!("Bearer {token}")))
    }
}

impl fmt::Debug for BearerTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BearerTokens").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    /// Numbers its tokens; each is good until an hour after it was asked for the first time, and so on. Has `left` of them.
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
                false => Err("locked out".into()),
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
    async fn all_who_wait_share_one_token() {
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
    async fn one_who_gives_up_leaves_the_asking_to_the_next() {
        let (tokens, asked) = tokens(9);
        let hurried = tokio::time::timeout(Duration::from_millis(1), tokens.authorization(at(0)));
        assert!(hurried.await.is_err());
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        assert_eq!(text_at(&tokens, 0).await, "Bearer t1");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_new_token_the_last_one_serves_until_it_expires() {
        let (tokens, _) = tokens(1);
        text_at(&tokens, 0).await;
        assert_eq!(text_at(&tokens, 3599).await, "Bearer t1");
        let error = tokens.authorization(at(3600)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoToken);
        assert_eq!(error.source().unwrap().to_string(), "locked out");
    }

    #[test]
    fn debug_shows_no_secret() {
        let token = AccessToken::new("sesame", UNIX_EPOCH);
        assert!(!format!("{token:?}").contains("sesame"));
    }
}
