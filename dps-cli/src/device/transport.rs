//! The transport that the options select.

use std::fmt;

use clap::{Args, ValueEnum};
use dps_device::transport::Fallback;
use dps_device::{Amqp, AmqpWebSocket, Http, HubTransport, Mqtt, MqttWebSocket, Transport};

#[derive(Args)]
pub(crate) struct TransportOptions {
    /// Transport to the service; repeat it for others that are tried when the first one cannot connect
    #[arg(
        long = "transport",
        value_enum,
        value_name = "TRANSPORT",
        default_value = "http"
    )]
    transports: Vec<TransportName>,
    /// Port of HTTPS, and of MQTT and AMQP over WebSocket
    #[arg(long, env = "DPS_HTTPS_PORT", value_name = "N", default_value_t = 443)]
    pub(crate) https_port: u16,
    /// Port of MQTT
    #[arg(long, env = "DPS_MQTT_PORT", value_name = "N", default_value_t = 8883)]
    pub(crate) mqtt_port: u16,
    /// Port of AMQP
    #[arg(long, env = "DPS_AMQP_PORT", value_name = "N", default_value_t = 5671)]
    pub(crate) amqp_port: u16,
}

/// The name of a transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TransportName {
    /// HTTPS
    Http,
    /// MQTT over TLS
    Mqtt,
    /// MQTT over WebSocket
    MqttWs,
    /// AMQP over TLS
    Amqp,
    /// AMQP over WebSocket
    AmqpWs,
}

impl TransportOptions {
    pub(crate) fn transport(&self) -> Box<dyn Transport> {
        let mut transports = self.transports.iter().map(|name| self.one(*name));
        let first = transports
            .next()
            .unwrap_or_else(|| self.one(TransportName::Http));
        let mut rest = transports.peekable();
        if rest.peek().is_none() {
            return first;
        }
        Box::new(rest.fold(Fallback::new(first), Fallback::or))
    }

    /// The transport to the hub, which supports MQTT: over WebSocket if that is selected for the service.
    pub(crate) fn hub(&self) -> HubTransport {
        match self.transports.first() {
            Some(TransportName::MqttWs | TransportName::AmqpWs) => {
                MqttWebSocket::default().with_port(self.https_port).into()
            }
            _ => Mqtt::default().with_port(self.mqtt_port).into(),
        }
    }

    pub(crate) fn names(&self) -> &[TransportName] {
        &self.transports
    }

    /// Whether one of the transports supports TPM attestation: DPS does not over MQTT.
    pub(crate) fn supports_tpm(&self) -> bool {
        !self.is_mqtt()
    }

    /// Whether every transport is MQTT, over which the service refuses wrong credentials when the device connects.
    pub(crate) fn is_mqtt(&self) -> bool {
        use TransportName::{Mqtt, MqttWs};
        let mut names = self.transports.iter();
        names.all(|name| matches!(name, Mqtt | MqttWs))
    }

    /// One of the transports for each device of a fleet, in turn.
    pub(crate) fn nth(&self, index: usize) -> (Box<dyn Transport>, TransportName) {
        let name = self.transports.get(index % self.transports.len().max(1));
        let name = name.copied().unwrap_or(TransportName::Http);
        (self.one(name), name)
    }

    /// The port of a transport.
    pub(crate) fn port(&self, name: TransportName) -> u16 {
        match name {
            TransportName::Http | TransportName::MqttWs | TransportName::AmqpWs => self.https_port,
            TransportName::Mqtt => self.mqtt_port,
            TransportName::Amqp => self.amqp_port,
        }
    }

    fn one(&self, name: TransportName) -> Box<dyn Transport> {
        let port = self.port(name);
        match name {
            TransportName::Http => Box::new(Http::default().with_port(port)),
            TransportName::Mqtt => Box::new(Mqtt::default().with_port(port)),
            TransportName::MqttWs => Box::new(MqttWebSocket::default().with_port(port)),
            TransportName::Amqp => Box::new(Amqp::default().with_port(port)),
            TransportName::AmqpWs => Box::new(AmqpWebSocket::default().with_port(port)),
        }
    }
}

impl fmt::Display for TransportName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Mqtt => "mqtt",
            Self::MqttWs => "mqtt-ws",
            Self::Amqp => "amqp",
            Self::AmqpWs => "amqp-ws",
        })
    }
}
