//! Performatives: what a frame does (AMQP 2.7). Each has the fields that this crate uses; others are skipped and never sent.

use serde_amqp::Value;
use serde_amqp::primitives::OrderedMap;

use crate::composite::{Composite, described, list, optional, symbol, symbol_map};
use crate::error::Error;
use crate::value;

const OPEN: u64 = 0x10;
const BEGIN: u64 = 0x11;
const ATTACH: u64 = 0x12;
const FLOW: u64 = 0x13;
const TRANSFER: u64 = 0x14;
const DISPOSITION: u64 = 0x15;
const DETACH: u64 = 0x16;
const END: u64 = 0x17;
const CLOSE: u64 = 0x18;
const ERROR: u64 = 0x1d;
const ACCEPTED: u64 = 0x24;
const REJECTED: u64 = 0x25;
const SOURCE: u64 = 0x28;
const TARGET: u64 = 0x29;
const COORDINATOR: u64 = 0x30;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Performative {
    Open(Open),
    Begin(Begin),
    Attach(Attach),
    Flow(Flow),
    Transfer(Transfer),
    Disposition(Disposition),
    Detach(Detach),
    End(Option<Condition>),
    Close(Option<Condition>),
}

/// AMQP 2.7.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Open {
    pub(crate) container_id: String,
    pub(crate) hostname: Option<String>,
    pub(crate) max_frame_size: Option<u32>,
    pub(crate) channel_max: Option<u16>,
    /// In milliseconds.
    pub(crate) idle_time_out: Option<u32>,
}

/// AMQP 2.7.2.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Begin {
    pub(crate) remote_channel: Option<u16>,
    pub(crate) next_outgoing_id: u32,
    pub(crate) incoming_window: u32,
    pub(crate) outgoing_window: u32,
    pub(crate) handle_max: Option<u32>,
}

/// Which end of a link a peer is (AMQP 2.8.1).
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

/// AMQP 2.7.4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Flow {
    pub(crate) next_incoming_id: Option<u32>,
    pub(crate) incoming_window: u32,
    pub(crate) next_outgoing_id: u32,
    pub(crate) outgoing_window: u32,
    pub(crate) handle: Option<u32>,
    pub(crate) delivery_count: Option<u32>,
    pub(crate) link_credit: Option<u32>,
    pub(crate) drain: bool,
    pub(crate) echo: bool,
}

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

/// AMQP 2.7.7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detach {
    pub(crate) handle: u32,
    pub(crate) closed: bool,
    pub(crate) error: Option<Condition>,
}

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

    fn from_value(value: Value) -> Result<Option<Self>, Error> {
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

    fn to_value(&self) -> Value {
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

impl Performative {
    /// Decodes the performative at the start of a frame's body, and returns it with the number of its bytes.
    pub(crate) fn decode(body: &[u8]) -> Result<(Self, usize), Error> {
        let (composite, length) = Composite::decode(body)?;
        let performative = match composite.code {
            OPEN => Self::Open(Open::from_composite(composite)?),
            BEGIN => Self::Begin(Begin::from_composite(composite)?),
            ATTACH => Self::Attach(Attach::from_composite(composite)?),
            FLOW => Self::Flow(Flow::from_composite(composite)?),
            TRANSFER => Self::Transfer(Transfer::from_composite(composite)?),
            DISPOSITION => Self::Disposition(Disposition::from_composite(composite)?),
            DETACH => Self::Detach(Detach::from_composite(composite)?),
            END => Self::End(Condition::from_value(composite.fields("end")?.value(0))?),
            CLOSE => Self::Close(Condition::from_value(composite.fields("close")?.value(0))?),
            code => {
                return Err(Error::malformed(format!(
                    "{code:#x} does not describe a performative"
                )));
            }
        };
        Ok((performative, length))
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let value = match self {
            Self::Open(open) => open.to_value(),
            Self::Begin(begin) => begin.to_value(),
            Self::Attach(attach) => attach.to_value(),
            Self::Flow(flow) => flow.to_value(),
            Self::Transfer(transfer) => transfer.to_value(),
            Self::Disposition(disposition) => disposition.to_value(),
            Self::Detach(detach) => detach.to_value(),
            Self::End(error) => list(END, vec![optional_condition(error.as_ref())]),
            Self::Close(error) => list(CLOSE, vec![optional_condition(error.as_ref())]),
        };
        value::encode(&value)
    }
}

fn optional_condition(condition: Option<&Condition>) -> Value {
    condition.map_or(Value::Null, Condition::to_value)
}

impl Open {
    fn from_composite(composite: Composite) -> Result<Self, Error> {
        let mut fields = composite.fields("open")?;
        Ok(Self {
            container_id: fields.string(0)?.unwrap_or_default(),
            hostname: fields.string(1)?,
            max_frame_size: fields.uint(2)?,
            channel_max: fields.ushort(3)?,
            idle_time_out: fields.uint(4)?,
        })
    }

    fn to_value(&self) -> Value {
        list(
            OPEN,
            vec![
                self.container_id.clone().into(),
                optional(self.hostname.clone()),
                optional(self.max_frame_size),
                optional(self.channel_max),
                optional(self.idle_time_out),
            ],
        )
    }
}

impl Begin {
    fn from_composite(composite: Composite) -> Result<Self, Error> {
        let mut fields = composite.fields("begin")?;
        Ok(Self {
            remote_channel: fields.ushort(0)?,
            next_outgoing_id: fields.required_uint(1)?,
            incoming_window: fields.required_uint(2)?,
            outgoing_window: fields.required_uint(3)?,
            handle_max: fields.uint(4)?,
        })
    }

    fn to_value(&self) -> Value {
        list(
            BEGIN,
            vec![
                optional(self.remote_channel),
                self.next_outgoing_id.into(),
                self.incoming_window.into(),
                self.outgoing_window.into(),
                optional(self.handle_max),
            ],
        )
    }
}

impl Attach {
    fn from_composite(composite: Composite) -> Result<Self, Error> {
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

    fn to_value(&self) -> Value {
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

fn role(receiver: Option<bool>) -> Role {
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

    fn from_value(value: Value) -> Result<Self, Error> {
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

    fn to_value(&self, code: u64) -> Value {
        match self {
            Self::Address(address) => list(code, vec![optional(address.clone())]),
            Self::None | Self::Coordinator => Value::Null,
        }
    }
}

impl Flow {
    fn from_composite(composite: Composite) -> Result<Self, Error> {
        let mut fields = composite.fields("flow")?;
        Ok(Self {
            next_incoming_id: fields.uint(0)?,
            incoming_window: fields.required_uint(1)?,
            next_outgoing_id: fields.required_uint(2)?,
            outgoing_window: fields.required_uint(3)?,
            handle: fields.uint(4)?,
            delivery_count: fields.uint(5)?,
            link_credit: fields.uint(6)?,
            drain: fields.boolean(8)?.unwrap_or_default(),
            echo: fields.boolean(9)?.unwrap_or_default(),
        })
    }

    fn to_value(&self) -> Value {
        list(
            FLOW,
            vec![
                optional(self.next_incoming_id),
                self.incoming_window.into(),
                self.next_outgoing_id.into(),
                self.outgoing_window.into(),
                optional(self.handle),
                optional(self.delivery_count),
                optional(self.link_credit),
                Value::Null,
                optional(self.drain.then_some(true)),
                optional(self.echo.then_some(true)),
            ],
        )
    }
}

impl Transfer {
    fn from_composite(composite: Composite) -> Result<Self, Error> {
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

    fn to_value(&self) -> Value {
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
    fn from_composite(composite: Composite) -> Result<Self, Error> {
        let mut fields = composite.fields("disposition")?;
        Ok(Self {
            role: role(fields.boolean(0)?),
            first: fields.required_uint(1)?,
            last: fields.uint(2)?,
            settled: fields.boolean(3)?.unwrap_or_default(),
            state: Outcome::from_value(fields.value(4))?,
        })
    }

    fn to_value(&self) -> Value {
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
    fn from_value(value: Value) -> Result<Option<Self>, Error> {
        if value == Value::Null {
            return Ok(None);
        }
        let composite = Composite::from_value(value)?;
        Ok(Some(match composite.code {
            ACCEPTED => Self::Accepted,
            REJECTED => Self::Rejected(Condition::from_value(
                composite.fields("rejected")?.value(0),
            )?),
            _ => Self::Other,
        }))
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Accepted => list(ACCEPTED, Vec::new()),
            Self::Rejected(error) => list(REJECTED, vec![optional_condition(error.as_ref())]),
            Self::Other => described(0x26, Value::List(Vec::new())),
        }
    }
}

impl Detach {
    fn from_composite(composite: Composite) -> Result<Self, Error> {
        let mut fields = composite.fields("detach")?;
        Ok(Self {
            handle: fields.required_uint(0)?,
            closed: fields.boolean(1)?.unwrap_or_default(),
            error: Condition::from_value(fields.value(2))?,
        })
    }

    fn to_value(&self) -> Value {
        list(
            DETACH,
            vec![
                self.handle.into(),
                self.closed.into(),
                optional_condition(self.error.as_ref()),
            ],
        )
    }
}

impl From<&Performative> for &'static str {
    fn from(performative: &Performative) -> Self {
        match performative {
            Performative::Open(_) => "open",
            Performative::Begin(_) => "begin",
            Performative::Attach(_) => "attach",
            Performative::Flow(_) => "flow",
            Performative::Transfer(_) => "transfer",
            Performative::Disposition(_) => "disposition",
            Performative::Detach(_) => "detach",
            Performative::End(_) => "end",
            Performative::Close(_) => "close",
        }
    }
}
