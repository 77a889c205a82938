//! Recovery after the failures that a fleet meets. Each test continues until the device has recovered or has stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dps_device::transport::TransportError;
use dps_device::{
    DeviceEvent, DeviceState, ErrorKind, IdentityRecovery, Message, ProvisionedDevice, Recovery,
    SymmetricKey,
};
use dps_types::sas::SasToken;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, timeout};

use super::device::{Device, quick};
use super::hub;
use super::memory::Memory;
use super::peer::{HubPeer, REPORT};
use super::provisioned::{Hubs, NEW, OLD, assert_names, connect};
use crate::mqtt::server::Server;
use crate::mqtt::{ManualClock, MqttKind, SECOND, key};
use crate::pki::Pki;
use crate::script::{REGISTER, Script, answer, assigned, fail_with};

/// The messages that a program sends are not lost when the device moves.
#[tokio::test]
async fn a_device_that_was_deleted_at_its_hub_registers_and_sends_its_queue() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigned()]);
    let memory = Memory::with_hub(OLD);
    let mut device = hubs.device(&dps, memory.clone());
    let delivery = device.handle.enqueue(Message::new("a")).await.unwrap();
    let script = async {
        let mut old = HubPeer::accept(&hubs.server).await;
        old.message().await;
        // The hub closes the connection of a deleted device, and refuses the next one.
        drop(old);
        hubs.refuse(OLD).await;
        let mut new = HubPeer::accept(&hubs.server).await;
        assert_names(&new.connect, NEW);
        let message = new.message().await;
        assert_eq!(message.body, "a");
        new.acknowledge(&message).await;
        new
    };
    let (outcome, _peer) = tokio::join!(device.events.drive(delivery), script);
    outcome.unwrap();
    assert_eq!(dps.asked(), [REGISTER]);
    assert_eq!(memory.hub().as_deref(), Some(NEW));
}

/// DPS refuses the device as long as its enrollment is disabled. Nothing is lost when the operator enables it.
#[tokio::test]
async fn a_device_that_was_disabled_returns_when_it_is_enabled() {
    let hubs = Hubs::new().await;
    let disabled = r#"{"operationId":"4.1","status":"disabled","registrationState":{"registrationId":"my-device","status":"disabled"}}"#;
    let dps = Script::new([answer(200, disabled), answer(200, disabled), assigned()]);
    let mut device = hubs.device(&dps, Memory::with_hub(OLD));
    let delivery = device.handle.enqueue(Message::new("a")).await.unwrap();
    let script = async {
        for _ in 0..3 {
            hubs.refuse(OLD).await;
        }
        let mut new = HubPeer::accept(&hubs.server).await;
        assert_names(&new.connect, NEW);
        let message = new.message().await;
        new.acknowledge(&message).await;
        new
    };
    let (outcome, _peer) = tokio::join!(device.events.drive(delivery), script);
    outcome.unwrap();
    assert_eq!(dps.asked(), [REGISTER; 3]);
}

/// The webhook refuses the first registration.
#[tokio::test]
async fn a_webhook_that_refuses_once_delays_the_device() {
    let hubs = Hubs::new().await;
    let refused = r#"{"operationId":"4.1","status":"failed","registrationState":{"registrationId":"my-device","status":"failed","errorCode":400207,"errorMessage":"Custom allocation failed"}}"#;
    let dps = Script::new([answer(200, refused), assigned()]);
    let device = hubs.provisioned(&dps, Memory::default());
    let mut device = connect(device);
    let script = async {
        let mut peer = HubPeer::accept(&hubs.server).await;
        peer.answer_twin(1).await;
        peer
    };
    let error = device.twin().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Failed);
    let (twin, _peer) = tokio::join!(device.twin(), script);
    twin.unwrap();
    assert_eq!(dps.asked(), [REGISTER, REGISTER]);
}

/// The first key was replaced: hub and device have the second one in common.
#[tokio::test]
async fn a_key_that_was_rotated_leads_to_the_other_key_and_not_to_a_registration() {
    let hubs = Hubs::new().await;
    let dps = Script::new([]);
    let second = SymmetricKey::from_bytes(vec![7; 64]).unwrap();
    let who = key("my-device").with_secondary(second.clone());
    let scope = "0ne00111111".parse().unwrap();
    let client = dps_device::ProvisioningClient::new(scope, who, dps.clone());
    let (roots, port) = (hubs.pki.roots(), hubs.server.port());
    let device = ProvisionedDevice::new(client, Memory::with_hub(OLD)).with_hub(move |hub| {
        hub.with_host(dps_device::Host::LOCALHOST)
            .with_roots(roots.clone())
            .with_transport(super::transport(MqttKind::Mqtt, port))
    });
    let mut device = connect(device);
    let script = async {
        let mut peer = HubPeer::accept(&hubs.server).await;
        peer.answer_twin(1).await;
        drop(peer);
        // The operator replaces the first key.
        hubs.refuse(OLD).await;
        let mut peer = HubPeer::accept(&hubs.server).await;
        let text = String::from_utf8_lossy(&peer.connect).into_owned();
        let token = &text[text.find("SharedAccessSignature").unwrap()..];
        let token: SasToken = token.parse().unwrap();
        assert!(token.verify(&second));
        peer.answer_twin(2).await;
        peer
    };
    let play = async {
        device.twin().await.unwrap();
        device.twin().await.unwrap();
    };
    let ((), _peer) = tokio::join!(play, script);
    assert_eq!(dps.asked(), [""; 0]);
}

/// The cached assignment names a hub in which the device does not exist.
#[tokio::test]
async fn a_cached_assignment_that_is_wrong_is_replaced() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigned()]);
    let memory = Memory::with_hub("wrong.azure-devices.net");
    let mut device = hubs.device(&dps, memory.clone());
    let script = async {
        hubs.refuse("wrong.azure-devices.net").await;
        hubs.accept(NEW).await
    };
    let (twin, _peer) = tokio::join!(device.twin(), script);
    twin.unwrap();
    assert_eq!(memory.hub().as_deref(), Some(NEW));
}

/// A token of yesterday is refused by hub and DPS. The device continues when its clock is set.
#[tokio::test]
async fn a_device_recovers_from_a_clock_that_is_wrong_by_a_day() {
    const NOW: u64 = 1_700_000_000;
    let hubs = Hubs::new().await;
    let dps = Script::new([
        fail_with(|| TransportError::new(ErrorKind::Unauthorized, "the token has expired")),
        assigned(),
    ]);
    let clock = ManualClock::to(NOW - 86_400);
    let client = dps
        .client()
        .with_min_poll_interval(Duration::ZERO)
        .with_clock(clock.clone());
    let (roots, port) = (hubs.pki.roots(), hubs.server.port());
    let device = ProvisionedDevice::new(client, Memory::with_hub(OLD)).with_hub(move |hub| {
        hub.with_host(dps_device::Host::LOCALHOST)
            .with_roots(roots.clone())
            .with_transport(super::transport(MqttKind::Mqtt, port))
    });
    let mut device = connect(device);
    let expires_at = |connect: &[u8]| {
        let text = String::from_utf8_lossy(connect).into_owned();
        let end = text.rsplit("se=").next().unwrap().to_owned();
        end.parse::<u64>().unwrap()
    };
    let script = async {
        let mut peer = hubs.server.accept().await;
        assert!(expires_at(&peer.packet().await) < NOW);
        peer.send(b"\x20\x02\x00\x05").await;
        peer.closed().await;
        // The clock is set while DPS refuses the device.
        let mut peer = hubs.server.accept().await;
        peer.packet().await;
        clock.set(NOW);
        peer.send(b"\x20\x02\x00\x05").await;
        peer.closed().await;
        let mut peer = HubPeer::accept(&hubs.server).await;
        assert!(expires_at(&peer.connect) > NOW);
        peer.answer_twin(1).await;
        peer
    };
    let play = async {
        loop {
            match device.twin().await {
                Ok(_) => return,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unauthorized),
            }
        }
    };
    let ((), _peer) = tokio::join!(play, script);
}

/// The hub is down for an hour, and DPS names the same hub. Messages that were enqueued in the meantime are sent afterwards.
#[tokio::test(start_paused = true)]
async fn a_hub_that_is_down_for_an_hour_causes_few_lookups_and_loses_no_message() {
    let pki = Pki::new();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let dps = Script::forever(assigned());
    let memory = Memory::with_hub(NEW);
    let device = ProvisionedDevice::new(dps.client(), memory)
        .with_options(quick().with_recovery(Recovery::new()))
        .with_hub({
            let roots = pki.roots();
            move |hub| {
                hub.with_host(std::net::Ipv4Addr::LOCALHOST)
                    .with_roots(roots.clone())
                    .with_transport(super::transport(MqttKind::Mqtt, port))
            }
        });
    let (handle, events) = device.connect();
    let mut device = Device { handle, events };
    let mut delivery = device.handle.enqueue(Message::new("a")).await.unwrap();
    let start = Instant::now();
    let hour = timeout(
        Duration::from_secs(3600),
        device.events.drive(&mut delivery),
    )
    .await;
    assert!(hour.is_err());
    assert!(start.elapsed() >= Duration::from_secs(3600));
    // After 15 to 30 minutes each.
    let asked = dps.asked().len();
    assert!((1..=4).contains(&asked), "{asked}");
    assert_eq!(device.handle.state(), DeviceState::Retrying);
    assert_eq!(device.handle.queued(), 1);
    let mut failures = 0;
    while let Ok(Some(event)) = timeout(Duration::ZERO, device.events.next()).await {
        failures += usize::from(matches!(event, DeviceEvent::Failed { .. }));
    }
    assert!(failures > 10, "{failures}");

    // The hub is back before the next attempt, which comes after 72 seconds at most.
    let server = Server::start_at(port, MqttKind::Mqtt, pki.server_at_address()).await;
    let later = device.handle.enqueue(Message::new("b")).await.unwrap();
    tokio::time::advance(Duration::from_secs(72)).await;
    tokio::time::resume();
    let script = async {
        let mut peer = HubPeer::accept(&server).await;
        for expected in ["a", "b"] {
            let message = peer.message().await;
            assert_eq!(message.body, expected);
            peer.acknowledge(&message).await;
        }
        peer
    };
    let delivered = async { (delivery.await, later.await) };
    let (delivered, _peer) = tokio::join!(device.events.drive(delivered), script);
    assert!(delivered.0.is_ok() && delivered.1.is_ok(), "{delivered:?}");
}

/// A proxy that closes each connection after this number of reads, as a network that drops packets does.
async fn lossy(port: u16, every: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    let packets = Arc::new(AtomicUsize::new(0));
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let packets = Arc::clone(&packets);
            tokio::spawn(async move {
                let server = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let (mut up, mut down) = ([0; 512], [0; 512]);
                loop {
                    tokio::select! {
                        length = from_client.read(&mut up) => match length? {
                            0 => break,
                            length => to_server.write_all(&up[..length]).await?,
                        },
                        length = from_server.read(&mut down) => match length? {
                            0 => break,
                            length => to_client.write_all(&down[..length]).await?,
                        },
                    }
                    if packets.fetch_add(1, Ordering::Relaxed) % every == every - 1 {
                        break;
                    }
                }
                Ok::<_, std::io::Error>(())
            });
        }
    });
    own
}

/// A hub that acknowledges every message, and the bodies that it has received.
async fn acknowledging(server: &Server, received: &std::sync::Mutex<Vec<String>>) {
    loop {
        let Ok(mut stream) = server.tls_attempt().await else {
            continue;
        };
        let serve = async {
            loop {
                let mut header = [0; 2];
                stream.read_exact(&mut header).await?;
                let mut length = usize::from(header[1] & 0x7f);
                if header[1] > 127 {
                    length += usize::from(stream.read_u8().await?) << 7;
                }
                let mut body = vec![0; length];
                stream.read_exact(&mut body).await?;
                match header[0] {
                    0x10 => stream.write_all(b"\x20\x02\x00\x00").await?,
                    0x82 => stream.write_all(b"\x90\x03\x00\x01\x01").await?,
                    0x32 => {
                        let topic = usize::from(u16::from_be_bytes([body[0], body[1]]));
                        let id = &body[2 + topic..4 + topic];
                        let text = String::from_utf8_lossy(&body[4 + topic..]).into_owned();
                        received.lock().unwrap().push(text);
                        stream.write_all(&[0x40, 2, id[0], id[1]]).await?;
                    }
                    _ => {}
                }
                stream.flush().await?;
            }
        };
        let _: Result<(), std::io::Error> = serve.await;
    }
}

#[tokio::test]
async fn no_message_is_lost_in_a_network_that_drops_every_nth_packet() {
    const MESSAGES: usize = 200;
    let pki = Pki::new();
    let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
    let port = lossy(server.port(), 37).await;
    let hub = hub(key("my-device"), MqttKind::Mqtt, &pki, port);
    let options = quick().with_max_in_flight(8);
    let (handle, events) = hub.connect_with(options);
    let mut device = Device { handle, events };
    let received = std::sync::Mutex::new(Vec::new());
    let sending = async {
        let mut deliveries = Vec::new();
        for number in 0..MESSAGES {
            let message = Message::new(number.to_string());
            deliveries.push(device.handle.enqueue(message).await.unwrap());
        }
        for delivery in deliveries {
            device.events.drive(delivery).await.unwrap();
        }
    };
    tokio::select! {
        () = sending => {}
        () = acknowledging(&server, &received) => {}
    }
    let received: Vec<usize> = received
        .lock()
        .unwrap()
        .iter()
        .map(|body| body.parse().unwrap())
        .collect();
    // Without the second copies they are complete and in order.
    let mut first_copies = Vec::new();
    for number in &received {
        if !first_copies.contains(number) {
            first_copies.push(*number);
        }
    }
    assert_eq!(first_copies, (0..MESSAGES).collect::<Vec<_>>());
    assert!(received.len() < 2 * MESSAGES, "{}", received.len());
}

#[tokio::test]
async fn never_ends_the_connection_with_the_refusal() {
    let hubs = Hubs::new().await;
    let dps = Script::new([]);
    let recovery = Recovery::new().with_identity(IdentityRecovery::Never);
    let device = hubs
        .provisioned(&dps, Memory::with_hub(OLD))
        .with_options(quick().with_recovery(recovery));
    let (handle, mut events) = device.connect();
    let delivery = handle.enqueue(Message::new("a")).await.unwrap();
    let ending = async {
        let mut last = None;
        while let Some(event) = events.next().await {
            last = Some(event);
        }
        last
    };
    let (last, ()) = tokio::join!(ending, hubs.refuse(OLD));
    let Some(DeviceEvent::Failed {
        error,
        retry_in: None,
        ..
    }) = last
    else {
        panic!("{last:?}")
    };
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(
        handle.twin().await.unwrap_err().kind(),
        ErrorKind::Unauthorized
    );
    assert_eq!(delivery.await.unwrap_err().kind(), ErrorKind::Unauthorized);
    assert_eq!(handle.state(), DeviceState::Disconnected);
}

#[tokio::test]
async fn retry_hub_tries_the_same_hub_up_to_the_limit() {
    let hubs = Hubs::new().await;
    let dps = Script::new([]);
    let recovery = Recovery::new()
        .with_waits(Duration::ZERO, Duration::ZERO)
        .with_identity(IdentityRecovery::RetryHub)
        .with_max_refusals(2);
    let device = hubs
        .provisioned(&dps, Memory::with_hub(OLD))
        .with_options(quick().with_recovery(recovery));
    let (handle, mut events) = device.connect();
    let script = async {
        for _ in 0..2 {
            hubs.refuse(OLD).await;
        }
    };
    let ending = async { while events.next().await.is_some() {} };
    tokio::join!(ending, script);
    let error = handle.report(json!({"on": 1})).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert_eq!(dps.asked(), [""; 0]);
}

/// A hub that accepts the connection but not the device's requests is a refusal as well.
#[tokio::test]
async fn registrations_stop_at_the_limit() {
    let hubs = Hubs::new().await;
    let dps = Script::forever(answer(404, r#"{"errorCode":404201}"#));
    let recovery = Recovery::new().with_max_refusals(3);
    let device = hubs
        .provisioned(&dps, Memory::default())
        .with_options(quick().with_recovery(recovery));
    let (handle, mut events) = device.connect();
    while events.next().await.is_some() {}
    assert_eq!(dps.asked().len(), 3);
    let error = handle.twin().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

/// The credentials are renewed every half second, and nothing is sent twice or lost.
#[tokio::test]
async fn no_message_is_lost_or_sent_twice_when_the_password_is_renewed() {
    let pki = Pki::new();
    let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
    let hub =
        hub(key("my-device"), MqttKind::Mqtt, &pki, server.port()).with_token_lifetime(SECOND);
    let (handle, events) = hub.connect_with(quick());
    let mut device = Device { handle, events };
    let received = std::sync::Mutex::new(Vec::new());
    let sending = async {
        for number in 0..40 {
            let message = Message::new(number.to_string());
            let sent = device.handle.send(message);
            device.events.drive(sent).await.unwrap();
            let pause = tokio::time::sleep(Duration::from_millis(50));
            device.events.drive(pause).await;
        }
    };
    tokio::select! {
        () = sending => {}
        () = acknowledging(&server, &received) => {}
    }
    let expected: Vec<_> = (0..40).map(|number| number.to_string()).collect();
    assert_eq!(*received.lock().unwrap(), expected);
}

#[tokio::test]
async fn a_request_that_the_hub_refuses_moves_with_the_device() {
    let hubs = Hubs::new().await;
    let dps = Script::new([assigned()]);
    let mut device = hubs.device(&dps, Memory::with_hub(OLD));
    let script = async {
        let mut old = HubPeer::accept(&hubs.server).await;
        let request = old.request(REPORT).await;
        old.answer(&request, "404", "", "").await;
        let mut new = HubPeer::accept(&hubs.server).await;
        assert_names(&new.connect, NEW);
        let request = new.request(REPORT).await;
        // The new hub refuses it as well: it is an error of the request.
        new.answer(&request, "404", "", "").await;
        new
    };
    let (report, _peer) = tokio::join!(device.report(json!({"on": 1})), script);
    assert_eq!(report.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(dps.asked(), [REGISTER]);
}
