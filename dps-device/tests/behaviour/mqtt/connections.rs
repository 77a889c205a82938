//! The lifetime of a connection: registration, timeout, token and keep-alive limit it.

use std::time::Duration;

use dps_device::{ErrorKind, Event, RegistrationEvents};
use futures_util::future::join_all;
use tokio::time::{advance, pause, resume};

use super::server::{CONNACK, PINGREQ, PINGRESP, Peer, SUBACK, Server};
use super::{MQTT_KINDS, ManualClock, MqttKind, Running, SECOND, set_up};
use crate::script::ASSIGNING;

/// The step after which the server stops answering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Until {
    Tls,
    ConnAck,
    SubAck,
    Request,
    Poll,
}

const STEPS: [Until; 5] = [
    Until::Tls,
    Until::ConnAck,
    Until::SubAck,
    Until::Request,
    Until::Poll,
];

async fn go(server: &Server, until: Until) -> Peer {
    let mut peer = server.accept().await;
    peer.packet().await;
    if until == Until::Tls {
        return peer;
    }
    peer.send(CONNACK).await;
    peer.packet().await;
    if until == Until::ConnAck {
        return peer;
    }
    peer.send(SUBACK).await;
    let request = peer.registration().await;
    if until == Until::SubAck {
        return peer;
    }
    if until == Until::Request {
        peer.send(&request.acknowledgement()).await;
        return peer;
    }
    peer.answer(&request, "202", "", ASSIGNING).await;
    peer.poll().await;
    peer
}

fn cases() -> impl Iterator<Item = (MqttKind, Until)> {
    MQTT_KINDS
        .iter()
        .flat_map(|kind| STEPS.map(|until| (*kind, until)))
}

#[tokio::test]
async fn a_cancelled_registration_closes_its_connection_at_every_step() {
    join_all(cases().map(|(kind, until)| async move {
        let (client, server) = set_up(kind).await;
        let running = Running::start(&client);
        let peer = go(&server, until).await;
        running.cancel();
        peer.closed().await;
    }))
    .await;
}

#[tokio::test]
async fn a_registration_cancelled_between_polls_sends_disconnect() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let running = Running::start(&client);
        let mut peer = server.session().await;
        let request = peer.registration().await;
        peer.answer(&request, "202", "&retry-after=60", ASSIGNING)
            .await;
        running.cancel();
        assert_eq!(peer.packet().await, b"\xe0\x00");
        peer.closed().await;
    }
}

#[tokio::test]
async fn a_silent_server_ends_at_the_deadline_at_every_step() {
    join_all(cases().map(|(kind, until)| async move {
        let (client, server) = set_up(kind).await;
        let running = Running(tokio::spawn(
            client.register().timeout(3 * SECOND).into_future(),
        ));
        let peer = go(&server, until).await;
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline, "{until:?}");
        peer.closed().await;
    }))
    .await;
}

#[tokio::test]
async fn a_server_without_tls_ends_at_the_deadline() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let register = client.register().timeout(SECOND);
        let (error, _open) = tokio::join!(register.into_future(), server.tcp());
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Deadline);
    }
}

#[tokio::test]
async fn a_silent_connection_is_replaced_after_the_limit_of_a_request() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let running = Running::start(&client.with_request_timeout(2 * SECOND));
    go(&server, Until::Poll).await.closed().await;
    let mut peer = server.session().await;
    let request = peer.poll().await;
    peer.assign(&request).await;
    running.outcome().await.unwrap();
}

async fn until_assigning(registration: &mut RegistrationEvents) {
    while !matches!(registration.next().await, Some(Event::Assigning { .. })) {}
}

/// Connects again, which does not count as a failure.
async fn reconnects(mut registration: RegistrationEvents, server: &Server, old: Peer) {
    let script = async {
        let mut peer = server.session().await;
        old.closed().await;
        let request = peer.poll().await;
        peer.assign(&request).await;
    };
    let events = async {
        assert!(matches!(registration.next().await, Some(Event::Connecting)));
        assert!(matches!(
            registration.next().await,
            Some(Event::Assigned(_))
        ));
    };
    tokio::join!(script, events);
}

#[tokio::test]
async fn a_connection_whose_token_is_about_to_expire_is_not_used_again() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let clock = ManualClock::to(1_000_000);
        let client = client.with_clock(clock.clone());
        let mut registration = client.register().events();
        let script = async {
            let mut peer = server.session().await;
            let request = peer.registration().await;
            peer.answer(&request, "202", "&retry-after=1", ASSIGNING)
                .await;
            peer
        };
        let (peer, ()) = tokio::join!(script, until_assigning(&mut registration));
        clock.set(1_003_541);
        reconnects(registration, &server, peer).await;
    }
}

#[tokio::test]
async fn a_connection_that_was_silent_for_longer_than_the_keep_alive_is_not_used_again() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let register = client.register().timeout(1000 * SECOND);
    let mut registration = register.events();
    let script = async {
        let mut peer = server.session().await;
        let request = peer.registration().await;
        peer.answer(&request, "202", "&retry-after=200", ASSIGNING)
            .await;
        peer
    };
    let (peer, ()) = tokio::join!(script, until_assigning(&mut registration));
    skip(201).await;
    reconnects(registration, &server, peer).await;
}

#[tokio::test]
async fn pings_are_sent_during_a_long_wait() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let client = client.with_request_timeout(Duration::from_secs(900));
    let register = client.register().timeout(Duration::from_secs(1000));
    let running = Running(tokio::spawn(register.into_future()));
    let mut peer = server.session().await;
    let request = peer.registration().await;
    for _ in 0..2 {
        skip(181).await;
        assert_eq!(peer.packet().await, PINGREQ);
        peer.send(PINGRESP).await;
    }
    peer.assign(&request).await;
    running.outcome().await.unwrap();
}

pub(crate) async fn skip(seconds: u64) {
    pause();
    advance(Duration::from_secs(seconds)).await;
    resume();
}

#[tokio::test]
async fn registrations_at_once_have_their_own_connections() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let running = [(); 3].map(|()| Running::start(&client));
        let mut peers = Vec::new();
        for _ in 0..3 {
            let mut peer = server.session().await;
            let request = peer.registration().await;
            peers.push((peer, request));
        }
        for (peer, request) in &mut peers {
            peer.assign(request).await;
        }
        for running in running {
            running.outcome().await.unwrap();
        }
    }
}
