//! Module identities: client id, username, token and topics.

use dps_device::{DeviceEvent, Message, SymmetricKey, SymmetricKeyAttestation};
use dps_types::sas::SasToken;

use super::device::{Device, following};
use super::peer::HubPeer;
use super::set_up;
use crate::mqtt::MqttKind;

#[tokio::test]
async fn a_module_connects_with_its_own_key_and_topics() {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let key = SymmetricKey::from_bytes(vec![9; 64]).unwrap();
    let credentials = SymmetricKeyAttestation::new("unused".parse().unwrap(), key.clone());
    let hub = hub.with_module("mod#1".parse().unwrap(), credentials);
    assert_eq!(hub.client_id(), "my-device/mod#1");
    assert_eq!(hub.message_filter(), "devices/my-device/modules/mod%231/#");
    let username = hub.username();
    assert!(
        username.starts_with("contoso.azure-devices.net/my-device/mod#1/?api-version=2021-04-12"),
        "{username}"
    );
    let password = hub.password().await.unwrap().unwrap();
    let token: SasToken = password.reveal().parse().unwrap();
    assert_eq!(
        token.resource(),
        "contoso.azure-devices.net/devices/my-device/modules/mod#1"
    );
    assert!(token.verify(&key));

    let device = async {
        let options = following().without_twin_events();
        let mut device = Device::connect_with(&hub, options).await.unwrap();
        let message = Message::new("1").with_output("out");
        let sent = device.handle.send(message);
        device.events.drive(sent).await.unwrap();
        loop {
            if let DeviceEvent::Message(message) = device.events.next().await.unwrap() {
                assert_eq!(message.input(), Some("in/1"));
                assert_eq!(message.message().property("a"), Some("b"));
                break;
            }
        }
    };
    let script = async {
        let mut peer = HubPeer::accept(&server).await;
        let id = b"my-device/mod#1";
        assert!(peer.connect.windows(id.len()).any(|part| part == id));
        let message = peer.message().await;
        assert_eq!(
            message.topic,
            "devices/my-device/modules/mod%231/messages/events/%24.on=out"
        );
        peer.acknowledge(&message).await;
        let topic = "devices/my-device/modules/mod%231/inputs/in%2F1/a=b";
        peer.publish(topic, b"\x00\x09", "hello").await;
        peer
    };
    let ((), _peer) = tokio::join!(device, script);
}
