//! Performatives: the operations of frames (AMQP 2.7). Each has the fields that this crate uses; others are skipped and never sent.

use serde_amqp::Value;

use crate::composite::{Composite, list, optional};
use crate::condition::Condition;
use crate::condition_value;
use crate::error::Error;
use crate::link::{ATTACH, Attach, DETACH, Detach};
use crate::transfer::{DISPOSITION, Disposition, TRANSFER, Transfer};
use crate::value;

const OPEN: u64 = 0x10;
const BEGIN: u64 = 0x11;
const FLOW: u64 = 0x13;
const END: u64 = 0x17;
const CLOSE: u64 = 0x18;

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

impl Performative {
    /// Decodes the performative at the start of a frame's body, and returns it with the bytes after it.
    pub(crate) fn decode(body: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (composite, rest) = Composite::decode(body)?;
        let performative = match composite.code {
            OPEN => Self::Open(Open::from_composite(composite)?),
            BEGIN => Self::Begin(Begin::from_composite(composite)?),
            ATTACH => Self::Attach(Attach::from_composite(composite)?),
            FLOW => Self::Flow(Flow::from_composite(composite)?),
            TRANSFER => Self::Transfer(Transfer::from_composite(composite)?),
            DISPOSITION => Self::Disposition(Disposition::from_composite(composite)?),
            DETACH => Self::Detach(Detach::from_composite(composite)?),
            END => Self::End(condition_value::read(composite.fields("end")?.value(0))?),
            CLOSE => Self::Close(condition_value::read(composite.fields("close")?.value(0))?),
            code => {
                return Err(Error::malformed(format!(
                    "{code:#x} does not describe a performative"
                )));
            }
        };
        Ok((performative, rest))
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
            Self::End(error) => list(END, vec![condition_value::write(error.as_ref())]),
            Self::Close(error) => list(CLOSE, vec![condition_value::write(error.as_ref())]),
        };
        value::encode(&value)
    }
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
