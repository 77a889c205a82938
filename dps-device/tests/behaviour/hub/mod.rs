//! The assigned hub: the bytes on the wire, reconnects, and how a device finds its next hub.

mod log;
mod memory;
mod peer;
mod provisioned;
mod reconnect;
mod settings;
mod store;
mod token_lifetime;
mod twin;
mod wire;

use dps_device::{Attestation, HubEndpoint, HubTransport, Mqtt, ProvisioningClient};

use crate::mqtt::server::Server;
use crate::mqtt::{MqttKind, key};
use crate::pki::Pki;
use crate::script::Script;
use peer::HubPeer;

const HUB: &str = "contoso.azure-devices.net";

/// A hub endpoint for a device with a symmetric key, and the server that plays the hub.
async fn set_up(kind: MqttKind) -> (HubEndpoint, Server) {
    let pki = Pki::new();
    let server = Server::start(kind, pki.server(false)).await;
    (hub(key("my-device"), kind, &pki, server.port()), server)
}

/// The hub endpoint of this device, at the port of the test server, without waits between requests.
fn hub(who: impl Attestation + 'static, kind: MqttKind, pki: &Pki, port: u16) -> HubEndpoint {
    let scope = "0ne00111111".parse().unwrap();
    let client = ProvisioningClient::new(scope, who, Script::new([]))
        .with_min_poll_interval(std::time::Duration::ZERO);
    let hub = client.hub_at(HUB.parse().unwrap(), "my-device".parse().unwrap());
    at_server(hub, kind, pki, port)
}

fn at_server(hub: HubEndpoint, kind: MqttKind, pki: &Pki, port: u16) -> HubEndpoint {
    hub.with_host(dps_device::Host::LOCALHOST)
        .with_roots(pki.roots())
        .with_transport(transport(kind, port))
}

fn transport(kind: MqttKind, port: u16) -> HubTransport {
    match kind {
        MqttKind::Mqtt => Mqtt::default().with_port(port).into(),
        #[cfg(feature = "websocket")]
        MqttKind::WebSocket => dps_device::MqttWebSocket::default().with_port(port).into(),
        #[cfg(not(feature = "websocket"))]
        MqttKind::WebSocket => unreachable!(),
    }
}

/// A connected device, and its connection as the hub sees it.
async fn connected() -> (dps_device::HubConnection, HubPeer, Server) {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let (connection, peer) = tokio::join!(hub.connect(), HubPeer::accept(&server));
    (connection.unwrap(), peer, server)
}

/// Exchanges a secret with the hub in every kind of message, and returns the CONNECT packet that the hub received.
pub(crate) async fn exchange_secret(secret: &str) -> Vec<u8> {
    let (mut connection, mut peer, _server) = connected().await;
    let script = async {
        let request = peer.request(peer::GET).await;
        let twin =
            format!(r#"{{"desired":{{"x":"{secret}","$version":1}},"reported":{{"$version":1}}}}"#);
        peer.answer(&request, "200", "", &twin).await;
        let request = peer.request(peer::REPORT).await;
        peer.answer(&request, "204", "&$version=2", "").await;
        let change = format!(r#"{{"x":"{secret}!","$version":2}}"#);
        let topic = "$iothub/twin/PATCH/properties/desired/?$version=2";
        let change = crate::mqtt::server::publish(0x30, topic, b"", change.as_bytes());
        peer.peer.send(&change).await;
    };
    let device = async {
        let twin = connection.twin().await.unwrap();
        connection
            .report(serde_json::json!({"x": secret}))
            .await
            .unwrap();
        let update = connection.next().await.unwrap();
        tracing::info!(?connection, ?twin, ?update, "exchanged");
    };
    tokio::join!(device, script);
    peer.connect
}
