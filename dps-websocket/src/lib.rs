//! A WebSocket as a stream of bytes, for a client and for a server.
#![doc = include_str!("../README.md")]
//!
//! The opening handshake is tungstenite's. The frames after it are read and written here: tungstenite logs whole
//! frames, and with them passwords, and its queue of pongs has no bound against a peer that does not read.
//!
//! Source: RFC 6455.
// A panic on outside input would stop the program. Each exception has its reason next to it.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable
    )
)]

mod error;
mod frame;
mod handshake;
mod incoming;
mod outgoing;
mod stream;

pub use error::{Error, ErrorKind};
pub use handshake::accept_key;
pub use stream::WebSocketIo;
