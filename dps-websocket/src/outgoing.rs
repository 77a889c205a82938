//! The writing half of a WebSocket: the queue for the peer has a bound.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::AsyncWrite;
use zeroize::Zeroizing;

use crate::frame::{self, Opcode};

/// The maximum number of pings that a peer may send without reading the answers.
const MAX_UNREAD_PINGS: u32 = 64;

/// Holds at most one message, one pong and one close frame.
pub(crate) struct Outgoing {
    frames: Zeroizing<Vec<u8>>,
    /// The number of bytes of `frames` that were written.
    sent: usize,
    /// The answer to the latest ping. An older one may be left out (RFC 6455, section 5.5.3).
    pong: Option<Zeroizing<Vec<u8>>>,
    unread_pings: u32,
    /// True if a close frame was queued: nothing can follow it.
    is_closed: bool,
    is_server: bool,
}

impl Outgoing {
    pub(crate) fn new(is_server: bool) -> Self {
        Self {
            frames: Zeroizing::default(),
            sent: 0,
            pong: None,
            unread_pings: 0,
            is_closed: false,
            is_server,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed
    }

    /// Stops writing because the peer has closed the connection.
    pub(crate) fn abandon(&mut self) {
        self.is_closed = true;
        self.frames = Zeroizing::default();
        self.sent = 0;
        self.pong = None;
    }

    /// Queues a message, once all before it is written.
    pub(crate) fn poll_message<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
        payload: &[u8],
    ) -> Poll<io::Result<()>> {
        if self.is_closed {
            return Poll::Ready(Err(closed()));
        }
        ready!(self.poll_write(stream, cx))?;
        if self.is_closed {
            return Poll::Ready(Err(closed()));
        }
        self.push(Opcode::Binary, payload)?;
        match self.poll_write(stream, cx) {
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            // The next call, of any kind, writes the rest.
            _ => Poll::Ready(Ok(())),
        }
    }

    /// Answers a ping. False when the peer sends pings and does not read.
    #[must_use]
    pub(crate) fn answer(&mut self, payload: Zeroizing<Vec<u8>>) -> bool {
        if !self.is_closed {
            self.pong = Some(payload);
            self.unread_pings += 1;
        }
        self.unread_pings <= MAX_UNREAD_PINGS
    }

    /// Queues the close frame, unless one was.
    pub(crate) fn close(&mut self, code: Option<[u8; 2]>) -> io::Result<()> {
        if self.is_closed {
            return Ok(());
        }
        self.is_closed = true;
        self.pong = None;
        let code = code.as_ref().map_or(&[][..], |code| code);
        self.push(Opcode::Close, code)
    }

    /// Writes all that is queued.
    pub(crate) fn poll_write<S: AsyncWrite + Unpin>(
        &mut self,
        stream: &mut S,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            while let Some(rest @ [_, ..]) = self.frames.get(self.sent..) {
                match ready!(Pin::new(&mut *stream).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                    sent => self.sent += sent,
                }
            }
            self.frames = Zeroizing::default();
            self.sent = 0;
            let Some(pong) = self.pong.take() else {
                self.unread_pings = 0;
                return Poll::Ready(Ok(()));
            };
            self.push(Opcode::Pong, &pong)?;
        }
    }

    /// Appends a frame. The old bytes are copied to a new buffer, so that growing leaves none behind.
    fn push(&mut self, opcode: Opcode, payload: &[u8]) -> io::Result<()> {
        let mask = match self.is_server {
            true => None,
            false => {
                let mut mask = [0; 4];
                getrandom::fill(&mut mask).map_err(io::Error::other)?;
                Some(mask)
            }
        };
        let rest = self.frames.get(self.sent..).unwrap_or_default();
        let capacity = rest.len() + frame::max_size(payload.len());
        let mut frames = Zeroizing::new(Vec::with_capacity(capacity));
        frames.extend_from_slice(rest);
        frame::write(&mut frames, opcode, payload, mask);
        self.frames = frames;
        self.sent = 0;
        Ok(())
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "the WebSocket is closed")
}
