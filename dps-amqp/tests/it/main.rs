//! Conversations between client and server, and the bytes of other clients against the server.

#![allow(clippy::unwrap_used)]

mod conversation;
mod encode;
mod hostile;
mod peers;
mod rules;
mod sasl;
