//! AMQP 1.0 as the Azure IoT Hub Device Provisioning Service uses it, over any stream, for a client and for a server.
#![doc = include_str!("../README.md")]
//!
//! # Contents
//! * [`Client`] opens a connection with one session and a pair of links, and sends one request at a time.
//! * [`Server`] accepts a connection with any number of sessions and links within [`Limits`], and reports what the peer does as
//!   [`Event`]s.
//! * [`sasl`] has the SASL layer for both: PLAIN, EXTERNAL and the mechanism TPM of DPS.
//!
//! Nothing here spawns a task. Dropping a future cancels its work. The caller sets time limits for what it waits for.
//!
//! What a peer can send is bounded: the size of a frame and of a message, the depth and the number of elements of a value, the
//! number of sessions, links and unsent messages.
//!
//! Source: OASIS, Advanced Message Queuing Protocol (AMQP) Version 1.0. Section numbers in this crate refer to it.
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

mod client;
mod composite;
mod condition;
mod condition_value;
mod delivery;
mod error;
mod frame;
mod frames;
mod header;
mod link;
mod message;
mod performative;
pub mod sasl;
mod server;
mod transfer;
mod value;

pub use client::{Answer, Client, ClientOptions};
pub use condition::Condition;
pub use error::{Error, ErrorKind};
pub use frames::Frames;
pub use header::ProtocolHeader;
pub use link::Role;
pub use message::{Body, CorrelationId, Message, Property};

pub use server::{Event, Limits, LinkId, Request, Server};
