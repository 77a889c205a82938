//! Error conditions: why a peer rejects a request, detaches a link, or ends a session or a connection (AMQP 2.8.14).

use serde_amqp::Value;

use crate::composite::{Composite, list, optional, symbol, symbol_map};
use crate::error::Error;

const ERROR: u64 = 0x1d;

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

    pub(crate) fn from_value(value: Value) -> Result<Option<Self>, Error> {
        if value == Value::Null {
            return Ok(None);
        }
        let composite = Composite::from_value(value)?;
        if composite.code != ERROR {
            return Err(Error::malformed("an error has another descriptor"));
        }
        let mut fields = composite.fields("an error")?;
        Ok(Some(Self {
            condition: fields.string(0)?.unwrap_or_default(),
            description: fields.string(1)?,
            retry_after: fields
                .map(2)?
                .into_iter()
                .filter(|(key, _)| key.eq_ignore_ascii_case("retry-after"))
                .find_map(|(_, value)| seconds(&value)),
        }))
    }

    pub(crate) fn to_value(&self) -> Value {
        let info = match self.retry_after {
            // Each SDK reads one of the two spellings.
            Some(seconds) => {
                symbol_map(&[("retry-after", int(seconds)), ("Retry-After", int(seconds))])
            }
            None => Value::Null,
        };
        list(
            ERROR,
            vec![
                symbol(&self.condition),
                optional(self.description.clone()),
                info,
            ],
        )
    }
}

/// A number of seconds as AMQP int, which all SDKs read.
pub(crate) fn int(seconds: u32) -> Value {
    Value::Int(i32::try_from(seconds).unwrap_or(i32::MAX))
}

/// Seconds as any integer type or as decimal text.
pub(crate) fn seconds(value: &Value) -> Option<u32> {
    match value {
        Value::Ubyte(number) => Some((*number).into()),
        Value::Ushort(number) => Some((*number).into()),
        Value::Uint(number) => Some(*number),
        Value::Ulong(number) => u32::try_from(*number).ok(),
        Value::Byte(number) => u32::try_from(*number).ok(),
        Value::Short(number) => u32::try_from(*number).ok(),
        Value::Int(number) => u32::try_from(*number).ok(),
        Value::Long(number) => u32::try_from(*number).ok(),
        Value::String(text) => text.parse().ok(),
        Value::Symbol(text) => text.as_str().parse().ok(),
        _ => None,
    }
}

pub(crate) fn optional_condition(condition: Option<&Condition>) -> Value {
    condition.map_or(Value::Null, Condition::to_value)
}
