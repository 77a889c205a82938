//! Reads and writes frames over a byte stream.

use std::fmt;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroize;

use crate::error::Error;
use crate::frame::{self, Frame};
use crate::header::ProtocolHeader;

/// Frames over a byte stream. Reading is cancel-safe: what has arrived stays in the buffer.
pub struct Frames<S> {
    stream: S,
    received: BytesMut,
    outgoing: BytesMut,
    max_frame: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    /// Frames over this stream. A received frame of more than `max_frame` bytes is an error; 512 is the smallest limit that AMQP allows.
    pub fn new(stream: S, max_frame: usize) -> Self {
        Self {
            stream,
            received: BytesMut::new(),
            outgoing: BytesMut::new(),
            max_frame: max_frame.max(frame::MIN_MAX_FRAME),
        }
    }

    /// The size of the largest frame that is accepted.
    pub(crate) fn max_frame(&self) -> usize {
        self.max_frame
    }

    /// Reads the header that begins a layer.
    ///
    /// # Errors
    /// If the stream fails or ends, or the peer speaks another protocol or version.
    pub async fn read_header(&mut self) -> Result<ProtocolHeader, Error> {
        loop {
            if let Some(header) = frame::take_header(&mut self.received)? {
                return Ok(header);
            }
            self.fill().await?;
        }
    }

    /// Writes the header that begins a layer.
    ///
    /// # Errors
    /// If the stream fails.
    pub async fn write_header(&mut self, header: ProtocolHeader) -> Result<(), Error> {
        self.push_header(header);
        self.flush().await
    }

    /// Reads the next frame. Before it waits for the peer, it sends what was pushed.
    pub(crate) async fn read(&mut self) -> Result<Frame, Error> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(frame);
            }
            if !self.outgoing.is_empty() {
                self.flush().await?;
            }
            self.fill().await?;
        }
    }

    /// The next frame, if it has arrived.
    pub(crate) fn take(&mut self) -> Result<Option<Frame>, Error> {
        frame::take(&mut self.received, self.max_frame)
    }

    /// Appends a header to what the next flush sends.
    pub(crate) fn push_header(&mut self, header: ProtocolHeader) {
        self.outgoing.extend_from_slice(&header.bytes());
    }

    /// Appends a frame to what the next flush sends.
    pub(crate) fn push(&mut self, frame: &Frame) {
        frame.write(&mut self.outgoing);
    }

    /// Sends what was pushed.
    pub(crate) async fn flush(&mut self) -> Result<(), Error> {
        while !self.outgoing.is_empty() {
            // Cancel-safe: what was sent is removed before the next wait.
            let sent = self
                .stream
                .write_buf(&mut self.outgoing)
                .await
                .map_err(Error::io)?;
            if sent == 0 {
                return Err(Error::ended());
            }
        }
        self.stream.flush().await.map_err(Error::io)
    }

    /// Ends the sending side of the stream.
    pub(crate) async fn shutdown(&mut self) -> Result<(), Error> {
        self.stream.shutdown().await.map_err(Error::io)
    }

    async fn fill(&mut self) -> Result<(), Error> {
        self.received.reserve(4096);
        let read = self
            .stream
            .read_buf(&mut self.received)
            .await
            .map_err(Error::io)?;
        if read == 0 {
            return Err(Error::ended());
        }
        Ok(())
    }
}

impl<S> Drop for Frames<S> {
    fn drop(&mut self) {
        // SASL frames hold tokens.
        self.received.as_mut().zeroize();
        self.outgoing.as_mut().zeroize();
    }
}

impl<S> fmt::Debug for Frames<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Frames")
            .field("max_frame", &self.max_frame)
            .finish_non_exhaustive()
    }
}
