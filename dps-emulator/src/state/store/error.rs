//! The error of a store.

use std::borrow::Cow;
use std::error::Error;
use std::fmt;

use dps_types::ErrorCode;

use crate::service_error::ServiceError;

/// Error from opening, reading or writing a database. The message names the operation that failed; the source is the cause,
/// which `{:#}` prints as well.
#[derive(Debug, thiserror::Error)]
pub struct StoreError {
    pub(super) message: Cow<'static, str>,
    pub(super) kind: StoreErrorKind,
    pub(super) source: Option<Box<dyn Error + Send + Sync>>,
}

/// The kind of a [`StoreError`].
#[non_exhaustive]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum StoreErrorKind {
    /// The options are not valid.
    Configuration,
    /// The database refuses the user, does not exist, or does not offer the TLS that is required.
    Denied,
    /// A newer release has written the data.
    Incompatible,
    /// The database cannot be reached, or has not answered in time. A later call can succeed.
    Unavailable,
    /// Any other failure.
    #[default]
    Other,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        dps_types::write_sources(f, self)
    }
}

impl From<StoreError> for ServiceError {
    /// 500001: not the client's fault.
    fn from(error: StoreError) -> Self {
        tracing::error!(error = &error as &dyn Error, "the store failed");
        Self::new(
            ErrorCode::SERVER_ERROR,
            "The store failed. The cause is in the emulator's log.",
        )
    }
}

impl StoreError {
    /// An error without a cause. The message must not contain a stored value.
    pub fn new(message: impl Into<Cow<'static, str>>) -> Self {
        Self {
            message: message.into(),
            kind: StoreErrorKind::default(),
            source: None,
        }
    }

    /// An error with its cause. The message must not repeat the cause.
    pub fn with_source(
        message: impl Into<Cow<'static, str>>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self {
            message: message.into(),
            kind: StoreErrorKind::default(),
            source: Some(source.into()),
        }
    }

    /// Sets the kind, [`StoreErrorKind::Other`] by default.
    #[must_use]
    pub fn with_kind(mut self, kind: StoreErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// The kind, for a program that reacts to it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}
