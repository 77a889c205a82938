//! MQTT 3.1.1 packets over any stream.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Rules
//!
//! [`Packets`] reads and writes typed [`Packet`]s over any `AsyncRead + AsyncWrite` stream: TCP, TLS, or the `WebSocketIo` of
//! `dps-websocket`. It contains no session logic.
//!
//! * Received packets are checked against the standard: a wrong flag, a reserved bit, trailing bytes, a zero packet identifier
//!   or a wildcard in a topic name is an error, after which the connection must be closed (MQTT-4.8.0-1).
//! * A packet that is too large is refused when its length is received, before it is buffered.
//! * An idle connection needs a few hundred bytes. Buffers are wiped when they are released, because a CONNECT contains a
//!   password. No error contains content of a packet.
//! * Reads and writes have no timeout. Dropping the future cancels them.
//!
//! Source: OASIS, MQTT Version 3.1.1; names such as MQTT-4.8.0-1 are its numbered statements.
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

mod connect;
mod convert;
mod error;
mod frame;
mod packet;
mod packets;
mod rules;

pub use error::{Error, ErrorKind};
pub use packet::{Connect, ConnectCode, Packet, Publish, QoS};
pub use packets::Packets;
