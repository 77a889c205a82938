//! The device's SAS token, which is replaced by a new one before it expires.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use dps_types::protocol::device;
use dps_types::sas::{SasToken, SasTokenBuilder, Sign};
use zeroize::Zeroizing;

use super::error::TransportError;
use super::target::Target;
use crate::error::signing_kind;

/// The lifetime of a token.
pub(crate) const LIFETIME: Duration = Duration::from_secs(60 * 60);
/// A token with less than this left is replaced.
const RESERVE: Duration = Duration::from_secs(60);

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

    /// Uses the key name that the service chose.
    #[cfg(feature = "http")]
    pub(super) fn with_key_name(self, key_name: String) -> Self {
        Self {
            key_name: Cow::Owned(key_name),
            ..self
        }
    }

    /// The current token, or a new one.
    pub(super) async fn text(&mut self) -> Result<Zeroizing<String>, TransportError> {
        if let Some(token) = self.signed.as_ref().filter(|token| self.is_fresh(token)) {
            return Ok(token.reveal());
        }
        let resource = self.target.resource();
        let now = self.target.clock().now();
        let now = now
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap_or_default();
        let builder = SasTokenBuilder::new(&resource, (now + LIFETIME).as_secs());
        let token = sign(builder.policy(&self.key_name), self.signer).await?;
        Ok(self.signed.insert(token).reveal())
    }

    /// Returns true if the token of this connection must be replaced.
    #[cfg(any(feature = "mqtt", feature = "amqp"))]
    pub(super) fn is_stale(&self) -> bool {
        self.signed
            .as_ref()
            .is_some_and(|token| !self.is_fresh(token))
    }

    fn is_fresh(&self, token: &SasToken) -> bool {
        token.is_fresh(self.target.clock().now(), LIFETIME, RESERVE)
    }
}

/// Signs a token.
pub(crate) async fn sign(
    builder: SasTokenBuilder<'_>,
    signer: &dyn Sign,
) -> Result<SasToken, TransportError> {
    builder.sign(signer).await.map_err(|error| {
        TransportError::new(signing_kind(&error), "the key could not sign").with_source(error)
    })
}
