//! The answer to a WebSocket handshake and the frames of a server, as a device reads them: any input is read or refused, with the
//! same result when it arrives in small pieces.
#![no_main]

mod pieces;
mod ready;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use dps_websocket::{WebSocketIo, accept_key};
use libfuzzer_sys::fuzz_target;
use pieces::Pieces;
use ready::now;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

const MAX: usize = 4096;

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (piece, is_server, bytes) = input;
    let whole = read(bytes, is_server, usize::MAX);
    let pieces = read(bytes, is_server, usize::from(piece).max(1));
    assert_eq!(whole, pieces);
    match whole {
        Some((read, _)) => assert!(is_server && read.len() <= bytes.len()),
        // The key of the request is random.
        None => assert!(!is_server),
    }
});

/// The messages that were read, and whether the stream ended with an error. `None` if the handshake failed.
fn read(bytes: &[u8], is_server: bool, piece: usize) -> Option<(Vec<u8>, bool)> {
    let peer = Peer {
        request: Vec::new(),
        head: Vec::new(),
        is_server,
        rest: Pieces { bytes, piece },
    };
    let mut stream = now(WebSocketIo::connect(peer, "localhost", "/", "mqtt", MAX)).ok()?;
    let mut read = Vec::new();
    let result = now(stream.read_to_end(&mut read));
    Some((read, result.is_err()))
}

/// A server that completes the handshake before its bytes, or only sends its bytes.
struct Peer<'a> {
    request: Vec<u8>,
    head: Vec<u8>,
    is_server: bool,
    rest: Pieces<'a>,
}

impl Peer<'_> {
    /// The answer to the handshake, once the request has arrived.
    fn answer(&mut self) {
        let request = String::from_utf8_lossy(&self.request).to_ascii_lowercase();
        let Some(at) = request.find("sec-websocket-key:") else {
            return;
        };
        let key = self.request[at + 18..].split(|byte| *byte == b'\r').next().unwrap_or_default();
        self.head = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
            accept_key(key.trim_ascii())
        )
        .into_bytes();
        self.is_server = false;
    }
}

impl AsyncRead for Peer<'_> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.is_server {
            self.answer();
        }
        if self.head.is_empty() {
            return Pin::new(&mut self.rest).poll_read(cx, buffer);
        }
        let length = self.rest.piece.min(buffer.remaining()).min(self.head.len());
        let head: Vec<u8> = self.head.drain(..length).collect();
        buffer.put_slice(&head);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Peer<'_> {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_server {
            self.request.extend(bytes);
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
