//! Who the operator is: a shared access policy, and the tokens that its key signs.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dps_types::sas::{Claim, SasToken};
use dps_types::{ServiceConnectionString, SymmetricKey};
use reqwest::header::HeaderValue;

use crate::error::{Error, ErrorKind};

/// How long a token is good for.
const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// A token with less time left is not used any more: clocks differ, and a request takes a while.
const RESERVE: Duration = Duration::from_secs(60);

/// A shared access policy, and the token in use.
pub(crate) struct Credential {
    resource: String,
    policy: String,
    key: SymmetricKey,
    token: Mutex<Option<SasToken>>,
}

impl Credential {
    pub(crate) fn new(connection: &ServiceConnectionString) -> Self {
        Self {
            resource: connection.host_name().to_owned(),
            policy: connection.shared_access_key_name().to_owned(),
            key: connection.shared_access_key().clone(),
            token: Mutex::new(None),
        }
    }

    /// The `Authorization` of a request made now.
    pub(crate) fn authorization(&self, now: SystemTime) -> Result<HeaderValue, Error> {
        let token = self.token(now).to_text();
        let mut value = HeaderValue::from_str(&token).map_err(|_| {
            Error::new(
                ErrorKind::InvalidConfiguration,
                "the token does not fit into a header",
            )
        })?;
        value.set_sensitive(true);
        Ok(value)
    }

    /// The token in use, or a new one. A token from before the clock was set back would be good for too long.
    fn token(&self, now: SystemTime) -> SasToken {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        let good = (now + RESERVE).as_secs()..=(now + LIFETIME).as_secs();
        match &*token {
            Some(token) if good.contains(&token.expiry()) => token.clone(),
            _ => {
                let claim = Claim::new(&self.resource, (now + LIFETIME).as_secs());
                let minted = claim.policy(&self.policy).sign_with(&self.key);
                token.insert(minted).clone()
            }
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("resource", &self.resource)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000;

    fn credential() -> Credential {
        let text = "HostName=localhost:8443;SharedAccessKeyName=me;SharedAccessKey=c2VjcmV0IHNlY3JldCBzZWNyZXQ=";
        Credential::new(&text.parse().unwrap())
    }

    fn expiry_at(credential: &Credential, seconds: u64) -> u64 {
        credential
            .token(UNIX_EPOCH + Duration::from_secs(seconds))
            .expiry()
    }

    #[test]
    fn a_token_lasts_an_hour_and_is_minted_anew_when_less_than_a_minute_is_left() {
        let credential = credential();
        assert_eq!(expiry_at(&credential, START), START + 3600);
        assert_eq!(expiry_at(&credential, START + 3540), START + 3600);
        assert_eq!(expiry_at(&credential, START + 3541), START + 7141);
    }

    #[test]
    fn a_clock_set_back_gets_a_new_token() {
        let credential = credential();
        expiry_at(&credential, START);
        assert_eq!(expiry_at(&credential, START - 1), START + 3599);
    }

    #[test]
    fn neither_debug_shows_a_secret() {
        let credential = credential();
        let header = credential.authorization(UNIX_EPOCH).unwrap();
        assert_eq!(
            format!("{credential:?} {header:?}"),
            "Credential { resource: \"localhost:8443\", policy: \"me\", .. } Sensitive"
        );
    }
}
