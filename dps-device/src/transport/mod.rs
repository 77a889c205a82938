//! Transports: how requests reach DPS. This module has what an implementor of [`Transport`] needs.
//!
//! A transport opens a [`Session`] for a [`Target`] with the device's [`Proof`](crate::attestation::Proof). A session sends
//! one request at a time and returns its [`Reply`]. Retries, waits and timeouts belong to the client, so a transport has none.

#[cfg(any(feature = "http", feature = "mqtt", feature = "amqp"))]
pub(crate) mod agent;
#[cfg(feature = "amqp")]
pub(crate) mod amqp;
#[cfg(feature = "amqp")]
mod amqp_session;
#[cfg(feature = "amqp")]
pub(crate) mod amqp_websocket;
pub(crate) mod challenge;
pub(crate) mod endpoint;
pub(crate) mod error;
pub(crate) mod fallback;
#[cfg(all(fuzzing, feature = "http", feature = "hub"))]
pub(crate) mod fuzzing;
#[cfg(feature = "http")]
pub(crate) mod http;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt_connection;
#[cfg(feature = "mqtt")]
mod mqtt_session;
#[cfg(feature = "mqtt")]
pub(crate) mod mqtt_transport;
#[cfg(feature = "http")]
mod page;
pub(crate) mod reply;
pub(crate) mod session;
#[cfg(any(feature = "mqtt", feature = "amqp"))]
pub(crate) mod stream;
pub(crate) mod target;
#[cfg(any(feature = "http", feature = "mqtt", feature = "amqp"))]
mod tls_failure;
#[cfg(any(feature = "http", feature = "mqtt", feature = "amqp"))]
pub(crate) mod token;
#[cfg(any(feature = "mqtt", feature = "amqp"))]
mod tunnel;
#[cfg(any(feature = "websocket", feature = "amqp"))]
mod web_socket;
#[cfg(feature = "websocket")]
pub(crate) mod websocket;

#[cfg(feature = "hub")]
pub(crate) use agent::{AGENT, request_id};
#[cfg(feature = "amqp")]
pub use amqp::Amqp;
#[cfg(feature = "amqp")]
pub use amqp_websocket::AmqpWebSocket;
#[cfg(feature = "hub")]
pub(crate) use endpoint::Endpoint;
pub use error::TransportError;
pub use fallback::Fallback;
#[cfg(feature = "http")]
pub use http::Http;
#[cfg(feature = "mqtt")]
pub use mqtt::Mqtt;
#[cfg(feature = "hub")]
pub(crate) use mqtt_connection::MqttConnection;
#[cfg(feature = "hub")]
pub(crate) use mqtt_transport::MqttTransport;
pub use reply::Reply;
pub use session::{Session, Transport};
#[cfg(feature = "hub")]
pub(crate) use stream::Stream;
pub use target::Target;
#[cfg(feature = "hub")]
pub(crate) use token::{LIFETIME, sign};
#[cfg(feature = "websocket")]
pub use websocket::MqttWebSocket;
