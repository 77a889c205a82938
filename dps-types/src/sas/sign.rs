//! The trait for keys that sign, wherever they are: in memory, in a TPM, in a PKCS#11 token.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

/// Computes HMAC-SHA256 with a key that may be in memory, in a TPM or in a PKCS#11 token.
#[async_trait]
pub trait Sign: Send + Sync {
    /// Signs the data.
    ///
    /// # Errors
    /// When the device that holds the key refuses or cannot be reached.
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

/// A key could not sign. `{:#}` prints the message and all its sources.
#[derive(Debug, thiserror::Error)]
pub struct SignError {
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for SignError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        crate::write_sources(f, self)
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alternate_form_prints_the_sources() {
        let cause =
            SignError::new("no session").with_source(std::io::Error::other("the bus is busy"));
        let error = SignError::new("the TPM refused").with_source(cause);
        assert_eq!(error.to_string(), "the TPM refused");
        assert_eq!(
            format!("{error:#}"),
            "the TPM refused: no session: the bus is busy"
        );
    }
}
