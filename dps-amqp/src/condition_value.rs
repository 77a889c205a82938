//! Reads and writes a [`Condition`] as the AMQP value `error` (AMQP 2.8.14).

use serde_amqp::Value;

use crate::composite::{Composite, list, optional, symbol, symbol_map};
use crate::condition::Condition;
use crate::error::Error;

const ERROR: u64 = 0x1d;

/// Reads a condition, or null as `None`.
pub(crate) fn read(value: Value) -> Result<Option<Condition>, Error> {
    if value == Value::Null {
        return Ok(None);
    }
    let composite = Composite::from_value(value)?;
    if composite.code != ERROR {
        return Err(Error::malformed("an error has another descriptor"));
    }
    let mut fields = composite.fields("an error")?;
    Ok(Some(Condition {
        condition: fields.string(0)?.unwrap_or_default(),
        description: fields.string(1)?,
        retry_after: fields
            .map(2)?
            .into_iter()
            .filter(|(key, _)| key.eq_ignore_ascii_case("retry-after"))
            .find_map(|(_, value)| seconds(&value)),
    }))
}

/// Writes a condition, or null.
pub(crate) fn write(condition: Option<&Condition>) -> Value {
    let Some(condition) = condition else {
        return Value::Null;
    };
    let info = match condition.retry_after {
        // Each SDK reads one of the two spellings.
        Some(seconds) => {
            symbol_map(&[("retry-after", int(seconds)), ("Retry-After", int(seconds))])
        }
        None => Value::Null,
    };
    list(
        ERROR,
        vec![
            symbol(&condition.condition),
            optional(condition.description.clone()),
            info,
        ],
    )
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
