//! MQTT over WebSocket (MQTT 3.1.1, chapter 6): binary messages, read and written as one stream of bytes.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::{fmt, io};

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_tungstenite::tungstenite::client::{ClientRequestBuilder, IntoClientRequest};
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::error::{Error, ErrorKind};

/// What is read from the stream at once, and kept for every connection, in bytes.
const READ: usize = 512;

/// A WebSocket as a stream of bytes.
///
/// * A write is one binary message. Packets may span messages and share them when they arrive (MQTT-6.0.0-2).
/// * A text message is an error and closes the connection (MQTT-6.0.0-1); so do a message that is too large and
///   anything else that is not WebSocket.
/// * Pings are answered while reading. A close frame is answered and is the end of the stream.
/// * Shutting down sends a close frame and shuts the stream below down. It does not wait for the other side, which
///   may be read until it ends.
///
/// Nothing here has a deadline: the handshake, reads and writes wait as long as the caller lets them, but never once
/// the stream below has ended.
pub struct WebSocketIo<S> {
    messages: WebSocketStream<S>,
    /// What is left of the last message.
    incoming: Bytes,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> WebSocketIo<S> {
    /// As a client: asks the server at the other end of `stream`, commonly TLS, to switch to WebSocket.
    ///
    /// `host` is what the `Host` header says, with a port unless it is the default one; `path` begins with `/`;
    /// `subprotocol` is `mqtt` (MQTT-6.0.0-3), and the server must agree to it. A message that arrives with more
    /// than `max_message_bytes` is refused.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Upgrade`] when the server answers otherwise, or host, path or subprotocol cannot be asked for;
    /// [`ErrorKind::Io`] when the stream fails or ends.
    pub async fn connect(
        stream: S,
        host: &str,
        path: &str,
        subprotocol: &str,
        max_message_bytes: usize,
    ) -> Result<Self, Error> {
        let uri = Uri::builder()
            .scheme("ws")
            .authority(host)
            .path_and_query(path)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Upgrade, "no such host or path").with_source(error)
            })?;
        let request = ClientRequestBuilder::new(uri)
            .with_sub_protocol(subprotocol)
            .into_client_request()
            .map_err(not_upgraded)?;
        let (messages, _) =
            client_async_with_config(request, stream, Some(config(max_message_bytes)))
                .await
                .map_err(not_upgraded)?;
        Ok(Self::over(messages))
    }

    /// As a server: over a connection that has already switched to WebSocket, for which [`accept_key`] helps. A
    /// message that arrives with more than `max_message_bytes` is refused.
    pub async fn accept(stream: S, max_message_bytes: usize) -> Self {
        let config = config(max_message_bytes);
        Self::over(WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await)
    }

    fn over(messages: WebSocketStream<S>) -> Self {
        Self {
            messages,
            incoming: Bytes::new(),
            ended: false,
        }
    }

    /// Ends the stream for a reason, and says so to the other side if that can be done without waiting.
    fn fail(&mut self, cx: &mut Context<'_>, code: CloseCode, error: Error) -> io::Error {
        self.ended = true;
        let close = CloseFrame {
            code,
            reason: "".into(),
        };
        if self
            .messages
            .start_send_unpin(Message::Close(Some(close)))
            .is_ok()
        {
            let _ = self.messages.poll_flush_unpin(cx);
        }
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// Takes note of a message, or of the end.
    fn take(
        &mut self,
        cx: &mut Context<'_>,
        next: Option<Result<Message, WsError>>,
    ) -> io::Result<()> {
        match next {
            Some(Ok(Message::Binary(bytes))) => self.incoming = bytes,
            Some(Ok(Message::Text(_))) => {
                let error = Error::malformed("a text message over WebSocket");
                return Err(self.fail(cx, CloseCode::Unsupported, error));
            }
            Some(Ok(Message::Close(_))) => {
                self.ended = true;
                // The answer. Should it not go now, it goes with the shutdown.
                let _ = self.messages.poll_flush_unpin(cx);
            }
            // A ping is answered when the next message is asked for, which is at once.
            Some(Ok(_)) => {}
            None => self.ended = true,
            Some(Err(WsError::Io(error))) => return Err(error),
            Some(Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake))) => {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            Some(Err(WsError::Capacity(error))) => {
                let error = Error::too_large().with_source(error);
                return Err(self.fail(cx, CloseCode::Size, error));
            }
            Some(Err(error)) => {
                let error = Error::malformed("what arrived is not WebSocket").with_source(error);
                return Err(self.fail(cx, CloseCode::Protocol, error));
            }
        }
        Ok(())
    }
}

/// The `Sec-WebSocket-Accept` with which a server answers a client's `Sec-WebSocket-Key` (RFC 6455, section 4.2.2).
pub fn accept_key(key: impl AsRef<[u8]>) -> String {
    derive_accept_key(key.as_ref())
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for WebSocketIo<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.incoming.is_empty() && !this.ended {
            let next = ready!(this.messages.poll_next_unpin(cx));
            this.take(cx, next)?;
        }
        let length = this.incoming.len().min(buffer.remaining());
        buffer.put_slice(&this.incoming.split_to(length));
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WebSocketIo<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let messages = &mut self.get_mut().messages;
        if !bytes.is_empty() {
            ready!(messages.poll_ready_unpin(cx)).map_err(not_written)?;
            let message = Message::Binary(Bytes::copy_from_slice(bytes));
            messages.start_send_unpin(message).map_err(not_written)?;
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut()
            .messages
            .poll_flush_unpin(cx)
            .map_err(not_written)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let messages = &mut self.get_mut().messages;
        ready!(messages.poll_close_unpin(cx)).map_err(not_written)?;
        Pin::new(messages.get_mut()).poll_shutdown(cx)
    }
}

impl<S> fmt::Debug for WebSocketIo<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebSocketIo").finish_non_exhaustive()
    }
}

/// Little memory for each connection; writes go out at once.
fn config(max_message_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * max_message_bytes)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes))
}

fn not_upgraded(error: WsError) -> Error {
    match error {
        WsError::Io(error) => Error::io(error),
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => {
            Error::io(io::ErrorKind::UnexpectedEof.into())
        }
        WsError::Http(response) => {
            let status = response.status().as_u16();
            let what = format!("the server answered {status} and did not switch to WebSocket");
            Error::new(ErrorKind::Upgrade, what).with_http_status(status)
        }
        error => {
            Error::new(ErrorKind::Upgrade, "the switch to WebSocket failed").with_source(error)
        }
    }
}

fn not_written(error: WsError) -> io::Error {
    match error {
        WsError::Io(error) => error,
        error => io::Error::new(io::ErrorKind::BrokenPipe, error),
    }
}
