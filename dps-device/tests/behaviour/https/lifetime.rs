//! A connection lives as long as its registration.

use dps_device::Event;

use super::client;
use super::server::{Answer, Seen, Server, json as answer};
use crate::pki::Pki;
use crate::script::{ASSIGNED, ASSIGNING};

const PENDING: &str = "Retry-After: 60\r\n";

#[tokio::test]
async fn the_connection_is_closed_after_the_assignment() {
    let pki = Pki::new();
    let mut server = Server::start(pki.server(false), [answer(200, "", ASSIGNED)]).await;
    let client = client(&pki, &server);
    client.register().await.unwrap();
    server.request().await;
    server.closed().await;
    drop(client);
}

#[tokio::test]
async fn dropping_a_registration_between_polls_closes_its_connection() {
    let pki = Pki::new();
    let mut server = Server::start(pki.server(false), [answer(202, PENDING, ASSIGNING)]).await;
    let mut registration = client(&pki, &server).register().events();
    while !matches!(registration.next().await, Some(Event::Assigning { .. })) {}
    server.request().await;
    drop(registration);
    server.closed().await;
}

#[tokio::test]
async fn dropping_a_registration_in_a_request_closes_its_connection() {
    let pki = Pki::new();
    let mut server = Server::start(pki.server(false), [Answer::Silence]).await;
    let register = client(&pki, &server).register().into_future();
    tokio::select! {
        outcome = register => panic!("{outcome:?}"),
        _ = server.request() => {}
    }
    server.closed().await;
}

#[tokio::test]
async fn registrations_at_once_have_their_own_connections() {
    let pki = Pki::new();
    let answers = (0..3).map(|_| answer(200, "", ASSIGNED));
    let mut server = Server::start(pki.server(false), answers).await;
    let client = client(&pki, &server);
    let (one, two, three) = tokio::join!(
        client.register().into_future(),
        client.register().into_future(),
        client.register().into_future()
    );
    for outcome in [one, two, three] {
        outcome.unwrap();
    }
    let mut closed = 0;
    while closed < 3 {
        if let Seen::Closed(_) = server.next().await {
            closed += 1;
        }
    }
}
