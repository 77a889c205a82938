//! Packets over a stream.

use std::{fmt, io, mem};

use bytes::BufMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use zeroize::Zeroizing;

use crate::convert;
use crate::error::{Error, ErrorKind};
use crate::frame::{self, Frame};
use crate::packet::Packet;

/// The size of the read buffer of an idle connection, in bytes.
const IDLE: usize = 256;

/// MQTT packets over a stream, in both directions.
pub struct Packets<S> {
    stream: S,
    max_packet_bytes: usize,
    /// Never holds more than [`IDLE`] bytes after the packet that is being read.
    incoming: Zeroizing<Vec<u8>>,
    outgoing: Zeroizing<Vec<u8>>,
    /// The number of bytes of `outgoing` that were written.
    sent: usize,
}

impl<S> Packets<S> {
    /// Reads and writes packets over `stream`. A packet that arrives with more than `max_packet_bytes`, its header included, is refused.
    pub fn new(stream: S, max_packet_bytes: usize) -> Self {
        Self {
            stream,
            max_packet_bytes,
            incoming: Zeroizing::default(),
            outgoing: Zeroizing::default(),
            sent: 0,
        }
    }

    /// Changes the largest packet that is read, its header included. A server raises it once a client is authenticated.
    pub fn set_max_packet_bytes(&mut self, max_packet_bytes: usize) {
        self.max_packet_bytes = max_packet_bytes;
    }

    /// The stream. Bytes that were read ahead and bytes that were not yet written are lost.
    pub fn into_inner(self) -> S {
        self.stream
    }

    /// Removes a packet from the bytes that have arrived. The rest, which is short, moves to a new buffer.
    fn take(&mut self, end: usize) -> Zeroizing<Vec<u8>> {
        let rest = self.incoming.split_off(end);
        mem::replace(&mut self.incoming, Zeroizing::new(rest))
    }

    /// Grows the buffer explicitly: a `Vec` that grows by itself leaves its old bytes in memory.
    fn grow(&mut self) {
        if self.incoming.len() == self.incoming.capacity() {
            let mut larger = Zeroizing::new(Vec::with_capacity(IDLE.max(2 * self.incoming.len())));
            larger.extend_from_slice(&self.incoming);
            self.incoming = larger;
        }
    }
}

impl<S: AsyncRead + Unpin> Packets<S> {
    /// The next packet, or `None` when the stream has ended between two packets.
    ///
    /// Dropping the future loses nothing: the next call continues where this one stopped.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] when the stream fails or ends inside a packet; [`ErrorKind::TooLarge`] as soon as the
    /// header of a packet reports too great a length; [`ErrorKind::ProtocolVersion`] for a CONNECT of another version;
    /// [`ErrorKind::Malformed`] for any other data that is not MQTT 3.1.1.
    pub async fn read(&mut self) -> Result<Option<Packet>, Error> {
        loop {
            let missing = match frame::scan(&self.incoming, self.max_packet_bytes)? {
                Frame::Whole { header, end } => {
                    return convert::decode(header, self.take(end)).map(Some);
                }
                Frame::Missing(missing) => missing,
            };
            self.grow();
            let mut space = (&mut *self.incoming).limit(missing.max(IDLE));
            if self.stream.read_buf(&mut space).await.map_err(Error::io)? == 0 {
                return if self.incoming.is_empty() {
                    Ok(None)
                } else {
                    Err(
                        Error::new(ErrorKind::Io, "the connection ended inside a packet")
                            .with_source(io::Error::from(io::ErrorKind::UnexpectedEof)),
                    )
                };
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> Packets<S> {
    /// Writes a packet and flushes the stream.
    ///
    /// Dropping the future may leave the packet unwritten, as a whole or in part; the next call writes a part that is left
    /// first, and waits until it is written. Nothing here has a timeout: set one around the call.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Io`] when the stream fails; [`ErrorKind::Malformed`] or [`ErrorKind::TooLarge`] when the
    /// packet is not valid MQTT, and then nothing was written.
    pub async fn write(&mut self, packet: Packet) -> Result<(), Error> {
        self.write_all([packet]).await
    }

    /// Writes several packets together, with one write to the stream if it accepts their bytes, and flushes the stream.
    ///
    /// Dropping the future has the effect that [`write`](Self::write) describes, on all of these packets.
    ///
    /// # Errors
    ///
    /// Those of [`write`](Self::write). If one packet is not valid, none is written.
    pub async fn write_all(
        &mut self,
        packets: impl IntoIterator<Item = Packet>,
    ) -> Result<(), Error> {
        let packets = packets.into_iter().map(convert::encode);
        let packets = packets.collect::<Result<Vec<_>, _>>()?;
        // The rest of an earlier call is sent first, so that never more than the packets of one call are held.
        self.write_rest().await?;
        let length = packets.iter().map(|packet| packet.len()).sum();
        self.outgoing = Zeroizing::new(Vec::with_capacity(length));
        for packet in packets {
            self.outgoing.extend_from_slice(&packet);
        }
        self.write_rest().await?;
        self.stream.flush().await.map_err(Error::io)
    }

    async fn write_rest(&mut self) -> Result<(), Error> {
        while let Some(rest @ [_, ..]) = self.outgoing.get(self.sent..) {
            match self.stream.write(rest).await.map_err(Error::io)? {
                0 => return Err(Error::io(io::ErrorKind::WriteZero.into())),
                sent => self.sent += sent,
            }
        }
        self.outgoing = Zeroizing::default();
        self.sent = 0;
        Ok(())
    }
}

impl<S: fmt::Debug> fmt::Debug for Packets<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Packets")
            .field("stream", &self.stream)
            .field("max_packet_bytes", &self.max_packet_bytes)
            .finish_non_exhaustive()
    }
}
