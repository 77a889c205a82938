//! The packets between a device and its hub, typed from MQTT 3.1.1 and the documentation of IoT Hub.

use dps_device::{DeviceEvent, Message};
use serde_json::json;

use super::device::{Device, Update};
use super::hub;
use crate::mqtt::server::{CONNACK, Server, publish};
use crate::mqtt::{MQTT_KINDS, ManualClock, MqttKind, SECOND, key};
use crate::pki::Pki;
use crate::script::Script;

/// A clock that is an hour before the end of the token in the expected packet.
fn clock() -> ManualClock {
    ManualClock::to(1_700_000_000)
}

#[tokio::test]
async fn a_device_connects_downloads_and_reports_as_documented() {
    for kind in MQTT_KINDS {
        let pki = Pki::new();
        let server = Server::start(*kind, pki.server(false)).await;
        let client = Script::new([]).client().with_clock(clock());
        let hub = client.hub_at(super::HUB.parse().unwrap(), "my-device".parse().unwrap());
        let hub = super::at_server(hub, *kind, &pki, server.port());

        let device = async {
            let mut device = Device::follow(&hub).await;
            let Update::Twin(twin) = device.update().await else {
                panic!("the whole twin is first")
            };
            assert_eq!((twin.desired.version(), twin.reported.version()), (12, 123));
            assert_eq!(twin.desired.get("telemetrySendFrequency").unwrap(), "5m");
            assert_eq!(twin.reported.get("batteryLevel").unwrap(), 55);
            let patch = json!({"telemetrySendFrequency": "35m", "batteryLevel": 60});
            assert_eq!(device.report(&patch).await.unwrap(), 124);
            match device.update().await {
                Update::Desired(change) => {
                    assert_eq!(change.version(), 13);
                    assert_eq!(change.get("route"), Some(&json!(null)));
                    assert_eq!(change.len(), 2);
                }
                other => panic!("{other:?}"),
            }
        };
        let hub = async {
            let mut peer = server.accept().await;
            // Clean session, username, password, a keep-alive of 180 s.
            let connect = [
                b"\x10\x83\x02\x00\x04MQTT\x04\xc2\x00\xb4".as_slice(),
                b"\x00\x09my-device",
                b"\x00\x5fcontoso.azure-devices.net/my-device/?api-version=2021-04-12&DeviceClientType=dps-device%2F0.1.0",
                b"\x00\x8bSharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fmy-device&sig=ltaCkwDUPBVv3tmSVnzwmaPEsW16gNX2qdH%2F1fqL2NQ%3D&se=1700003600",
            ];
            assert_eq!(peer.packet().await, connect.concat());
            peer.send(CONNACK).await;
            let subscribe = b"\x82\x41\x00\x01\x00\x12$iothub/twin/res/#\x01\x00\x27$iothub/twin/PATCH/properties/desired/#\x01";
            assert_eq!(peer.packet().await, subscribe);
            peer.send(b"\x90\x04\x00\x01\x01\x01").await;

            let packet = peer.packet().await;
            let (start, rest) = packet.split_at(27);
            assert_eq!(start, b"\x32\x3b\x00\x37$iothub/twin/GET/?$rid=");
            let (rid, rest) = rest.split_at(32);
            let rid = std::str::from_utf8(rid).unwrap().to_owned();
            assert_eq!(rest, b"\x00\x02");
            peer.send(b"\x40\x02\x00\x02").await;
            let body = br#"{"desired":{"telemetrySendFrequency":"5m","$version":12},"reported":{"telemetrySendFrequency":"5m","batteryLevel":55,"$version":123}}"#;
            let topic = format!("$iothub/twin/res/200/?$rid={rid}");
            peer.send(&publish(0x30, &topic, b"", body)).await;

            let packet = peer.packet().await;
            let (start, rest) = packet.split_at(50);
            assert_eq!(
                start,
                b"\x32\x83\x01\x00\x4d$iothub/twin/PATCH/properties/reported/?$rid="
            );
            let (second, rest) = rest.split_at(32);
            assert_ne!(second, rid.as_bytes(), "every request has its own id");
            assert_eq!(
                rest,
                b"\x00\x03{\"telemetrySendFrequency\":\"35m\",\"batteryLevel\":60}"
            );
            let topic = format!(
                "$iothub/twin/res/204/?$rid={}&$version=124",
                std::str::from_utf8(second).unwrap()
            );
            peer.send(&publish(0x32, &topic, b"\x12\x34", b"")).await;
            assert_eq!(peer.packet().await, b"\x40\x02\x12\x34");

            let body = br#"{"telemetrySendFrequency":"5m","route":null,"$version":13}"#;
            let topic = "$iothub/twin/PATCH/properties/desired/?$version=13";
            peer.send(&publish(0x32, topic, b"\x00\x07", body)).await;
            assert_eq!(peer.packet().await, b"\x40\x02\x00\x07");
            assert_eq!(peer.packet().await, b"\xe0\x00");
            peer.closed().await;
        };
        tokio::join!(device, hub);
    }
}

#[tokio::test]
async fn a_certificate_connects_without_a_password() {
    for kind in MQTT_KINDS {
        let pki = Pki::new();
        let server = Server::start(*kind, pki.server(true)).await;
        let hub = hub(pki.device("my-device"), *kind, &pki, server.port());
        let script = async {
            let mut peer = server.accept().await;
            let connect = [
                b"\x10\x76\x00\x04MQTT\x04\x82\x00\xb4".as_slice(),
                b"\x00\x09my-device",
                b"\x00\x5fcontoso.azure-devices.net/my-device/?api-version=2021-04-12&DeviceClientType=dps-device%2F0.1.0",
            ];
            assert_eq!(peer.packet().await, connect.concat());
            assert_eq!(peer.certificates, 2, "leaf and intermediate");
            peer.send(CONNACK).await;
            peer.subscribe().await;
        };
        let (device, ()) = tokio::join!(Device::connect(&hub), script);
        device.unwrap();
    }
}

#[tokio::test]
async fn the_model_id_is_in_the_username() {
    let pki = Pki::new();
    let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
    let hub = hub(key("my-device"), MqttKind::Mqtt, &pki, server.port())
        .with_model_id("dtmi:com:example:Toaster;1");
    let script = async {
        let connect = super::HubPeer::accept(&server).await.connect;
        let expected =
            b"&DeviceClientType=dps-device%2F0.1.0&model-id=dtmi%3Acom%3Aexample%3AToaster%3B1";
        assert!(connect.windows(expected.len()).any(|part| part == expected));
    };
    let (device, ()) = tokio::join!(Device::connect(&hub), script);
    device.unwrap();
}

#[cfg(feature = "websocket")]
#[tokio::test]
async fn the_websocket_request_is_as_documented() {
    use crate::mqtt::server::header;

    let (hub, server) = super::set_up(MqttKind::WebSocket).await;
    let script = super::HubPeer::accept(&server);
    let (device, peer) = tokio::join!(Device::connect(&hub), script);
    device.unwrap();
    let head = &peer.peer.upgrade;
    assert!(
        head.starts_with("GET /$iothub/websocket HTTP/1.1\r\n"),
        "{head}"
    );
    assert_eq!(header(head, "sec-websocket-protocol"), Some("mqtt"));
}

#[tokio::test]
async fn a_device_sends_and_receives_as_documented() {
    for kind in MQTT_KINDS {
        let (hub, server) = super::set_up(*kind).await;
        let device = async {
            let options = super::device::following().without_twin_events();
            let mut device = Device::connect_with(&hub, options).await.unwrap();
            let message = Message::json(&json!({"t": 21.5}))
                .unwrap()
                .with_message_id("m1")
                .with_property("alert", "no");
            let sent = device.handle.send(message);
            device.events.drive(sent).await.unwrap();
            let mut seen = Vec::new();
            while seen.len() < 2 {
                match device.events.next().await.unwrap() {
                    DeviceEvent::Method(method) => {
                        seen.push(format!(
                            "{} {}",
                            method.name(),
                            method.parse::<u8>().unwrap()
                        ));
                        method.respond(202, json!({"ok": true})).unwrap();
                    }
                    DeviceEvent::Message(message) => {
                        assert_eq!(message.message().property("x"), Some("y"));
                        assert_eq!(message.message().message_id(), Some("c1"));
                        seen.push(String::from_utf8(message.payload().to_vec()).unwrap());
                    }
                    _ => {}
                }
            }
            assert_eq!(seen, ["reboot 7", "hello"]);
            let closed = device.events.drive(device.handle.close(30 * SECOND)).await;
            assert_eq!(closed.not_sent, 0);
        };
        let hub = async {
            let mut peer = server.accept().await;
            peer.packet().await;
            peer.send(CONNACK).await;
            let subscribe = [
                b"\x82\x5b\x00\x01\x00\x12$iothub/twin/res/#\x01".as_slice(),
                b"\x00\x16$iothub/methods/POST/#\x01",
                b"\x00\x28devices/my-device/messages/devicebound/#\x01",
            ];
            assert_eq!(peer.packet().await, subscribe.concat());
            peer.send(b"\x90\x05\x00\x01\x01\x01\x01").await;
            let expected = [
                b"\x32\x6a\x00\x5cdevices/my-device/messages/events/".as_slice(),
                b"%24.ct=application%2Fjson&%24.ce=utf-8&%24.mid=m1&alert=no",
                b"\x00\x02{\"t\":21.5}",
            ];
            assert_eq!(peer.packet().await, expected.concat());
            peer.send(b"\x40\x02\x00\x02").await;
            peer.send(&publish(
                0x32,
                "$iothub/methods/POST/reboot/?$rid=1f",
                b"\x00\x05",
                b"7",
            ))
            .await;
            assert_eq!(peer.packet().await, b"\x40\x02\x00\x05");
            assert_eq!(
                peer.packet().await,
                b"\x32\x2f\x00\x20$iothub/methods/res/202/?$rid=1f\x00\x03{\"ok\":true}"
            );
            peer.send(b"\x40\x02\x00\x03").await;
            let topic = "devices/my-device/messages/devicebound/%24.mid=c1&x=y";
            peer.send(&publish(0x32, topic, b"\x00\x06", b"hello"))
                .await;
            assert_eq!(peer.packet().await, b"\x40\x02\x00\x06");
            assert_eq!(peer.packet().await, b"\xe0\x00");
            peer.closed().await;
        };
        tokio::join!(device, hub);
    }
}
