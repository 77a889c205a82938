//! Protocol headers: the eight bytes that begin a layer of AMQP.

use crate::error::Error;

/// The header that begins a layer of the connection (AMQP 2.2 and 5.3.1).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProtocolHeader {
    /// `AMQP 0 1 0 0`: frames follow.
    Amqp,
    /// `AMQP 3 1 0 0`: the SASL layer follows.
    Sasl,
}

impl ProtocolHeader {
    pub(crate) const LENGTH: usize = 8;

    pub(crate) fn bytes(self) -> [u8; Self::LENGTH] {
        match self {
            Self::Amqp => *b"AMQP\x00\x01\x00\x00",
            Self::Sasl => *b"AMQP\x03\x01\x00\x00",
        }
    }

    pub(crate) fn parse(bytes: [u8; Self::LENGTH]) -> Result<Self, Error> {
        match &bytes {
            b"AMQP\x00\x01\x00\x00" => Ok(Self::Amqp),
            b"AMQP\x03\x01\x00\x00" => Ok(Self::Sasl),
            [b'A', b'M', b'Q', b'P', id, major, minor, revision] => Err(Error::framing(format!(
                "the peer speaks protocol {id} in version {major}.{minor}.{revision}, but AMQP 1.0.0 is required"
            ))),
            _ => Err(Error::framing(
                "the connection does not begin with an AMQP protocol header",
            )),
        }
    }
}
