//! The client at the other end of a connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;

use crate::attest::PresentedChain;

/// The client at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(super) address: SocketAddr,
    /// The client certificates of the TLS handshake.
    pub(super) chain: Option<PresentedChain>,
    /// Whether the connection is inside TLS.
    pub(super) has_tls: bool,
    is_proven: AtomicBool,
    /// The connection's place among those that have not proven anything.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

/// A peer, and the transport that it uses now.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Caller<'a> {
    pub(super) peer: &'a Peer,
    pub(super) transport: Transport,
}

/// The transport of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Tls,
    Https,
    Http,
    Mqtt,
    MqttWebSocket,
    Amqp,
    AmqpWebSocket,
}

impl Peer {
    pub(super) fn new(
        address: SocketAddr,
        chain: Option<PresentedChain>,
        place: Option<OwnedSemaphorePermit>,
    ) -> Self {
        Self {
            address,
            chain,
            has_tls: true,
            is_proven: AtomicBool::new(false),
            place: Mutex::new(place),
        }
    }

    /// A client that connected to the port without TLS.
    pub(super) fn without_tls(address: SocketAddr, place: Option<OwnedSemaphorePermit>) -> Self {
        Self {
            has_tls: false,
            ..Self::new(address, None, place)
        }
    }

    /// The transport of a request that is not on a WebSocket.
    pub(super) fn http(&self) -> Transport {
        match self.has_tls {
            true => Transport::Https,
            false => Transport::Http,
        }
    }

    /// The client is authenticated. Its connection no longer counts against the limit of unproven ones.
    pub(super) fn prove(&self) {
        self.is_proven.store(true, Ordering::Release);
        self.place
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }

    pub(super) fn is_proven(&self) -> bool {
        self.is_proven.load(Ordering::Acquire)
    }
}

impl Transport {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Https => "HTTPS",
            Self::Http => "HTTP",
            Self::Mqtt => "MQTT",
            Self::MqttWebSocket => "MQTT over WebSocket",
            Self::Amqp => "AMQP",
            Self::AmqpWebSocket => "AMQP over WebSocket",
        }
    }
}
