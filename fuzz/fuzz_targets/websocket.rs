//! WebSocket frames of a client, as the emulator reads them: any input is read or refused, with the same result when it arrives
//! in small pieces.
#![no_main]

mod pieces;
mod ready;

use dps_websocket::WebSocketIo;
use libfuzzer_sys::fuzz_target;
use pieces::Pieces;
use ready::now;
use tokio::io::AsyncReadExt;

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
    let result = now(stream.read_to_end(&mut read));
    (read, result.is_err())
}
