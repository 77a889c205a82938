//! The transports by name, and a device client for each.

use std::time::Duration;

use dps_device::{Amqp, AmqpWebSocket, Attestation, Http, Mqtt, MqttWebSocket, ProvisioningClient};
use dps_types::IdScope;

/// A transport, which determines the port of the emulator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TransportKind {
    /// HTTPS.
    Http,
    /// MQTT over TLS.
    Mqtt,
    /// MQTT over WebSocket over TLS, on the port of HTTPS.
    WebSocket,
    /// AMQP over TLS.
    Amqp,
    /// AMQP over WebSocket over TLS, on the port of HTTPS.
    AmqpWebSocket,
}

impl TransportKind {
    /// Every transport of a device.
    pub const ALL: [Self; 5] = [
        Self::Http,
        Self::Mqtt,
        Self::WebSocket,
        Self::Amqp,
        Self::AmqpWebSocket,
    ];

    /// The name in tables and command lines.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mqtt => "mqtt",
            Self::WebSocket => "websocket",
            Self::Amqp => "amqp",
            Self::AmqpWebSocket => "amqp-websocket",
        }
    }

    /// Returns the transport with this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|transport| transport.name() == name)
    }

    /// Returns a new client of an emulator on this machine, with a new connection and the shortest poll interval.
    pub fn client(
        self,
        port: u16,
        id_scope: IdScope,
        who: impl Attestation + 'static,
    ) -> ProvisioningClient {
        let client = match self {
            Self::Http => ProvisioningClient::new(id_scope, who, Http::default().with_port(port)),
            Self::Mqtt => ProvisioningClient::new(id_scope, who, Mqtt::default().with_port(port)),
            Self::WebSocket => {
                ProvisioningClient::new(id_scope, who, MqttWebSocket::default().with_port(port))
            }
            Self::Amqp => ProvisioningClient::new(id_scope, who, Amqp::default().with_port(port)),
            Self::AmqpWebSocket => {
                ProvisioningClient::new(id_scope, who, AmqpWebSocket::default().with_port(port))
            }
        };
        client
            .with_host(dps_device::Host::LOCALHOST)
            .with_min_poll_interval(Duration::ZERO)
    }
}
