//! Connections that are lost, at every step, and what the device does then.

use dps_device::{ErrorKind, Event};
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::net::TcpListener;

use super::server::{CONNACK, Peer, SUBACK, Server};
use super::{CARRIERS, Carrier, Running, client, key, set_up};
use crate::pki::Pki;
use crate::script::ASSIGNING;

/// Where a connection is cut.
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

/// Goes on with a device until there, and cuts.
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
async fn a_lost_connection_is_made_again_and_the_operation_goes_on() {
    let cases = CARRIERS
        .iter()
        .flat_map(|carrier| CUTS.map(|at| (*carrier, at)));
    join_all(cases.map(|(carrier, at)| async move {
        let (client, server) = set_up(carrier).await;
        let running = Running::start(&client);
        cut(server.accept().await, at).await;

        // Subscribes again, and never registers twice what the service has taken up.
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
async fn a_loss_is_told() {
    let (client, server) = set_up(Carrier::Mqtt).await;
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
    for carrier in CARRIERS {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let register = client(key("my-device"), *carrier, &pki, port).register();
        let error = register.timeout(super::SECOND).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert_eq!(error.last_failure().unwrap().kind(), ErrorKind::Connect);
    }
}

#[tokio::test]
async fn a_connection_cut_in_the_handshake_is_a_connect_failure() {
    for carrier in CARRIERS {
        let (client, server) = set_up(*carrier).await;
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
    for carrier in CARRIERS {
        let server = Server::start(*carrier, pki.server(false)).await;
        let client = client(key("my-device"), *carrier, &pki, server.port());
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
    for carrier in CARRIERS {
        let server = Server::start(*carrier, pki.server(true)).await;
        let client = client(other.device("my-device"), *carrier, &pki, server.port());
        let running = Running::start(&client);
        assert!(server.tls_attempt().await.is_err());
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tls, "{error:?}");
    }
}
