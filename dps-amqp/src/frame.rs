//! Frames: the size, the type and the channel before each body (AMQP 2.3).

use bytes::{Buf, BufMut, BytesMut};

use crate::error::{Error, ErrorKind};
use crate::header::ProtocolHeader;

/// The size of a frame's header.
pub(crate) const HEADER: usize = 8;

/// The smallest maximum frame size that a peer may ask for (AMQP 2.7.1).
pub(crate) const MIN_MAX_FRAME: usize = 512;

/// The layer that a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameType {
    Amqp,
    Sasl,
}

/// One frame. A frame with an empty body only shows that the peer is alive (AMQP 2.4.5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: FrameType,
    pub(crate) channel: u16,
    pub(crate) body: BytesMut,
}

impl Frame {
    pub(crate) fn amqp(channel: u16, body: &[u8]) -> Self {
        Self {
            kind: FrameType::Amqp,
            channel,
            body: body.into(),
        }
    }

    pub(crate) fn sasl(body: &[u8]) -> Self {
        Self {
            kind: FrameType::Sasl,
            channel: 0,
            body: body.into(),
        }
    }

    /// Appends the frame to a buffer. The caller keeps the body below the peer's maximum frame size.
    pub(crate) fn write(&self, out: &mut BytesMut) {
        let size = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        out.put_u32(size);
        out.put_u8(2);
        out.put_u8(match self.kind {
            FrameType::Amqp => 0,
            FrameType::Sasl => 1,
        });
        out.put_u16(self.channel);
        out.put_slice(&self.body);
    }
}

/// Takes the first frame from the buffer, or returns `None` while it is incomplete. A frame above `max` bytes is refused as soon as its
/// size has arrived.
pub(crate) fn take(buffer: &mut BytesMut, max: usize) -> Result<Option<Frame>, Error> {
    let Some(size) = buffer.first_chunk::<4>() else {
        return Ok(None);
    };
    if size == b"AMQP" {
        return Err(Error::framing(
            "a protocol header arrived where a frame was expected",
        ));
    }
    let size = u32::from_be_bytes(*size) as usize;
    if size < HEADER {
        return Err(Error::framing(format!(
            "a frame of {size} bytes is smaller than its header of {HEADER} bytes"
        )));
    }
    if size > max {
        return Err(Error::new(
            ErrorKind::TooLarge,
            format!("a frame of {size} bytes is larger than the limit of {max} bytes"),
        ));
    }
    if buffer.len() < size {
        return Ok(None);
    }
    let mut body = buffer.split_to(size);
    body.advance(4);
    let offset = usize::from(body.get_u8()) * 4;
    let kind = match body.get_u8() {
        0 => FrameType::Amqp,
        1 => FrameType::Sasl,
        other => return Err(Error::framing(format!("{other} is not a frame type"))),
    };
    let channel = body.get_u16();
    if offset < HEADER || offset > size {
        return Err(Error::framing(format!(
            "a data offset of {offset} bytes is not valid in a frame of {size} bytes"
        )));
    }
    // An extended header is allowed and has no meaning (AMQP 2.3.2).
    body.advance(offset - HEADER);
    Ok(Some(Frame {
        kind,
        channel,
        body,
    }))
}

/// Takes a protocol header from the buffer, or returns `None` while it is incomplete.
pub(crate) fn take_header(buffer: &mut BytesMut) -> Result<Option<ProtocolHeader>, Error> {
    if buffer
        .iter()
        .zip(b"AMQP")
        .any(|(byte, expected)| byte != expected)
    {
        return Err(Error::framing(
            "the connection does not begin with an AMQP protocol header",
        ));
    }
    let Some(header) = buffer.first_chunk().copied() else {
        return Ok(None);
    };
    buffer.advance(ProtocolHeader::LENGTH);
    ProtocolHeader::parse(header).map(Some)
}
