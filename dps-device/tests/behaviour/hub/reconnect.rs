//! Connections that are refused, lost, silent or out of date.

use std::time::Duration;

use dps_device::{ConnectOptions, DeviceEvent, DeviceState, ErrorKind, HubEndpoint, SymmetricKey};
use dps_types::sas::SasToken;
use futures_util::future::join_all;
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::device::{Device, first_failure, quick};
use super::peer::{GET, HubPeer, twin};
use super::{connected, following, hub, set_up};
use crate::mqtt::connections::skip;
use crate::mqtt::server::{CONNACK, PINGREQ, PINGRESP, Server, publish};
use crate::mqtt::{MQTT_KINDS, MqttKind, SECOND, key};
use crate::pki::Pki;

#[tokio::test]
async fn each_refusal_has_its_kind() {
    for (code, kind) in [
        (1, ErrorKind::Protocol),
        (2, ErrorKind::Rejected),
        (3, ErrorKind::Service),
        (4, ErrorKind::Unauthorized),
        (5, ErrorKind::Unauthorized),
    ] {
        let (hub, server) = set_up(MqttKind::Mqtt).await;
        let script = async {
            let mut peer = server.accept().await;
            peer.packet().await;
            peer.send(&[0x20, 2, 0, code]).await;
            peer.closed().await;
        };
        let (error, ()) = tokio::join!(first_failure(&hub), script);
        assert_eq!(error.kind(), kind, "{code}");
    }
}

fn password(connect: &[u8]) -> SasToken {
    let start = b"SharedAccessSignature";
    let at = connect.windows(start.len()).position(|part| part == start);
    let text = std::str::from_utf8(&connect[at.unwrap()..]).unwrap();
    text.parse().unwrap()
}

#[tokio::test]
async fn the_secondary_key_is_used_after_the_primary_was_refused() {
    let pki = Pki::new();
    let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
    let second = SymmetricKey::from_bytes(vec![7; 64]).unwrap();
    let who = key("my-device").with_secondary(second.clone());
    let hub = hub(who, MqttKind::Mqtt, &pki, server.port());
    let script = async {
        let mut peer = server.accept().await;
        assert!(!password(&peer.packet().await).verify(&second));
        peer.send(b"\x20\x02\x00\x05").await;
        peer.closed().await;
        let peer = HubPeer::accept(&server).await;
        assert!(password(&peer.connect).verify(&second));
        drop(peer);
        let mut peer = HubPeer::accept(&server).await;
        assert!(password(&peer.connect).verify(&second));
        peer.answer_twin(1).await;
    };
    let device = async {
        let mut device = Device::connect(&hub).await.unwrap();
        device.twin().await.unwrap();
    };
    tokio::join!(device, script);
}

#[tokio::test]
async fn an_error_is_returned_if_both_keys_are_refused() {
    let pki = Pki::new();
    let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
    let second = SymmetricKey::from_bytes(vec![7; 64]).unwrap();
    let who = key("my-device").with_secondary(second);
    let hub = hub(who, MqttKind::Mqtt, &pki, server.port());
    let script = async {
        for _ in 0..2 {
            let mut peer = server.accept().await;
            peer.packet().await;
            peer.send(b"\x20\x02\x00\x05").await;
        }
    };
    let (error, ()) = tokio::join!(first_failure(&hub), script);
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
}

#[tokio::test]
async fn a_lost_connection_is_opened_again_and_missed_changes_are_delivered() {
    join_all(MQTT_KINDS.iter().map(|kind| async move {
        let (hub, server) = set_up(*kind).await;
        let device = async {
            let mut device = Device::follow(&hub).await;
            let mut updates = Vec::new();
            for _ in 0..3 {
                updates.push(device.version().await);
            }
            updates
        };
        let script = async {
            let mut peer = HubPeer::accept(&server).await;
            peer.answer_twin(4).await;
            drop(peer);
            // Nothing was missed, so the device reports nothing.
            let mut peer = HubPeer::accept(&server).await;
            peer.answer_twin(4).await;
            peer.change(5).await;
            drop(peer);
            // The connection is lost before the answer.
            let mut peer = HubPeer::accept(&server).await;
            peer.request(GET).await;
            drop(peer);
            let mut peer = HubPeer::accept(&server).await;
            peer.answer_twin(7).await;
            peer
        };
        let (updates, _peer) = tokio::join!(device, script);
        assert_eq!(updates, [(true, 4), (false, 5), (true, 7)]);
    }))
    .await;
}

#[tokio::test]
async fn a_connection_is_replaced_before_its_password_expires() {
    for kind in MQTT_KINDS {
        let (hub, server) = set_up(*kind).await;
        let hub = hub.with_token_lifetime(2 * SECOND);
        let device = async {
            let mut device = Device::follow(&hub).await;
            [device.version().await, device.version().await]
        };
        let script = async {
            let mut old = HubPeer::accept(&server).await;
            old.answer_twin(1).await;
            // It disconnects first, because a hub allows one connection for each device.
            assert_eq!(old.peer.packet().await, b"\xe0\x00");
            old.peer.closed().await;
            let mut new = HubPeer::accept(&server).await;
            assert!(password(&new.connect).expires_at() > password(&old.connect).expires_at());
            new.answer_twin(2).await;
        };
        let (updates, ()) = tokio::join!(device, script);
        assert_eq!(updates, [(true, 1), (true, 2)]);
    }
}

#[tokio::test]
async fn a_password_that_expired_while_nothing_was_polled_is_not_a_failure() {
    let (mut device, mut peer, server) = connected().await;
    let (twin, ()) = tokio::join!(device.twin(), peer.answer_twin(1));
    twin.unwrap();
    // An hour, less a tenth of it.
    skip(54 * 60 + 1).await;
    let script = async {
        let mut new = HubPeer::accept(&server).await;
        peer.peer.closed().await;
        new.answer_twin(1).await;
        new
    };
    let (twin, _new) = tokio::join!(device.twin(), script);
    twin.unwrap();
    while let Ok(event) = timeout(Duration::ZERO, device.events.next()).await {
        let is_failure = matches!(event, Some(DeviceEvent::Failed { .. }));
        assert!(!is_failure, "{event:?}");
    }
}

#[tokio::test]
async fn polling_sends_pings_and_leaves_a_hub_that_does_not_answer_them() {
    let (mut device, mut peer, server) = following().await;
    let script = async {
        tokio::task::yield_now().await;
        for _ in 0..2 {
            skip(181).await;
            assert_eq!(peer.peer.packet().await, PINGREQ);
            peer.peer.send(PINGRESP).await;
            // The acknowledgement of this change, which the device has already, shows that it has read the PINGRESP.
            let topic = "$iothub/twin/PATCH/properties/desired/?$version=1";
            peer.peer
                .send(&publish(0x32, topic, b"\x00\x07", b"{}"))
                .await;
            assert_eq!(peer.peer.packet().await, b"\x40\x02\x00\x07");
        }
        skip(181).await;
        assert_eq!(peer.peer.packet().await, PINGREQ);
        skip(31).await;
        let mut new = HubPeer::accept(&server).await;
        peer.peer.closed().await;
        new.answer_twin(2).await;
    };
    let (update, ()) = tokio::join!(device.version(), script);
    assert_eq!(update, (true, 2));
}

#[tokio::test]
async fn dropping_the_events_sends_disconnect_and_ends_every_call() {
    for kind in MQTT_KINDS {
        let (hub, server) = set_up(*kind).await;
        let (device, mut peer) = tokio::join!(Device::connect(&hub), HubPeer::accept(&server));
        let Device { handle, events } = device.unwrap();
        drop(events);
        assert_eq!(peer.peer.packet().await, b"\xe0\x00");
        peer.peer.closed().await;
        assert_eq!(handle.twin().await.unwrap_err().kind(), ErrorKind::Closed);
        assert_eq!(handle.state(), DeviceState::Disconnected);
    }
}

#[tokio::test]
async fn dropping_the_events_while_it_connects_closes_the_connection() {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let peer = tokio::select! {
        biased;
        _ = Device::connect(&hub) => panic!("the hub has not answered"),
        peer = async {
            let mut peer = server.accept().await;
            peer.packet().await;
            peer
        } => peer,
    };
    peer.closed().await;
}

#[tokio::test]
async fn connecting_continues_after_the_future_was_dropped() {
    let (mut device, peer, server) = following().await;
    drop(peer);
    let device = async {
        loop {
            if let Ok(version) = timeout(Duration::from_millis(1), device.version()).await {
                return version;
            }
        }
    };
    let script = async {
        // Each step takes longer than the caller waits.
        let mut peer = server.accept().await;
        assert_eq!(peer.packet().await[0], 0x10);
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.send(CONNACK).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.subscribe().await;
        let mut peer = HubPeer {
            peer,
            connect: Vec::new(),
        };
        let request = peer.request(GET).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.answer(&request, "200", "", &twin(3)).await;
        peer
    };
    let (version, _peer) = tokio::join!(device, script);
    assert_eq!(version, (true, 3));
}

#[tokio::test]
async fn renew_replaces_the_connection_when_nothing_is_in_progress() {
    let (mut device, mut peer, server) = connected().await;
    let handle = device.handle.clone();
    let script = async {
        let request = peer.request(GET).await;
        handle.renew().await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        peer.answer(&request, "200", "", &twin(1)).await;
        assert_eq!(peer.peer.packet().await, b"\xe0\x00");
        HubPeer::accept(&server).await
    };
    let (twin, _peer) = tokio::join!(
        async {
            let twin = device.twin().await;
            // Until the new connection is there.
            let _ = timeout(SECOND, device.run()).await;
            twin
        },
        script
    );
    twin.unwrap();
    assert_eq!(device.handle.state(), DeviceState::Connected);
}

/// A hub whose port refuses connections.
pub(super) async fn unreachable_hub() -> HubEndpoint {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    hub(key("my-device"), MqttKind::Mqtt, &Pki::new(), port)
        .with_host(std::net::Ipv4Addr::LOCALHOST)
}

#[tokio::test(start_paused = true)]
async fn an_unreachable_hub_is_an_error_after_the_timeout() {
    let hub = unreachable_hub().await;
    for limit in [60, 600] {
        let limit = Duration::from_secs(limit);
        let start = Instant::now();
        let options = ConnectOptions::new().with_request_timeout(limit);
        let (handle, mut events) = hub.connect_with(options);
        let error = events.drive(handle.twin()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert_eq!(error.last_failure().unwrap().kind(), ErrorKind::Connect);
        assert!(error.is_retryable());
        let took = start.elapsed();
        assert!(
            took >= limit && took < limit + SECOND,
            "{took:?} of {limit:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_waits_between_attempts_grow_from_one_second_to_a_minute() {
    let hub = unreachable_hub().await;
    let (_handle, mut events) = hub.connect();
    let mut waits = Vec::new();
    while waits.len() < 9 {
        if let Some(DeviceEvent::Failed { retry_in, .. }) = events.next().await {
            waits.push(retry_in.unwrap().as_secs_f64());
        }
    }
    for (wait, step) in waits.iter().zip([1, 2, 4, 8, 16, 32, 60, 60, 60]) {
        let step = f64::from(step);
        let is_near = (0.79 * step..1.21 * step).contains(wait);
        assert!(is_near, "{waits:?}");
    }
}

#[tokio::test]
async fn a_server_under_another_root_is_a_tls_failure() {
    for kind in MQTT_KINDS {
        let (hub, server) = set_up(*kind).await;
        let hub = hub.with_roots(Pki::new().roots());
        let (error, _) = tokio::join!(first_failure(&hub), server.tls_attempt());
        assert_eq!(error.kind(), ErrorKind::Tls);
    }
}

/// It is not likely to pass by itself, so a request does not wait for it.
#[tokio::test]
async fn a_request_fails_at_once_if_the_hub_is_not_trusted() {
    let (hub, server) = set_up(MqttKind::Mqtt).await;
    let hub = hub.with_roots(Pki::new().roots());
    let (handle, mut events) = hub.connect_with(quick());
    let (twin, _) = tokio::join!(events.drive(handle.twin()), server.tls_attempt());
    assert_eq!(twin.unwrap_err().kind(), ErrorKind::Tls);
    assert_eq!(handle.state(), DeviceState::Retrying);
}
