//! The assigned hub: the bytes on the wire, reconnects, and the search for the next hub.

#[cfg(feature = "certificates")]
mod certificates;
mod close;
mod device;
#[cfg(feature = "certificates")]
mod key_places;
mod log;
mod memory;
mod messages;
mod methods;
mod modules;
mod peer;
mod provisioned;
mod queue_file;
mod reconnect;
mod recovery;
mod settings;
mod store;
mod telemetry;
mod token_lifetime;
mod twin;
mod wire;

use dps_device::{Attestation, HubEndpoint, HubTransport, Mqtt, ProvisioningClient};

use crate::mqtt::server::Server;
use crate::mqtt::{MqttKind, key};
use crate::pki::Pki;
use crate::script::Script;
use device::Device;
use peer::HubPeer;

const HUB: &str = "contoso.azure-devices.net";

/// A hub endpoint for a device with a symmetric key, and the server in place of the hub.
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

/// A connected device that asks for everything itself, and its connection as the hub sees it.
async fn connected() -> (Device, HubPeer, Server) {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let (device, peer) = tokio::join!(Device::connect(&hub), HubPeer::accept(&server));
    (device.unwrap(), peer, server)
}

/// A connected device that receives everything except the twin.
async fn receiving() -> (Device, HubPeer, Server) {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let options = device::following().without_twin_events();
    let device = Device::connect_with(&hub, options);
    let (device, peer) = tokio::join!(device, HubPeer::accept(&server));
    (device.unwrap(), peer, server)
}

/// A connected device that follows its twin, whose version is 1.
async fn following() -> (Device, HubPeer, Server) {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let (mut device, mut peer) = tokio::join!(Device::follow(&hub), HubPeer::accept(&server));
    let (version, ()) = tokio::join!(device.version(), peer.answer_twin(1));
    assert_eq!(version, (true, 1));
    (device, peer, server)
}

/// Exchanges a secret with the hub in every kind of message, and returns the CONNECT packet that the hub received.
pub(crate) async fn exchange_secret(secret: &str) -> Vec<u8> {
    use dps_device::{DeviceEvent, Message};

    let (mut device, mut peer, _server) = receiving().await;
    let script = async {
        let request = peer.request(peer::GET).await;
        let twin =
            format!(r#"{{"desired":{{"x":"{secret}","$version":1}},"reported":{{"$version":1}}}}"#);
        peer.answer(&request, "200", "", &twin).await;
        let request = peer.request(peer::REPORT).await;
        peer.answer(&request, "204", "&$version=2", "").await;
        let message = peer.message().await;
        assert_eq!(message.body, secret);
        peer.acknowledge(&message).await;
        peer.method("reboot", "1", secret).await;
        let message = peer.response().await;
        assert_eq!(message.body, format!("{secret:?}"));
        let topic = format!("devices/my-device/messages/devicebound/x={secret}");
        peer.publish(&topic, b"", secret).await;
    };
    let play = async {
        let twin = device.twin().await.unwrap();
        device
            .report(serde_json::json!({"x": secret}))
            .await
            .unwrap();
        let message = Message::new(secret).with_property("x", secret);
        let sent = device.handle.send(message);
        device.events.drive(sent).await.unwrap();
        loop {
            match device.events.next().await.unwrap() {
                DeviceEvent::Method(method) => {
                    tracing::info!(?method, "invoked");
                    method.respond(200, secret).unwrap();
                }
                DeviceEvent::Message(message) => {
                    tracing::info!(?device, ?twin, ?message, "exchanged");
                    break;
                }
                _ => {}
            }
        }
    };
    tokio::join!(play, script);
    peer.connect
}
