//! The performatives of a delivery: transfer and disposition, with the outcome (AMQP 2.6.12 and 3.4).

use serde_amqp::Value;

use crate::composite::{Composite, described, list, optional};
use crate::condition::Condition;
use crate::condition_value;
use crate::error::Error;
use crate::link::{Role, role};

pub(crate) const TRANSFER: u64 = 0x14;
pub(crate) const DISPOSITION: u64 = 0x15;
const ACCEPTED: u64 = 0x24;
const REJECTED: u64 = 0x25;
const RELEASED: u64 = 0x26;

/// AMQP 2.7.5. The payload is kept outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) handle: u32,
    pub(crate) delivery_id: Option<u32>,
    pub(crate) delivery_tag: Option<Vec<u8>>,
    pub(crate) settled: Option<bool>,
    pub(crate) more: bool,
    pub(crate) aborted: bool,
}

/// AMQP 2.7.6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Disposition {
    pub(crate) role: Role,
    pub(crate) first: u32,
    pub(crate) last: Option<u32>,
    pub(crate) settled: bool,
    pub(crate) state: Option<Outcome>,
}

/// The state of a delivery (AMQP 3.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Accepted,
    Rejected(Option<Condition>),
    /// Received, released or modified: the delivery was not processed.
    Other,
}

impl Transfer {
    pub(crate) fn from_composite(composite: Composite) -> Result<Self, Error> {
        let mut fields = composite.fields("transfer")?;
        Ok(Self {
            handle: fields.required_uint(0)?,
            delivery_id: fields.uint(1)?,
            delivery_tag: fields.binary(2)?,
            settled: fields.boolean(4)?,
            more: fields.boolean(5)?.unwrap_or_default(),
            aborted: fields.boolean(9)?.unwrap_or_default(),
        })
    }

    pub(crate) fn to_value(&self) -> Value {
        list(
            TRANSFER,
            vec![
                self.handle.into(),
                optional(self.delivery_id),
                self.delivery_tag
                    .clone()
                    .map_or(Value::Null, |tag| Value::Binary(tag.into())),
                // The message format of AMQP itself (AMQP 2.8.11).
                optional(self.delivery_id.map(|_| 0u32)),
                optional(self.settled),
                optional(self.more.then_some(true)),
                Value::Null,
                Value::Null,
                Value::Null,
                optional(self.aborted.then_some(true)),
            ],
        )
    }
}

impl Disposition {
    pub(crate) fn from_composite(composite: Composite) -> Result<Self, Error> {
        let mut fields = composite.fields("disposition")?;
        Ok(Self {
            role: role(fields.boolean(0)?),
            first: fields.required_uint(1)?,
            last: fields.uint(2)?,
            settled: fields.boolean(3)?.unwrap_or_default(),
            state: Outcome::from_value(fields.value(4))?,
        })
    }

    pub(crate) fn to_value(&self) -> Value {
        list(
            DISPOSITION,
            vec![
                (self.role == Role::Receiver).into(),
                self.first.into(),
                optional(self.last),
                self.settled.into(),
                self.state.as_ref().map_or(Value::Null, Outcome::to_value),
            ],
        )
    }
}

impl Outcome {
    pub(crate) fn from_value(value: Value) -> Result<Option<Self>, Error> {
        if value == Value::Null {
            return Ok(None);
        }
        let composite = Composite::from_value(value)?;
        Ok(Some(match composite.code {
            ACCEPTED => Self::Accepted,
            REJECTED => Self::Rejected(condition_value::read(
                composite.fields("rejected")?.value(0),
            )?),
            _ => Self::Other,
        }))
    }

    pub(crate) fn to_value(&self) -> Value {
        match self {
            Self::Accepted => list(ACCEPTED, Vec::new()),
            Self::Rejected(error) => list(REJECTED, vec![condition_value::write(error.as_ref())]),
            Self::Other => described(RELEASED, Value::List(Vec::new())),
        }
    }
}
