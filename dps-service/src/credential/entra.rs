//! Credentials of the Azure SDK for Rust, for Microsoft Entra ID.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::TokenCredential;
use dps_types::protocol::service::ENTRA_SCOPE;

use super::{AccessToken, TokenProvider};

/// A [`TokenProvider`] for a credential of the `azure_identity` crate, or any other [`TokenCredential`].
///
/// The identity requires the role *Device Provisioning Service Data Contributor* or *Data Reader* on the instance.
///
/// ```no_run
/// # fn run(credential: std::sync::Arc<dyn azure_core::credentials::TokenCredential>) -> Result<(), dps_service::Error> {
/// use dps_service::{EntraCredential, ServiceClient};
///
/// let host = "contoso.azure-devices-provisioning.net";
/// let dps = ServiceClient::from_token_provider(host, EntraCredential::new(credential))?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct EntraCredential(Arc<dyn TokenCredential>);

impl EntraCredential {
    /// Gets tokens from this credential.
    pub fn new(credential: Arc<dyn TokenCredential>) -> Self {
        Self(credential)
    }
}

#[async_trait]
impl TokenProvider for EntraCredential {
    async fn token(&self) -> Result<AccessToken, Box<dyn StdError + Send + Sync>> {
        let token = self.0.get_token(&[ENTRA_SCOPE], None).await?;
        Ok(AccessToken::new(
            token.token.secret(),
            token.expires_on.into(),
        ))
    }
}

impl fmt::Debug for EntraCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("EntraCredential").finish_non_exhaustive()
    }
}
