//! The performatives of a link: attach and detach, with their source and target (AMQP 2.6).

use serde_amqp::Value;
use serde_amqp::primitives::OrderedMap;

use crate::composite::{Composite, list, optional, symbol};
use crate::condition::Condition;
use crate::condition_value;
use crate::error::Error;

pub(crate) const ATTACH: u64 = 0x12;
pub(crate) const DETACH: u64 = 0x16;
const SOURCE: u64 = 0x28;
const TARGET: u64 = 0x29;
const COORDINATOR: u64 = 0x30;

/// The role of a peer on a link (AMQP 2.8.1).
#[expect(clippy::exhaustive_enums, reason = "a link has two ends")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sends messages.
    Sender,
    /// Receives messages.
    Receiver,
}

/// AMQP 2.7.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attach {
    pub(crate) name: String,
    pub(crate) handle: u32,
    pub(crate) role: Role,
    pub(crate) snd_settle_mode: Option<u8>,
    pub(crate) rcv_settle_mode: Option<u8>,
    pub(crate) source: Terminus,
    pub(crate) target: Terminus,
    pub(crate) initial_delivery_count: Option<u32>,
    pub(crate) max_message_size: Option<u64>,
    pub(crate) properties: Vec<(String, String)>,
}

/// The source or the target of a link (AMQP 3.5.3 and 3.5.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Terminus {
    /// Null: a peer that refuses a link answers so, and detaches it afterwards (AMQP 2.6.3).
    #[default]
    None,
    Address(Option<String>),
    /// Of a transaction, which DPS does not have.
    Coordinator,
}

/// AMQP 2.7.7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detach {
    pub(crate) handle: u32,
    pub(crate) closed: bool,
    pub(crate) error: Option<Condition>,
}

impl Attach {
    pub(crate) fn from_composite(composite: Composite) -> Result<Self, Error> {
        let mut fields = composite.fields("attach")?;
        Ok(Self {
            name: fields
                .string(0)?
                .ok_or_else(|| Error::malformed("an attach has no name"))?,
            handle: fields.required_uint(1)?,
            role: role(fields.boolean(2)?),
            snd_settle_mode: settle_mode(fields.uint(3)?),
            rcv_settle_mode: settle_mode(fields.uint(4)?),
            source: Terminus::from_value(fields.value(5))?,
            target: Terminus::from_value(fields.value(6))?,
            initial_delivery_count: fields.uint(9)?,
            max_message_size: fields.ulong(10)?,
            properties: fields
                .map(13)?
                .into_iter()
                .filter_map(|(key, value)| match value {
                    Value::String(text) => Some((key, text)),
                    Value::Symbol(text) => Some((key, text.into_inner())),
                    _ => None,
                })
                .collect(),
        })
    }

    pub(crate) fn to_value(&self) -> Value {
        let properties = if self.properties.is_empty() {
            Value::Null
        } else {
            let mut map = OrderedMap::new();
            for (key, text) in &self.properties {
                map.insert(symbol(key), text.clone().into());
            }
            Value::Map(map)
        };
        list(
            ATTACH,
            vec![
                self.name.clone().into(),
                self.handle.into(),
                (self.role == Role::Receiver).into(),
                optional(self.snd_settle_mode),
                optional(self.rcv_settle_mode),
                self.source.to_value(SOURCE),
                self.target.to_value(TARGET),
                Value::Null,
                Value::Null,
                optional(self.initial_delivery_count),
                optional(self.max_message_size),
                Value::Null,
                Value::Null,
                properties,
            ],
        )
    }
}

pub(crate) fn role(receiver: Option<bool>) -> Role {
    match receiver {
        Some(true) => Role::Receiver,
        _ => Role::Sender,
    }
}

fn settle_mode(mode: Option<u32>) -> Option<u8> {
    mode.and_then(|mode| u8::try_from(mode).ok())
}

impl Terminus {
    pub(crate) fn at(address: &str) -> Self {
        Self::Address(Some(address.to_owned()))
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, Error> {
        if value == Value::Null {
            return Ok(Self::None);
        }
        let composite = Composite::from_value(value)?;
        match composite.code {
            SOURCE | TARGET => {
                let mut fields = composite.fields("a source or target")?;
                Ok(Self::Address(fields.string(0)?))
            }
            COORDINATOR => Ok(Self::Coordinator),
            _ => Err(Error::malformed("a terminus is not a source or a target")),
        }
    }

    pub(crate) fn to_value(&self, code: u64) -> Value {
        match self {
            Self::Address(address) => list(code, vec![optional(address.clone())]),
            Self::None | Self::Coordinator => Value::Null,
        }
    }
}

impl Detach {
    pub(crate) fn from_composite(composite: Composite) -> Result<Self, Error> {
        let mut fields = composite.fields("detach")?;
        Ok(Self {
            handle: fields.required_uint(0)?,
            closed: fields.boolean(1)?.unwrap_or_default(),
            error: condition_value::read(fields.value(2))?,
        })
    }

    pub(crate) fn to_value(&self) -> Value {
        list(
            DETACH,
            vec![
                self.handle.into(),
                self.closed.into(),
                condition_value::write(self.error.as_ref()),
            ],
        )
    }
}
