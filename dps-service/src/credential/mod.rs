//! Credentials of a service client: a shared access policy whose key signs tokens, or a provider of bearer tokens.

#[cfg(feature = "entra")]
mod entra;
mod policy;
mod provider;

use std::time::{Duration, SystemTime};

use reqwest::header::HeaderValue;

use crate::error::{Error, ErrorKind};

#[cfg(feature = "entra")]
pub use entra::EntraCredential;
pub(crate) use policy::SharedAccessPolicy;
pub(crate) use provider::BearerTokens;
pub use provider::{AccessToken, TokenProvider};

/// A token is replaced when less time is left: clocks differ, and a request takes a while.
const RESERVE: Duration = Duration::from_secs(60);

/// The credentials of a client.
#[derive(Debug)]
pub(crate) enum Credential {
    Policy(SharedAccessPolicy),
    Bearer(BearerTokens),
}

impl Credential {
    /// Returns the `Authorization` header of a request that is sent now.
    pub(crate) async fn authorization(&self, now: SystemTime) -> Result<HeaderValue, Error> {
        let text = match self {
            Self::Policy(policy) => policy.authorization(now),
            Self::Bearer(tokens) => tokens.authorization(now).await?,
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            let message = "the token contains characters that a header cannot contain";
            Error::new(ErrorKind::InvalidConfiguration, message)
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// Discards a bearer token that the service refused. Returns whether a fresh token may succeed: a new signature of
    /// the same policy would be refused again.
    pub(crate) async fn discard(&self, refused: &HeaderValue) -> bool {
        match self {
            Self::Policy(_) => false,
            Self::Bearer(tokens) => {
                tokens.discard(refused.as_bytes()).await;
                true
            }
        }
    }
}
