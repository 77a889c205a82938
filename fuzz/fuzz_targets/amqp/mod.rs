//! A peer whose bytes are the fuzzer's, and a runtime for the timers of the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::runtime::Runtime;

thread_local! {
    static RUNTIME: Runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
}

/// Runs a future. It ends by itself, because the peer's bytes end.
pub fn run<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// A protocol header, then frames of this type. The input has for each frame its channel (one byte), the length of its body (two bytes,
/// little endian) and its body. After the channel 255, the rest of the input follows as it is.
pub fn frames(header: &[u8; 8], kind: u8, mut input: &[u8]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    while let [channel, low, high, rest @ ..] = input {
        if *channel == 255 {
            bytes.extend(&input[1..]);
            break;
        }
        let length = usize::from(u16::from_le_bytes([*low, *high]));
        let (body, rest) = rest.split_at(length.min(rest.len()));
        bytes.extend((8 + body.len() as u32).to_be_bytes());
        bytes.extend([2, kind, 0, *channel]);
        bytes.extend(body);
        input = rest;
    }
    bytes
}

/// Bytes that arrive; writes disappear.
pub struct Peer(pub io::Cursor<Vec<u8>>);

impl AsyncRead for Peer {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Peer {
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
