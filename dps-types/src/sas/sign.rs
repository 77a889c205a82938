//! The trait for keys that sign: in memory, in a TPM, or in a PKCS#11 token.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::write_sources;

/// Computes HMAC-SHA256 with a key that may be in memory, in a TPM or in a PKCS#11 token.
#[async_trait]
pub trait Sign: Send + Sync {
    /// Signs the data.
    ///
    /// # Errors
    /// If the device that holds the key refuses or cannot be reached.
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError>;
}

#[async_trait]
impl<S: Sign + ?Sized> Sign for &S {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        (**self).sign(data).await
    }
}

#[async_trait]
impl<S: Sign + ?Sized> Sign for Box<S> {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        (**self).sign(data).await
    }
}

#[async_trait]
impl<S: Sign + ?Sized> Sign for Arc<S> {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        (**self).sign(data).await
    }
}

/// An HMAC-SHA256 value. Debug does not show it.
#[derive(Clone, Copy)]
#[allow(clippy::exhaustive_structs)] // An HMAC-SHA256 is 32 bytes.
pub struct Signature(pub [u8; 32]);

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(..)")
    }
}

/// A key could not sign.
#[derive(Debug)]
pub struct SignError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl SignError {
    /// Creates an error with a message that names what went wrong and what to check.
    pub fn new(message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            source: None,
        }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        write_sources(f, self)
    }
}

impl std::error::Error for SignError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let source = self.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alternate_form_of_an_error_has_its_causes() {
        let error = SignError::new("the token did not sign").with_source("CKR_DEVICE_REMOVED");
        assert_eq!(error.to_string(), "the token did not sign");
        assert_eq!(
            format!("{error:#}"),
            "the token did not sign: CKR_DEVICE_REMOVED"
        );
    }
}
