//! The server: accepts a connection with its sessions and links, and reports what the peer does.

mod connection;
mod event;
mod session;

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};

use self::connection::Connection;
pub use self::event::{Event, Limits, LinkId, Request};
use crate::condition::Condition;
use crate::error::{Error, ErrorKind};
use crate::frame::Frame;
use crate::frames::Frames;
use crate::header::ProtocolHeader;
use crate::message::Message;

/// The time limit for a peer to read sent data.
const WRITE_TIMEOUT: Duration = Duration::from_secs(30);

/// The server's end of a connection, after its SASL layer if there was one.
///
/// [`Server::next`] drives it: it reads frames, answers frames that need no decision, and sends empty frames in time. The other methods only note what is to be
/// sent. It is sent by [`Server::flush`], and by `next` before it waits, so that the answers to frames that arrived together are one
/// write.
pub struct Server<S> {
    frames: Frames<S>,
    connection: Connection,
    events: VecDeque<Event>,
    idle: Duration,
    last_received: Instant,
    last_sent: Instant,
    closed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Server<S> {
    /// Answers the client's AMQP header, which has been read.
    pub fn accept_connection(mut frames: Frames<S>, limits: Limits) -> Self {
        frames.push_header(ProtocolHeader::Amqp);
        let now = Instant::now();
        Self {
            connection: Connection::new(frames.max_frame(), limits),
            frames,
            events: VecDeque::new(),
            idle: limits.idle,
            last_received: now,
            last_sent: now,
            closed: false,
        }
    }

    /// Waits for the next event of the peer. Cancel-safe.
    ///
    /// # Errors
    /// If the stream fails or ends, the peer was silent for too long, or it broke the protocol. In the last two cases a close with the error's
    /// condition has been sent. Drop the connection after it.
    pub async fn next(&mut self) -> Result<Event, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(event);
            }
            if self.closed {
                self.flush().await?;
                return Err(Error::ended());
            }
            if let Some(frame) = self.frames.take().transpose() {
                self.receive(frame).await?;
                continue;
            }
            self.flush().await?;
            let beat = self
                .connection
                .peer_idle()
                .map(|idle| self.last_sent + idle / 2);
            let end = self.last_received + self.idle;
            tokio::select! {
                biased;
                frame = self.frames.read() => self.receive(frame).await?,
                () = sleep_until(beat.unwrap_or(end)), if beat.is_some() => {
                    self.push(&[Frame::amqp(0, &[])]);
                }
                () = sleep_until(end) => {
                    let error = Error::new(
                        ErrorKind::NotAllowed,
                        format!("the peer was silent for {} seconds", self.idle.as_secs()),
                    );
                    return Err(self.fail(error).await);
                }
            }
        }
    }

    /// Accepts a link that the peer attached, and grants credit where the peer sends.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn accept_link(&mut self, link: LinkId) -> Result<(), Error> {
        let frames = self.connection.accept_link(link)?;
        self.push(&frames);
        Ok(())
    }

    /// Refuses a link that the peer attached, with the reason (AMQP 2.6.3).
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn refuse_link(&mut self, link: LinkId, condition: Condition) -> Result<(), Error> {
        let frames = self.connection.refuse_link(link, condition)?;
        self.push(&frames);
        Ok(())
    }

    /// Accepts a request.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn accept(&mut self, request: &Request) -> Result<(), Error> {
        let frame = self.connection.settle(request, None)?;
        self.push(frame.as_slice());
        Ok(())
    }

    /// Rejects a request with the reason.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn reject(&mut self, request: &Request, condition: Condition) -> Result<(), Error> {
        let frame = self.connection.settle(request, Some(condition))?;
        self.push(frame.as_slice());
        Ok(())
    }

    /// Sends a message on a link where the peer receives, when there is credit. Returns `false` if the link was detached, or if
    /// too many messages wait on it.
    ///
    /// # Errors
    /// If it cannot be encoded.
    pub fn send(&mut self, link: LinkId, message: &Message) -> Result<bool, Error> {
        match self.connection.send(link, message)? {
            Some(frames) => {
                self.push(&frames);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Sends everything that is queued.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn flush(&mut self) -> Result<(), Error> {
        match timeout(WRITE_TIMEOUT, self.frames.flush()).await {
            Ok(result) => result,
            Err(_) => Err(Error::new(
                ErrorKind::Io,
                format!(
                    "the peer did not read for {} seconds",
                    WRITE_TIMEOUT.as_secs()
                ),
            )),
        }
    }

    /// Closes the connection, with the reason if there is one.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn close(&mut self, condition: Option<Condition>) -> Result<(), Error> {
        let frames = self.connection.close(condition)?;
        self.push(&frames);
        self.flush().await?;
        self.frames.shutdown().await
    }

    async fn receive(&mut self, frame: Result<Frame, Error>) -> Result<(), Error> {
        self.last_received = Instant::now();
        let received = match frame.and_then(|frame| self.connection.receive(frame)) {
            Ok(received) => received,
            Err(error) => return Err(self.fail(error).await),
        };
        self.push(&received.frames);
        self.closed |= received
            .events
            .iter()
            .any(|event| matches!(event, Event::Closed(_)));
        self.events.extend(received.events);
        Ok(())
    }

    fn push(&mut self, frames: &[Frame]) {
        if !frames.is_empty() {
            self.last_sent = Instant::now();
        }
        for frame in frames {
            self.frames.push(frame);
        }
    }

    /// Reports the error to the peer before the connection ends. Data that can no longer be sent is dropped.
    async fn fail(&mut self, error: Error) -> Error {
        if error.kind() != ErrorKind::Io {
            let condition = Condition::new(error.condition()).with_description(error.to_string());
            let _ = self.close(Some(condition)).await;
        }
        error
    }
}

impl<S> fmt::Debug for Server<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("connection", &self.connection)
            .finish_non_exhaustive()
    }
}
