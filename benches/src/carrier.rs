//! How a registration travels, by name: the same device over each transport.

use std::time::Duration;

use dps_device::{Attestation, Http, Mqtt, MqttWebSocket, ProvisioningClient};
use dps_types::IdScope;

/// A transport, and with it one of the emulator's ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Carrier {
    /// HTTPS.
    Http,
    /// MQTT over TLS.
    Mqtt,
    /// MQTT over WebSocket over TLS, on the port of HTTPS.
    WebSocket,
}

impl Carrier {
    /// All that a device has.
    pub const ALL: [Self; 3] = [Self::Http, Self::Mqtt, Self::WebSocket];

    /// As tables and command lines call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Mqtt => "mqtt",
            Self::WebSocket => "websocket",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|carrier| carrier.name() == name)
    }

    /// A new client of an emulator on this machine, which connects anew and waits as little as a client can.
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
        };
        client
            .with_host(dps_device::Host::LOCALHOST)
            .with_min_poll_interval(Duration::ZERO)
    }
}
