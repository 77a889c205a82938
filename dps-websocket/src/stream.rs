//! A WebSocket, read and written as one stream of bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::error::{Error, ErrorKind};
use crate::handshake;
use crate::incoming::{Event, Incoming, Violation};
use crate::outgoing::Outgoing;

// Status codes of close frames (RFC 6455, section 7.4.1).
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;
const POLICY_VIOLATION: u16 = 1008;
const MESSAGE_TOO_BIG: u16 = 1009;

/// A WebSocket as a stream of bytes.
///
/// * A write is one binary message. Received data may be divided into messages at any place (as MQTT-6.0.0-2 requires).
/// * A text message is an error and closes the connection (MQTT-6.0.0-1). So does a message that is too large, anything
///   else that is not WebSocket, and a peer that sends many pings and does not read the answers.
/// * Pings are answered while reading. A close frame is answered and is the end of the stream.
/// * Shutting down sends a close frame and shuts the underlying stream down. It does not wait for the peer, and reading
///   continues until the peer ends.
/// * The bytes that wait to be written never exceed one message, one pong and one close frame.
///
/// Nothing here has a timeout: the handshake, reads and writes wait until the caller stops them or the underlying
/// stream ends.
pub struct WebSocketIo<S> {
    stream: S,
    incoming: Incoming,
    outgoing: Outgoing,
    /// True after the peer has sent its last byte.
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketIo<S> {
    /// Connects as a client: asks the server at the other end of `stream`, usually TLS, to switch to WebSocket.
    ///
    /// `host` is the value of the `Host` header, with a port unless it is the default one; `path` begins with `/`;
    /// `subprotocol` is for example `mqtt` (MQTT-6.0.0-3) or `AMQPWSB10`, and the server must agree to it. A message that arrives with more
    /// than `max_message_bytes` is refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Upgrade`] when the server does not switch, or host, path or subprotocol are not valid;
    /// [`ErrorKind::Io`] when the stream fails or ends.
    pub async fn connect(
        mut stream: S,
        host: &str,
        path: &str,
        subprotocol: &str,
        max_message_bytes: usize,
    ) -> Result<Self, Error> {
        let early = handshake::connect(&mut stream, host, path, subprotocol).await?;
        Ok(Self::new(stream, early, max_message_bytes, false))
    }

    /// Accepts as a server, over a connection that has already switched to WebSocket; [`accept_key`](crate::accept_key) helps with that. A
    /// message that arrives with more than `max_message_bytes` is refused.
    pub fn accept(stream: S, max_message_bytes: usize) -> Self {
        Self::new(stream, Vec::new(), max_message_bytes, true)
    }

    /// Changes the limit for messages that arrive, for example after the peer has authenticated. A message that has begun is
    /// checked at its next frame.
    pub fn set_max_message_bytes(&mut self, max_message_bytes: usize) {
        self.incoming.set_max_message_bytes(max_message_bytes);
    }

    fn new(stream: S, early: Vec<u8>, max_message_bytes: usize, is_server: bool) -> Self {
        Self {
            stream,
            incoming: Incoming::new(early, max_message_bytes, is_server),
            outgoing: Outgoing::new(is_server),
            ended: false,
        }
    }

    /// Ends the stream with an error, and tries to send its status code to the peer without waiting.
    fn fail(&mut self, cx: &mut Context<'_>, code: u16, error: Error) -> io::Error {
        self.ended = true;
        if self.outgoing.close(Some(code.to_be_bytes())).is_ok() {
            let _ = self.outgoing.poll_write(&mut self.stream, cx);
        }
        let kind = match error.kind() {
            ErrorKind::Io => io::ErrorKind::ConnectionAborted,
            _ => io::ErrorKind::InvalidData,
        };
        io::Error::new(kind, error)
    }

    fn violation(&mut self, cx: &mut Context<'_>, violation: Violation) -> io::Error {
        let (code, error) = match violation {
            Violation::Protocol(what) => (PROTOCOL_ERROR, Error::new(ErrorKind::Protocol, what)),
            Violation::Text => (
                UNSUPPORTED_DATA,
                Error::new(
                    ErrorKind::Protocol,
                    "a WebSocket message is text, and only binary messages are accepted",
                ),
            ),
            Violation::TooLarge => (
                MESSAGE_TOO_BIG,
                Error::new(
                    ErrorKind::TooLarge,
                    "a WebSocket message is larger than the limit",
                ),
            ),
        };
        self.fail(cx, code, error)
    }

    /// Reads bytes from the stream. `Ok(false)` is the end of it.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = ReadBuf::new(self.incoming.space());
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut space))?;
        let length = space.filled().len();
        self.incoming.filled(length);
        Poll::Ready(Ok(length > 0))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while !this.ended && buffer.remaining() > 0 {
            match this.incoming.next(buffer) {
                Ok(Event::Data) => return Poll::Ready(Ok(())),
                Ok(Event::Missing) => {
                    // Pongs are sent even if the caller does not write. An error shows in the next write.
                    let _ = this.outgoing.poll_write(&mut this.stream, cx);
                    match ready!(this.poll_fill(cx)) {
                        Ok(true) => {}
                        Ok(false) => {
                            this.ended = true;
                            this.outgoing.abandon();
                            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                        }
                        Err(error) => {
                            this.ended = true;
                            return Poll::Ready(Err(error));
                        }
                    }
                }
                Ok(Event::Ping(payload)) => {
                    if !this.outgoing.answer(payload) {
                        let what = "the peer sends pings and does not read the answers";
                        let error = Error::new(ErrorKind::Io, what);
                        return Poll::Ready(Err(this.fail(cx, POLICY_VIOLATION, error)));
                    }
                    let _ = this.outgoing.poll_write(&mut this.stream, cx);
                }
                Ok(Event::Close(code)) => {
                    this.ended = true;
                    // If the answer cannot be sent now, it is sent with the shutdown.
                    this.outgoing.close(code)?;
                    let _ = this.outgoing.poll_write(&mut this.stream, cx);
                }
                Err(violation) => return Poll::Ready(Err(this.violation(cx, violation))),
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if !bytes.is_empty() {
            ready!(this.outgoing.poll_message(&mut this.stream, cx, bytes))?;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.outgoing.poll_write(&mut this.stream, cx))?;
        Pin::new(&mut this.stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.outgoing.is_closed() {
            this.outgoing.close(None)?;
        }
        ready!(this.outgoing.poll_write(&mut this.stream, cx))?;
        Pin::new(&mut this.stream).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for WebSocketIo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketIo").finish_non_exhaustive()
    }
}
