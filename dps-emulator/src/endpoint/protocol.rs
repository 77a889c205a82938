//! The protocols of the emulator's ports.

use std::net::{IpAddr, Ipv4Addr};

/// A protocol with a port of its own, inside TLS unless its name has `Insecure`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Protocol {
    /// HTTP/1.1, and MQTT and AMQP over WebSocket.
    Https,
    /// The same without TLS, on loopback only.
    InsecureHttp,
    Mqtt,
    Amqp,
}

impl Protocol {
    /// The address to listen on, for an emulator that listens on `bind`.
    pub(crate) fn address(self, bind: IpAddr) -> IpAddr {
        match self {
            Self::InsecureHttp => Ipv4Addr::LOCALHOST.into(),
            _ => bind,
        }
    }
}
