//! The assigned hub: what goes over the wire there, byte for byte, and how a device finds its way back.

mod memory;
mod peer;
mod provisioned;
mod reconnect;
mod settings;
mod store;
mod twin;
mod wire;

use dps_device::{Attestation, HubEndpoint, HubTransport, Mqtt, ProvisioningClient};

use crate::mqtt::server::Server;
use crate::mqtt::{MqttKind, key};
use crate::pki::Pki;
use crate::script::Script;
use peer::HubPeer;

const HUB: &str = "contoso.azure-devices.net";

/// A device with a symmetric key, and a hub for it.
async fn set_up(carrier: MqttKind) -> (HubEndpoint, Server) {
    let pki = Pki::new();
    let server = Server::start(carrier, pki.server(false)).await;
    (hub(key("my-device"), carrier, &pki, server.port()), server)
}

/// Aimed at the port, and in a hurry.
fn hub(who: impl Attestation + 'static, carrier: MqttKind, pki: &Pki, port: u16) -> HubEndpoint {
    let scope = "0ne00111111".parse().unwrap();
    let client = ProvisioningClient::new(scope, who, Script::new([]))
        .with_min_poll_interval(std::time::Duration::ZERO);
    let hub = client.hub_at(HUB.parse().unwrap(), "my-device".parse().unwrap());
    connecting_to(hub, carrier, pki, port)
}

fn connecting_to(hub: HubEndpoint, carrier: MqttKind, pki: &Pki, port: u16) -> HubEndpoint {
    hub.with_host(dps_device::Host::LOCALHOST)
        .with_roots(pki.roots())
        .with_transport(over(carrier, port))
}

fn over(carrier: MqttKind, port: u16) -> HubTransport {
    match carrier {
        MqttKind::Mqtt => Mqtt::default().with_port(port).into(),
        #[cfg(feature = "websocket")]
        MqttKind::WebSocket => dps_device::MqttWebSocket::default().with_port(port).into(),
        #[cfg(not(feature = "websocket"))]
        MqttKind::WebSocket => unreachable!(),
    }
}

/// A device that is connected, and its hub.
async fn connected() -> (dps_device::HubConnection, HubPeer, Server) {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let (connection, peer) = tokio::join!(hub.connect(), HubPeer::accept(&server));
    (connection.unwrap(), peer, server)
}

/// A talk about a secret; gives back the CONNECT that the hub saw.
pub(crate) async fn talked_about(secret: &str) -> Vec<u8> {
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
        tracing::info!(?connection, ?twin, ?update, "talked");
    };
    tokio::join!(device, script);
    peer.connect
}
