//! Error conditions: the reason of a rejected request, a detached link, or an ended session or connection (AMQP 2.8.14).

/// An error that a peer reports (AMQP 2.8.14).
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The symbol that names the condition, such as `amqp:unauthorized-access`.
    pub condition: String,
    /// Text about it. DPS puts the JSON body of its error here.
    pub description: Option<String>,
    /// The wait in seconds that `info` holds under `retry-after` or `Retry-After`.
    pub retry_after: Option<u32>,
}

impl Condition {
    /// A condition without a description.
    pub fn new(condition: impl Into<String>) -> Self {
        Self {
            condition: condition.into(),
            description: None,
            retry_after: None,
        }
    }

    /// Adds a description.
    #[must_use]
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// Adds the wait before the next attempt, in seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }
}
