//! A device's SAS token that is signed anew before it expires.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use dps_types::protocol::device;
use dps_types::sas::{SasToken, SasTokenBuilder, Sign};
use zeroize::Zeroizing;

use super::{Target, TransportError};
use crate::error::ErrorKind;

/// How long a token lives.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// A token that lives shorter than this is not sent any more.
const REMAINDER: Duration = Duration::from_secs(60);

pub(super) struct Token<'a> {
    signer: &'a dyn Sign,
    key_name: Cow<'static, str>,
    target: &'a Target,
    signed: Option<SasToken>,
}

impl<'a> Token<'a> {
    pub(super) fn new(signer: &'a dyn Sign, target: &'a Target) -> Self {
        Self {
            signer,
            key_name: Cow::Borrowed(device::SAS_POLICY),
            target,
            signed: None,
        }
    }

    /// By the name that the service gave the key.
    #[cfg(feature = "http")]
    pub(super) fn named(self, key_name: String) -> Self {
        Self {
            key_name: Cow::Owned(key_name),
            ..self
        }
    }

    /// The token: the one we have, or a new one.
    pub(super) async fn text(&mut self) -> Result<Zeroizing<String>, TransportError> {
        if let Some(token) = self.signed.as_ref().filter(|token| self.lasts(token)) {
            return Ok(token.reveal());
        }
        let resource = self.target.resource();
        let claim = SasTokenBuilder::new(&resource, (self.now() + LIFETIME).as_secs());
        let token = sign(claim.policy(&self.key_name), self.signer).await?;
        Ok(self.signed.insert(token).reveal())
    }

    /// Whether the token that was sent should not be relied on any more.
    #[cfg(feature = "mqtt")]
    pub(super) fn is_stale(&self) -> bool {
        self.signed.as_ref().is_some_and(|token| !self.lasts(token))
    }

    /// A token from before the clock was set back would be good for too long: to the service it is from the future.
    fn lasts(&self, token: &SasToken) -> bool {
        token.is_fresh(self.target.clock().now(), LIFETIME, REMAINDER)
    }

    fn now(&self) -> Duration {
        let now = self.target.clock().now();
        now.duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default()
    }
}

/// Signs what is claimed.
pub(crate) async fn sign(
    claim: SasTokenBuilder<'_>,
    signer: &dyn Sign,
) -> Result<SasToken, TransportError> {
    claim.sign(signer).await.map_err(|error| {
        TransportError::new(ErrorKind::Signing, "the key could not sign").with_source(error)
    })
}
