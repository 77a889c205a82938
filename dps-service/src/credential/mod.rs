//! Who the operator is: a shared access policy whose key signs tokens, or a provider of bearer tokens.

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

/// A token with less time left is not used any more if there is a newer one: clocks differ, and a request takes a while.
const RESERVE: Duration = Duration::from_secs(60);

/// What the client shows the service.
#[derive(Debug)]
pub(crate) enum Credential {
    Policy(SharedAccessPolicy),
    Bearer(BearerTokens),
}

impl Credential {
    /// The `Authorization` of a request made now.
    pub(crate) async fn authorization(&self, now: SystemTime) -> Result<HeaderValue, Error> {
        let text = match self {
            Self::Policy(policy) => policy.authorization(now),
            Self::Bearer(tokens) => tokens.authorization(now).await?,
        };
        let mut value = HeaderValue::from_str(&text).map_err(|_| {
            let what = "the token does not fit into a header";
            Error::new(ErrorKind::InvalidConfiguration, what)
        })?;
        value.set_sensitive(true);
        Ok(value)
    }
}
