//! WebSocket (RFC 6455) of a client, written by hand.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::Transport;
use crate::common::{TIMEOUT, Tls};

/// The documented path and subprotocol, with the key of RFC 6455, section 1.3.
const REQUEST: &[u8] = b"GET /$iothub/websocket HTTP/1.1\r\n\
    Host: localhost\r\n\
    Upgrade: websocket\r\n\
    Connection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
    Sec-WebSocket-Protocol: mqtt\r\n\
    Sec-WebSocket-Version: 13\r\n\r\n";

/// Asserts that the server accepts a WebSocket.
pub(crate) async fn handshake(tls: &mut Tls) {
    tls.send(REQUEST).await;
    let head = head(tls).await;
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
}

/// Reads the head of a response and no byte after it.
pub(crate) async fn head(tls: &mut Tls) -> String {
    let mut head = Vec::new();
    let read = async {
        while !head.ends_with(b"\r\n\r\n") {
            head.push(tls.read_u8().await.expect("a whole head"));
        }
    };
    timeout(TIMEOUT, read).await.expect("an answer");
    String::from_utf8(head).expect("a head is text")
}

pub(crate) struct Ws {
    tls: Tls,
}

impl Ws {
    pub(crate) fn over(tls: Tls) -> Self {
        Self { tls }
    }

    /// A masked frame; `first` is FIN and opcode.
    pub(crate) async fn frame(&mut self, first: u8, payload: &[u8]) {
        let mask = [0x37, 0xFA, 0x21, 0x3D];
        let mut frame = vec![first];
        match payload.len() {
            short @ 0..126 => frame.push(0x80 | u8::try_from(short).expect("short")),
            middle @ 126..=0xFFFF => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(middle).expect("two bytes").to_be_bytes());
            }
            long => {
                frame.push(0x80 | 127);
                frame.extend(u64::try_from(long).expect("eight bytes").to_be_bytes());
            }
        }
        frame.extend(mask);
        frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
        self.raw(&frame).await;
    }

    /// Sends these bytes as they are.
    pub(crate) async fn raw(&mut self, bytes: &[u8]) {
        self.tls.send(bytes).await;
    }

    /// The next frame, FIN and opcode first; `None` at the end of the stream.
    pub(crate) async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        let read = async {
            let first = self.tls.read_u8().await.ok()?;
            let length = match self.tls.read_u8().await.ok()? {
                masked @ 128.. => panic!("a server does not mask: {masked}"),
                126 => u64::from(self.tls.read_u16().await.ok()?),
                127 => self.tls.read_u64().await.ok()?,
                short => u64::from(short),
            };
            let mut payload = vec![0; usize::try_from(length).expect("it fits")];
            self.tls.read_exact(&mut payload).await.ok()?;
            Some((first, payload))
        };
        timeout(TIMEOUT, read).await.expect("a frame, or the end")
    }

    /// Closes this direction; the other direction stays open.
    pub(crate) async fn shutdown(&mut self) {
        let _ = self.tls.shutdown().await;
    }
}

impl Transport for Ws {
    async fn send(&mut self, bytes: &[u8]) {
        self.frame(0x82, bytes).await;
    }

    /// The payload of a binary message. A close frame is the end.
    async fn receive(&mut self) -> Option<Vec<u8>> {
        match self.next().await? {
            (0x82, payload) => Some(payload),
            (0x88, _) => None,
            (first, payload) => panic!("an unexpected frame: {first:02x} {payload:02x?}"),
        }
    }
}
