//! MQTT 3.1.1 packets over any byte stream, and MQTT over WebSocket as such a stream.
//!
//! [`Packets`] reads and writes typed [`Packet`]s over anything that is `AsyncRead + AsyncWrite`: TCP, TLS, or a
//! `WebSocketIo` (feature `websocket`). The order of packets is up to the caller: a client and a
//! server share only the packets.
//!
//! * Each packet is checked against the standard: a wrong flag, a reserved bit, an additional byte, a zero packet
//!   identifier or a wildcard in a topic name is an error, after which the connection must be closed (MQTT-4.8.0-1).
//! * A packet that is too large is refused once its length has arrived, before it is buffered.
//! * An idle connection uses a few hundred bytes. Buffers are wiped when they are freed, since a CONNECT holds a
//!   password. No error contains a part of a packet's content.
//! * Nothing here has a timeout. A caller stops waiting by dropping the future.
//!
//! Source: OASIS, MQTT Version 3.1.1; names such as MQTT-4.8.0-1 are its numbered statements.
//!
//! ```
//! use dps_mqtt::{Connect, Packet, Packets};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), dps_mqtt::Error> {
//! let (device, server) = tokio::io::duplex(64);
//! let mut device = Packets::new(device, 4096);
//! let mut server = Packets::new(server, 4096);
//!
//! let mut connect = Connect::new("thermostat-7");
//! connect.keep_alive = 60;
//! let (sent, read) = tokio::join!(device.write(Packet::Connect(connect)), server.read());
//! sent?;
//! assert!(matches!(read?, Some(Packet::Connect(connect)) if connect.client_id == "thermostat-7"));
//! # Ok(())
//! # }
//! ```

mod connect;
mod convert;
mod error;
mod frame;
mod packet;
mod packets;
mod rules;
#[cfg(feature = "websocket")]
mod websocket;

pub use error::{Error, ErrorKind};
pub use packet::{Connect, ConnectCode, Packet, Publish, QoS};
pub use packets::Packets;
#[cfg(feature = "websocket")]
pub use websocket::{WebSocketIo, accept_key};
