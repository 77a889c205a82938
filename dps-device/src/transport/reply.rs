//! The reply of the service as it arrives: a status, a wait and a body. `answer.rs` interprets it.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A reply of the service.
#[derive(Clone)]
#[non_exhaustive]
pub struct Reply {
    /// The HTTP status. MQTT and other transports carry the same numbers.
    pub status: u16,
    /// The wait that the service asks for before the next request.
    pub retry_after: Option<Duration>,
    /// The service's time (the `Date` header), when the transport carries it. A refusal is explained with it when the
    /// device's clock is wrong.
    pub date: Option<SystemTime>,
    /// The body, which is JSON in all replies of DPS.
    pub body: Vec<u8>,
}

impl Reply {
    /// A reply that asks for no wait.
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            retry_after: None,
            date: None,
            body: body.into(),
        }
    }

    /// Asks for a wait.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds the service's time.
    #[must_use]
    pub fn with_date(mut self, date: SystemTime) -> Self {
        self.date = Some(date);
        self
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body may hold a secret that the webhook sends to the device.
        f.debug_struct("Reply")
            .field("status", &self.status)
            .field("retry_after", &self.retry_after)
            .field("date", &self.date)
            .field("body_bytes", &self.body.len())
            .finish()
    }
}
