//! A shared access policy, whose key signs SAS tokens.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dps_types::sas::{SasToken, SasTokenBuilder};
use dps_types::{ServiceConnectionString, SymmetricKey};
use zeroize::Zeroizing;

use super::RESERVE;

/// The lifetime of a token.
const LIFETIME: Duration = Duration::from_secs(60 * 60);

/// A shared access policy, and its current token.
pub(crate) struct SharedAccessPolicy {
    resource: String,
    policy: String,
    key: SymmetricKey,
    token: Mutex<Option<SasToken>>,
}

impl SharedAccessPolicy {
    pub(crate) fn new(connection: &ServiceConnectionString) -> Self {
        Self {
            resource: connection.host_name().to_owned(),
            policy: connection.shared_access_key_name().to_owned(),
            key: connection.shared_access_key().clone(),
            token: Mutex::new(None),
        }
    }

    /// Returns the `Authorization` header of a request that is sent now.
    pub(crate) fn authorization(&self, now: SystemTime) -> Zeroizing<String> {
        self.token(now).reveal()
    }

    /// Returns the current token, or a new one. A token from before the clock was set back would last too long.
    fn token(&self, now: SystemTime) -> SasToken {
        let mut token = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        match &*token {
            Some(token) if token.is_fresh(now, LIFETIME, RESERVE) => token.clone(),
            _ => {
                let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                let builder = SasTokenBuilder::new(&self.resource, (now + LIFETIME).as_secs());
                let signed = builder.policy(&self.policy).sign_with(&self.key);
                token.insert(signed).clone()
            }
        }
    }
}

impl fmt::Debug for SharedAccessPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedAccessPolicy")
            .field("resource", &self.resource)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000;

    fn policy() -> SharedAccessPolicy {
        let text = "HostName=localhost:8443;SharedAccessKeyName=me;SharedAccessKey=c2VjcmV0IHNlY3JldCBzZWNyZXQ=";
        SharedAccessPolicy::new(&text.parse().unwrap())
    }

    fn expiry_at(policy: &SharedAccessPolicy, seconds: u64) -> u64 {
        policy
            .token(UNIX_EPOCH + Duration::from_secs(seconds))
            .expires_at()
            .duration_since(UNIX_EPOCH)
            .expect("after 1970")
            .as_secs()
    }

    #[test]
    fn a_token_lasts_an_hour_and_is_replaced_when_less_than_a_minute_is_left() {
        let policy = policy();
        assert_eq!(expiry_at(&policy, START), START + 3600);
        assert_eq!(expiry_at(&policy, START + 3540), START + 3600);
        assert_eq!(expiry_at(&policy, START + 3541), START + 7141);
    }

    #[test]
    fn a_clock_that_is_set_back_causes_a_new_token() {
        let policy = policy();
        expiry_at(&policy, START);
        assert_eq!(expiry_at(&policy, START - 1), START + 3599);
    }

    #[test]
    fn debug_shows_no_secret() {
        let policy = policy();
        policy.authorization(UNIX_EPOCH);
        assert_eq!(
            format!("{policy:?}"),
            "SharedAccessPolicy { resource: \"localhost:8443\", policy: \"me\", .. }"
        );
    }
}
