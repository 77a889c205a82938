//! The password for a hub: a SAS token, its expiry, and the time of its replacement.

use std::fmt;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use dps_types::protocol::hub::{module_resource, resource};
use dps_types::sas::{SasToken, SasTokenBuilder, Sign, SignError, Signature};
use tokio::time::Instant;
use zeroize::Zeroizing;

use super::endpoint::HubEndpoint;
use crate::attestation::{Proof, TpmKeys};
use crate::error::Error;
use crate::poll::after;
use crate::transport::{TransportError, sign};

/// A password for a hub, which expires. Debug does not show it.
#[derive(Clone)]
pub struct HubPassword {
    text: Zeroizing<String>,
    expires_at: SystemTime,
}

impl HubPassword {
    /// The password itself, which is a secret.
    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The time at which the password expires, by the client's [`Clock`](crate::Clock). The hub closes the connection then.
    pub fn expires_at(&self) -> SystemTime {
        self.expires_at
    }
}

impl fmt::Debug for HubPassword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubPassword")
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A token, and the time at which a connection that uses it should be replaced.
pub(super) struct TimedToken {
    pub(super) token: SasToken,
    pub(super) renew_at: Instant,
    /// The latest time for the replacement, half of the reserve later.
    pub(super) renew_by: Instant,
}

impl HubEndpoint {
    /// Signs a new password, which is a SAS token. `None` for a device that authenticates with a certificate.
    ///
    /// # Errors
    /// [`ErrorKind::Signing`](crate::ErrorKind::Signing) if the key cannot sign.
    pub async fn password(&self) -> Result<Option<HubPassword>, Error> {
        let signed = self.token().await?;
        Ok(signed.map(|TimedToken { token, .. }| HubPassword {
            text: token.reveal(),
            expires_at: token.expires_at(),
        }))
    }

    pub(super) async fn token(&self) -> Result<Option<TimedToken>, TransportError> {
        let resource = match &self.module_id {
            Some(module_id) => module_resource(&self.hub, &self.device_id, module_id),
            None => resource(&self.hub, &self.device_id),
        };
        let expiry = expiry(self.endpoint.clock.now(), self.token_lifetime);
        // Counted from before the signature: a TPM needs up to a second for it.
        let reserve = reserve(self.token_lifetime);
        let renew_at = after(self.token_lifetime - reserve);
        let renew_by = renew_at + reserve / 2;
        let token = SasTokenBuilder::new(&resource, expiry);
        let token = match self.proof() {
            Proof::Certificate(_) => return Ok(None),
            Proof::SharedKey(signer) => sign(token, signer).await?,
            Proof::Tpm(tpm) => sign(token, &HubKey(tpm)).await?,
        };
        Ok(Some(TimedToken {
            token,
            renew_at,
            renew_by,
        }))
    }
}

/// The end of a token in seconds since 1970, rounded up: rounding down would take most of a short lifetime.
fn expiry(now: SystemTime, lifetime: Duration) -> u64 {
    let since_1970 = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let end = since_1970.saturating_add(lifetime);
    end.as_secs()
        .saturating_add(u64::from(end.subsec_nanos() > 0))
}

/// The time before its expiry at which a token is replaced. A reconnect needs time, so a tenth is not enough of a short lifetime.
fn reserve(lifetime: Duration) -> Duration {
    let least = (lifetime / 2).min(Duration::from_secs(1));
    (lifetime / 10).max(least)
}

/// Signs with the hub key of a TPM, also while a challenge from DPS is open.
struct HubKey<'a>(&'a dyn TpmKeys);

#[async_trait]
impl Sign for HubKey<'_> {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        self.0.sign_for_hub(data).await
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_reserve_is_a_tenth_of_a_long_lifetime_and_up_to_half_of_a_short_one() {
        for (lifetime, expected) in [
            (1_000, 500),
            (1_500, 750),
            (2_000, 1_000),
            (9_000, 1_000),
            (20_000, 2_000),
            (3_600_000, 360_000),
        ] {
            let reserve = reserve(Duration::from_millis(lifetime));
            assert_eq!(reserve, Duration::from_millis(expected), "{lifetime}");
        }
    }

    #[test]
    fn a_clock_before_1970_counts_as_1970() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(expiry(before, Duration::from_secs(60)), 60);
    }

    proptest! {
        #[test]
        fn a_token_is_valid_for_its_whole_lifetime_and_less_than_a_second_longer(
            now_ms in 0..4_000_000_000_000_u64,
            lifetime_ms in 1_000..40_000_000_u64,
        ) {
            let now = Duration::from_millis(now_ms);
            let lifetime = Duration::from_millis(lifetime_ms);
            let end = Duration::from_secs(expiry(SystemTime::UNIX_EPOCH + now, lifetime));
            prop_assert!(end >= now + lifetime);
            prop_assert!(end < now + lifetime + Duration::from_secs(1));
            prop_assert!(reserve(lifetime) >= Duration::from_millis(500));
            prop_assert!(reserve(lifetime) <= lifetime / 2);
        }
    }
}
