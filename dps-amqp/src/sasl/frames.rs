//! The bodies of SASL frames (AMQP 5.3.3).

use serde_amqp::Value;
use serde_amqp::primitives::Array;
use zeroize::Zeroizing;

use crate::composite::{Composite, list, optional, symbol};
use crate::error::Error;
use crate::frame::{Frame, FrameType};
use crate::value;

/// The content of a SASL frame. Bytes may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SaslFrame {
    Mechanisms(Vec<String>),
    Init {
        mechanism: String,
        response: Zeroizing<Vec<u8>>,
        hostname: Option<String>,
    },
    Challenge(Zeroizing<Vec<u8>>),
    Response(Zeroizing<Vec<u8>>),
    Outcome(u8),
}

impl SaslFrame {
    pub(crate) fn decode(frame: &Frame) -> Result<Self, Error> {
        if frame.kind != FrameType::Sasl {
            return Err(Error::not_allowed(
                "an AMQP frame arrived before the end of the SASL layer",
            ));
        }
        let (composite, _) = Composite::decode(&frame.body)?;
        let code = composite.code;
        let mut fields = composite.fields("a SASL frame")?;
        let mut bytes = |index| {
            fields
                .binary(index)
                .map(|bytes| Zeroizing::new(bytes.unwrap_or_default()))
        };
        match code {
            0x40 => Ok(Self::Mechanisms(fields.symbols(0)?)),
            0x41 => Ok(Self::Init {
                response: bytes(1)?,
                mechanism: fields
                    .string(0)?
                    .ok_or_else(|| Error::malformed("a sasl-init names no mechanism"))?,
                hostname: fields.string(2)?,
            }),
            0x42 => bytes(0).map(Self::Challenge),
            0x43 => bytes(0).map(Self::Response),
            0x44 => match fields.uint(0)? {
                Some(outcome) => Ok(Self::Outcome(u8::try_from(outcome).unwrap_or(u8::MAX))),
                None => Err(Error::malformed("a sasl-outcome has no code")),
            },
            code => Err(Error::malformed(format!(
                "{code:#x} does not describe a SASL frame"
            ))),
        }
    }

    pub(crate) fn encode(&self) -> Result<Frame, Error> {
        let binary = |bytes: &[u8]| Value::Binary(bytes.to_vec().into());
        let value = match self {
            Self::Mechanisms(names) => {
                let names: Vec<Value> = names.iter().map(|name| symbol(name)).collect();
                list(0x40, vec![Value::Array(Array(names))])
            }
            Self::Init {
                mechanism,
                response,
                hostname,
            } => list(
                0x41,
                vec![
                    symbol(mechanism),
                    binary(response),
                    optional(hostname.clone()),
                ],
            ),
            Self::Challenge(bytes) => list(0x42, vec![binary(bytes)]),
            Self::Response(bytes) => list(0x43, vec![binary(bytes)]),
            Self::Outcome(code) => list(0x44, vec![Value::Ubyte(*code)]),
        };
        let bytes = Zeroizing::new(value::encode(&value)?);
        Ok(Frame::sasl(&bytes))
    }

    /// The frame's name, for errors.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Mechanisms(_) => "sasl-mechanisms",
            Self::Init { .. } => "sasl-init",
            Self::Challenge(_) => "sasl-challenge",
            Self::Response(_) => "sasl-response",
            Self::Outcome(_) => "sasl-outcome",
        }
    }
}
