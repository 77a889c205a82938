//! The reading half of a WebSocket: finds payload and control frames in the bytes that arrive.

use tokio::io::ReadBuf;
use zeroize::Zeroizing;

use crate::frame::{Header, MAX_CONTROL, Opcode, unmask};

/// The size of the read buffer of each connection, in bytes.
///
/// A frame that is longer is passed on in parts, and a peer that answers each part writes more often. Most messages are shorter: the
/// opening of an AMQP connection, a CONNECT with its token, the answer to a registration. The TLS below reads up to 4 KiB from
/// the socket with one call, so a smaller buffer saves no call, and a larger one only memory of connections that are idle.
const BUFFER: usize = 2048;

/// Something that the peer sent.
pub(crate) enum Event {
    /// Bytes of a message were put into the caller's buffer.
    Data,
    /// More bytes are needed.
    Missing,
    Ping(Zeroizing<Vec<u8>>),
    /// With the status code, if there is one.
    Close(Option<[u8; 2]>),
}

/// The reason for which the connection must be closed.
pub(crate) enum Violation {
    /// The peer broke the protocol.
    Protocol(&'static str),
    Text,
    TooLarge,
}

/// The rest of a frame whose header was read.
struct Frame {
    header: Header,
    /// The number of bytes of the payload that were read.
    read: u64,
    /// The payload of a control frame. A message is returned to the caller directly.
    control: Zeroizing<Vec<u8>>,
}

pub(crate) struct Incoming {
    /// Bytes that have arrived and are not used yet: `start..end`.
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
    frame: Option<Frame>,
    /// The length of the message so far, while its last frame has not arrived.
    message: Option<u64>,
    max_message_bytes: usize,
    /// A server requires masks, a client refuses them.
    is_server: bool,
}

impl Incoming {
    /// `early` are bytes that arrived with the handshake.
    pub(crate) fn new(early: Vec<u8>, max_message_bytes: usize, is_server: bool) -> Self {
        let mut buffer = Zeroizing::new(early);
        let end = buffer.len();
        if end < BUFFER {
            buffer.resize(BUFFER, 0);
        }
        Self {
            buffer,
            start: 0,
            end,
            frame: None,
            message: None,
            max_message_bytes,
            is_server,
        }
    }

    pub(crate) fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.max_message_bytes = max_message_bytes;
    }

    /// The space for more bytes. Never empty when the last event was [`Event::Missing`].
    pub(crate) fn space(&mut self) -> &mut [u8] {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.buffer.get_mut(self.end..).unwrap_or_default()
    }

    /// Counts bytes that were put into [`space`](Self::space).
    pub(crate) fn filled(&mut self, length: usize) {
        self.end += length;
    }

    /// The next event. `out` has space.
    pub(crate) fn next(&mut self, out: &mut ReadBuf<'_>) -> Result<Event, Violation> {
        loop {
            let Some(frame) = &mut self.frame else {
                let arrived = self.buffer.get(self.start..self.end);
                match Header::parse(arrived.unwrap_or_default()).map_err(Violation::Protocol)? {
                    Some((header, length)) => {
                        self.begin(header)?;
                        self.start += length;
                        continue;
                    }
                    None => return Ok(Event::Missing),
                }
            };
            let rest = frame.header.length - frame.read;
            let is_control = frame.header.opcode.is_control();
            if rest == 0 {
                let frame = self.frame.take();
                if let Some(event) = frame.filter(|_| is_control).and_then(control) {
                    return event;
                }
                continue;
            }
            let arrived = self.buffer.get_mut(self.start..self.end);
            let arrived = arrived.unwrap_or_default();
            let mut length = arrived
                .len()
                .min(usize::try_from(rest).unwrap_or(usize::MAX));
            if !is_control {
                length = length.min(out.remaining());
            }
            if length == 0 {
                return Ok(Event::Missing);
            }
            let (bytes, _) = arrived.split_at_mut(length);
            if let Some(mask) = frame.header.mask {
                unmask(bytes, mask, frame.read);
            }
            match is_control {
                true => frame.control.extend_from_slice(bytes),
                false => out.put_slice(bytes),
            }
            frame.read += length as u64;
            self.start += length;
            if !is_control {
                return Ok(Event::Data);
            }
        }
    }

    /// Checks a header against what came before it.
    fn begin(&mut self, header: Header) -> Result<(), Violation> {
        if header.mask.is_some() != self.is_server {
            return Err(Violation::Protocol(match self.is_server {
                true => "a client's WebSocket frame is not masked",
                false => "a server's WebSocket frame is masked",
            }));
        }
        if !header.opcode.is_control() {
            let before = match (header.opcode, self.message) {
                (Opcode::Text, _) => return Err(Violation::Text),
                (Opcode::Continuation, Some(before)) => before,
                (Opcode::Binary, None) => 0,
                _ => {
                    return Err(Violation::Protocol(
                        "a WebSocket message begins inside another, or continues none",
                    ));
                }
            };
            let length = before.saturating_add(header.length);
            if length > self.max_message_bytes as u64 {
                return Err(Violation::TooLarge);
            }
            self.message = (!header.is_final).then_some(length);
        }
        self.frame = Some(Frame {
            header,
            read: 0,
            control: Zeroizing::new(Vec::with_capacity(match header.opcode.is_control() {
                true => MAX_CONTROL,
                false => 0,
            })),
        });
        Ok(())
    }
}

/// The meaning of a complete control frame. A pong has none.
fn control(frame: Frame) -> Option<Result<Event, Violation>> {
    match frame.header.opcode {
        Opcode::Ping => Some(Ok(Event::Ping(frame.control))),
        Opcode::Close if frame.control.len() == 1 => Some(Err(Violation::Protocol(
            "a WebSocket close frame has half a status code",
        ))),
        Opcode::Close => Some(Ok(Event::Close(frame.control.first_chunk().copied()))),
        _ => None,
    }
}
