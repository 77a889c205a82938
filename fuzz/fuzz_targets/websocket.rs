//! WebSocket frames, from a client and from a server: any input is read or refused, with the same result when it arrives
//! in small pieces.
#![no_main]

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use dps_websocket::WebSocketIo;
use libfuzzer_sys::fuzz_target;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

const MAX: usize = 4096;

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = read(bytes, usize::MAX);
    let pieces = read(bytes, usize::from(piece).max(1));
    assert_eq!(whole, pieces);
    assert!(whole.0.len() <= bytes.len());
});

/// The messages that were read, and whether the stream ended with an error.
fn read(bytes: &[u8], piece: usize) -> (Vec<u8>, bool) {
    let mut stream = WebSocketIo::accept(Pieces { bytes, piece }, MAX);
    let mut read = Vec::new();
    let result = match pin!(stream.read_to_end(&mut read)).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("memory is always ready"),
    };
    (read, result.is_err())
}

/// Bytes in pieces of this length; writes disappear.
struct Pieces<'a> {
    bytes: &'a [u8],
    piece: usize,
}

impl AsyncRead for Pieces<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let length = self.piece.min(buffer.remaining()).min(self.bytes.len());
        let (piece, rest) = self.bytes.split_at(length);
        buffer.put_slice(piece);
        self.bytes = rest;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pieces<'_> {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
