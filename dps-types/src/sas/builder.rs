//! Builds and signs a SAS token.

use super::{SasToken, Sign, SignError, Signature, string_to_sign};
use crate::SymmetricKey;
use crate::protocol::encode;

/// A SAS token that is not signed yet.
///
/// ```
/// use dps_types::SymmetricKey;
/// use dps_types::sas::SasTokenBuilder;
///
/// let key = SymmetricKey::generate();
/// let token = SasTokenBuilder::new("0ne00123ABC/registrations/toaster-1", 1_800_000_000)
///     .policy("registration")
///     .sign_with(&key);
/// assert!(token.verify(&key));
/// ```
#[derive(Debug, Clone)]
pub struct SasTokenBuilder<'a> {
    resource: &'a str,
    expiry: u64,
    policy: Option<&'a str>,
}

impl<'a> SasTokenBuilder<'a> {
    /// Starts a token for the resource (not encoded) that expires at `expiry`, in seconds since 1970.
    pub fn new(resource: &'a str, expiry: u64) -> Self {
        Self {
            resource,
            expiry,
            policy: None,
        }
    }

    /// Names the shared access policy whose key signs: the token's `skn`.
    #[must_use]
    pub fn policy(mut self, name: &'a str) -> Self {
        self.policy = Some(name);
        self
    }

    /// Signs with a key in memory or in hardware.
    ///
    /// # Errors
    /// If the signer fails.
    pub async fn sign(self, signer: &dyn Sign) -> Result<SasToken, SignError> {
        let signature = signer.sign(self.string_to_sign().as_bytes()).await?;
        Ok(self.signed(signature))
    }

    /// Signs with a key in memory.
    pub fn sign_with(self, key: &SymmetricKey) -> SasToken {
        let signature = Signature(key.hmac_sha256(self.string_to_sign().as_bytes()));
        self.signed(signature)
    }

    fn string_to_sign(&self) -> String {
        string_to_sign(&encode(self.resource), &self.expiry.to_string())
    }

    fn signed(self, signature: Signature) -> SasToken {
        SasToken {
            sr: encode(self.resource),
            resource: self.resource.to_owned(),
            signature,
            se: self.expiry.to_string(),
            expires_at: super::fields::moment(self.expiry as f64),
            policy: self.policy.map(str::to_owned),
        }
    }
}
