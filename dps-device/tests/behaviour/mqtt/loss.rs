//! Connections that are lost at every step.

use dps_device::{ErrorKind, Event};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::net::TcpListener;

use super::server::{CONNACK, Peer, SUBACK, Server};
use super::{MQTT_KINDS, MqttKind, Running, client, key, set_up};
use crate::first_failure::first_failure;
use crate::pki::Pki;
use crate::script::ASSIGNING;

/// The step at which a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Cut {
    Connect,
    ConnAck,
    SubAck,
    Registration,
    RegistrationAcknowledged,
    Assigning,
    Poll,
    PollAcknowledged,
}

const CUTS: [Cut; 8] = [
    Cut::Connect,
    Cut::ConnAck,
    Cut::SubAck,
    Cut::Registration,
    Cut::RegistrationAcknowledged,
    Cut::Assigning,
    Cut::Poll,
    Cut::PollAcknowledged,
];

/// Runs a device to this step, and closes the connection.
async fn cut(mut peer: Peer, cut: Cut) {
    peer.packet().await;
    if cut == Cut::Connect {
        return;
    }
    peer.send(CONNACK).await;
    peer.packet().await;
    if cut == Cut::ConnAck {
        return;
    }
    peer.send(SUBACK).await;
    if cut == Cut::SubAck {
        return;
    }
    let request = peer.registration().await;
    if cut == Cut::Registration {
        return;
    }
    if cut == Cut::RegistrationAcknowledged {
        return peer.send(&request.acknowledgement()).await;
    }
    peer.answer(&request, "202", "", ASSIGNING).await;
    if cut == Cut::Assigning {
        return;
    }
    let request = peer.poll().await;
    if cut == Cut::PollAcknowledged {
        peer.send(&request.acknowledgement()).await;
    }
}

#[tokio::test]
async fn a_lost_connection_is_replaced_and_the_operation_continues() {
    let cases = MQTT_KINDS
        .iter()
        .flat_map(|kind| CUTS.map(|at| (*kind, at)));
    join_all(cases.map(|(kind, at)| async move {
        let (client, server) = set_up(kind).await;
        let running = Running::start(&client);
        cut(server.accept().await, at).await;

        // It subscribes again, and does not register an operation twice.
        let mut peer = server.session().await;
        if at < Cut::Assigning {
            let request = peer.registration().await;
            peer.answer(&request, "202", "", ASSIGNING).await;
        }
        let request = peer.poll().await;
        peer.assign(&request).await;
        running.outcome().await.unwrap();
        peer.closed().await;
    }))
    .await;
}

#[tokio::test]
async fn a_lost_connection_is_reported() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let script = async {
        cut(server.accept().await, Cut::Poll).await;
        let mut peer = server.session().await;
        let request = peer.poll().await;
        peer.assign(&request).await;
    };
    let events = client.register().events().collect::<Vec<_>>();
    let (events, ()) = tokio::join!(events, script);
    match &events[..] {
        [
            Event::Connecting,
            Event::Registering,
            Event::Assigning { .. },
            Event::Retrying { error, .. },
            Event::Connecting,
            Event::Assigned(_),
        ] => assert_eq!(error.kind(), ErrorKind::Connect),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_refused_connection_is_a_connect_failure() {
    let pki = Pki::new();
    for kind in MQTT_KINDS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let error = first_failure(&client(key("my-device"), *kind, &pki, port)).await;
        assert_eq!(error.kind(), ErrorKind::Connect, "{error:?}");
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_handshake_is_a_connect_failure() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let running = Running::start(&client);
        drop(server.tcp().await);
        let mut peer = server.session().await;
        let request = peer.registration().await;
        peer.assign(&request).await;
        running.outcome().await.unwrap();
    }
}

#[tokio::test]
async fn a_server_under_another_root_or_name_is_a_tls_failure() {
    let (pki, other) = (Pki::new(), Pki::new());
    for kind in MQTT_KINDS {
        let server = Server::start(*kind, pki.server(false)).await;
        let client = client(key("my-device"), *kind, &pki, server.port());
        for client in [
            client.clone().with_roots(other.roots()),
            client.with_host(std::net::Ipv4Addr::LOCALHOST),
        ] {
            let running = Running::start(&client);
            drop(server.tls_attempt().await);
            let error = running.outcome().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
            assert!(!error.is_retryable());
        }
    }
}

#[tokio::test]
async fn a_certificate_that_the_server_does_not_trust_is_a_tls_failure() {
    let (pki, other) = (Pki::new(), Pki::new());
    for kind in MQTT_KINDS {
        let server = Server::start(*kind, pki.server(true)).await;
        let client = client(other.device("my-device"), *kind, &pki, server.port());
        let running = Running::start(&client);
        assert!(server.tls_attempt().await.is_err());
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    }
}
