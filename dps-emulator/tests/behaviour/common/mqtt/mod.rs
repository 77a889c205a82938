//! A device on MQTT or MQTT over WebSocket: literal bytes on TLS sockets.

mod client;
mod hub;
mod packet;
mod transport;
mod websocket;

use dps_emulator::DeviceCredentials;
use rustls::ClientConfig;

use super::tls::{self, Tls, tls, tls12};
use super::{Dps, KEY_1};

pub(crate) use client::Client;
pub(crate) use hub::{DESIRED, GET, REPORT, RESPONSES, hub_token};
pub(crate) use packet::{Connect, publish, publish_at_most_once, subscribe, unsubscribe};
pub(crate) use transport::Transport;
pub(crate) use websocket::{Ws, handshake, head};

/// The topic filter of a device at DPS, and the topics on which it publishes.
pub(crate) const FILTER: &str = "$dps/registrations/res/#";
pub(crate) const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=";
pub(crate) const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/?$rid=";

/// CONNACK with return code 0, and with 5: not authorized.
pub(crate) const ACCEPTED: &[u8] = b"\x20\x02\x00\x00";
pub(crate) const NOT_AUTHORIZED: &[u8] = b"\x20\x02\x00\x05";
pub(crate) const PINGREQ: &[u8] = b"\xC0\x00";
pub(crate) const PINGRESP: &[u8] = b"\xD0\x00";
pub(crate) const DISCONNECT: &[u8] = b"\xE0\x00";

impl Dps {
    /// Completes a TLS handshake on the MQTT port if the server's certificate is from this CA.
    pub(crate) async fn handshake_trusting(&self, ca_pem: &str) -> std::io::Result<Tls> {
        tls::connect(self.emulator.mqtt_port(), tls(ca_pem, None)).await
    }

    /// TLS on the MQTT port.
    pub(crate) async fn mqtt(&self) -> Client<Tls> {
        let tls = tls(self.emulator.ca_pem(), None);
        Client::over(open(self.emulator.mqtt_port(), tls).await)
    }

    /// As the Python SDK does: TLS 1.2.
    pub(crate) async fn mqtt_over_tls12(&self) -> Client<Tls> {
        let tls = tls12(self.emulator.ca_pem());
        Client::over(open(self.emulator.mqtt_port(), tls).await)
    }

    /// TLS on the MQTT port, with this chain.
    pub(crate) async fn mqtt_showing(
        &self,
        chain_pem: &str,
        credentials: &DeviceCredentials,
    ) -> Client<Tls> {
        let key_pem = credentials.private_key_pem();
        self.mqtt_presenting(chain_pem, key_pem).await
    }

    /// As [`mqtt_showing`](Self::mqtt_showing), with a key that need not match.
    pub(crate) async fn mqtt_presenting(&self, chain_pem: &str, key_pem: &str) -> Client<Tls> {
        let tls = tls(self.emulator.ca_pem(), Some((chain_pem, key_pem)));
        Client::over(open(self.emulator.mqtt_port(), tls).await)
    }

    /// A WebSocket for MQTT of a client with this chain and key.
    pub(crate) async fn websocket_presenting(&self, chain_pem: &str, key_pem: &str) -> Client<Ws> {
        let tls = tls(self.emulator.ca_pem(), Some((chain_pem, key_pem)));
        let mut tls = open(self.emulator.https_port(), tls).await;
        handshake(&mut tls).await;
        Client::over(Ws::over(tls))
    }

    /// TLS on the HTTPS port.
    pub(crate) async fn web(&self) -> Tls {
        let tls = tls(self.emulator.ca_pem(), None);
        open(self.emulator.https_port(), tls).await
    }

    /// A WebSocket for MQTT.
    pub(crate) async fn websocket(&self) -> Client<Ws> {
        let mut tls = self.web().await;
        handshake(&mut tls).await;
        Client::over(Ws::over(tls))
    }

    /// A WebSocket for MQTT of a client with this chain.
    pub(crate) async fn websocket_showing(
        &self,
        chain_pem: &str,
        credentials: &DeviceCredentials,
    ) -> Client<Ws> {
        let key_pem = credentials.private_key_pem();
        self.websocket_presenting(chain_pem, key_pem).await
    }

    /// A device over MQTT that is connected with its key, and subscribed.
    pub(crate) async fn mqtt_device(&self, id: &str) -> Client<Tls> {
        let mut client = self.mqtt().await;
        client.connect(&Connect::with_key(id, KEY_1)).await;
        client.subscribe().await;
        client
    }

    /// A device over WebSocket that is connected with its key, and subscribed.
    pub(crate) async fn connected_websocket(&self, id: &str) -> Client<Ws> {
        let mut client = self.websocket().await;
        client.connect(&Connect::with_key(id, KEY_1)).await;
        client.subscribe().await;
        client
    }

    /// Asserts that the device `dev-1` is assigned.
    pub(crate) async fn still_serves(&self) {
        let document = self.mqtt_device("dev-1").await.provision().await;
        assert_eq!(document["status"], "assigned", "{document}");
    }
}

async fn open(port: u16, tls: ClientConfig) -> Tls {
    tls::connect(port, tls).await.expect("TLS")
}
