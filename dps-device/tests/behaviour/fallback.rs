//! `Fallback`: the transport that is used, and the error when all fail.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dps_device::attestation::Proof;
use dps_device::transport::{Reply, Session, Target, TransportError};
use dps_device::{
    ErrorKind, Event, Fallback, ProvisioningClient, SymmetricKey, SymmetricKeyAttestation,
    Transport,
};
use dps_hardware::SoftwareTpm;
use dps_types::{OperationId, RegistrationRequest};
use futures_util::StreamExt;
use tokio::time::Instant;

use crate::hub_key::assigned_with_hub_key;
use crate::script::{KEY, POLL, REGISTER, Script, Step, answer, assert_wait, assigned, assigning};

/// A transport that never opens: it fails with this kind, or never returns.
#[derive(Debug, Clone)]
struct Unreachable(Option<ErrorKind>, Arc<AtomicUsize>);

impl Unreachable {
    fn failing(kind: ErrorKind) -> Self {
        Self(Some(kind), Arc::default())
    }

    fn silent() -> Self {
        Self(None, Arc::default())
    }

    fn tries(&self) -> usize {
        self.1.load(Ordering::Relaxed)
    }
}

#[async_trait]
impl Transport for Unreachable {
    async fn open<'a>(
        &'a self,
        _: &'a Target,
        _: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        self.1.fetch_add(1, Ordering::Relaxed);
        match self.0 {
            Some(kind) => Err(TransportError::new(kind, "it is unreachable")
                .with_source(std::io::Error::other("by a wall"))),
            None => std::future::pending().await,
        }
    }
}

/// A transport whose sessions are stale after each request.
#[derive(Debug, Clone)]
struct ShortLived(Script);

struct StaleSession<'a>(Box<dyn Session + 'a>);

#[async_trait]
impl Transport for ShortLived {
    async fn open<'a>(
        &'a self,
        target: &'a Target,
        proof: Proof<'a>,
    ) -> Result<Box<dyn Session + 'a>, TransportError> {
        Ok(Box::new(StaleSession(self.0.open(target, proof).await?)))
    }
}

#[async_trait]
impl Session for StaleSession<'_> {
    async fn register(&mut self, body: &RegistrationRequest) -> Result<Reply, TransportError> {
        self.0.register(body).await
    }

    async fn status(&mut self, operation: &OperationId) -> Result<Reply, TransportError> {
        self.0.status(operation).await
    }

    fn is_stale(&self) -> bool {
        true
    }
}

fn client(transport: Fallback) -> ProvisioningClient {
    let key = SymmetricKey::from_base64(KEY).unwrap();
    let who = SymmetricKeyAttestation::new("my-device".parse().unwrap(), key);
    ProvisioningClient::new("0ne00111111".parse().unwrap(), who, transport)
}

#[tokio::test(start_paused = true)]
async fn the_next_transport_is_used_when_one_fails_to_connect() {
    for kind in [
        ErrorKind::Connect,
        ErrorKind::Tls,
        ErrorKind::Protocol,
        ErrorKind::Unsupported,
    ] {
        let (unreachable, open) = (
            Unreachable::failing(kind),
            Script::new([assigning(), assigned()]),
        );
        let client = client(Fallback::new(unreachable.clone()).or(open.clone()));
        let events: Vec<_> = client.register().events().collect().await;
        assert!(
            matches!(
                &events[..],
                [
                    Event::Connecting,
                    Event::Registering,
                    Event::Assigning { .. },
                    Event::Assigned(_)
                ]
            ),
            "{events:?}"
        );
        assert_eq!(open.asked(), [REGISTER, POLL]);
        assert_eq!(open.sessions_opened(), 1);
        assert_eq!(unreachable.tries(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_transport_that_works_is_the_only_one_used() {
    let (open, other) = (Script::new([assigned()]), Script::new([]));
    client(Fallback::new(open).or(other.clone()))
        .register()
        .await
        .unwrap();
    assert_eq!(other.sessions_opened(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_silent_transport_has_its_share_of_a_request_and_no_more() {
    for (request_timeout, share) in [(30, 6.0), (4, 0.8), (300, 10.0)] {
        let open = Script::new([assigned()]);
        let transport = Fallback::new(Unreachable::silent())
            .or(Unreachable::silent())
            .or(open.clone());
        let client = client(transport).with_request_timeout(Duration::from_secs(request_timeout));
        let start = Instant::now();
        client.register().await.unwrap();
        let took = start.elapsed().as_secs_f64();
        assert!(
            (took - 2.0 * share).abs() < 0.1,
            "{took} s of {request_timeout} s"
        );
        assert_eq!(open.asked(), [REGISTER]);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_the_service_is_final() {
    for kind in [
        ErrorKind::Unauthorized,
        ErrorKind::Rejected,
        ErrorKind::Signing,
        ErrorKind::InvalidConfiguration,
    ] {
        let other = Script::new([]);
        let transport = Fallback::new(Unreachable::failing(kind)).or(other.clone());
        let error = client(transport).register().await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(other.sessions_opened(), 0);
    }
    let (refusing, other) = (Script::new([answer(401, "{}")]), Script::new([]));
    let transport = Fallback::new(refusing).or(other.clone());
    let error = client(transport).register().await.unwrap_err();
    assert_eq!(error.status(), Some(401));
    assert_eq!(other.sessions_opened(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_failures_of_all_are_kept() {
    let transport = Fallback::new(Unreachable::failing(ErrorKind::Tls))
        .or(Unreachable::silent())
        .or(Script::forever(Step::Fail(ErrorKind::Connect)));
    let error = client(transport).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    let failure = error.last_failure().unwrap();
    assert_eq!(failure.kind(), ErrorKind::Connect);
    assert_eq!(failure.to_string(), "all transports failed");
    let reasons = failure.source().unwrap().to_string();
    for reason in [
        "Unreachable: it is unreachable: by a wall",
        "Unreachable: there was no connection within 6s",
        "Script: the script fails here",
    ] {
        assert!(reasons.contains(reason), "{reasons}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_failures_are_kept_when_all_are_silent() {
    let transport = Fallback::new(Unreachable::silent())
        .or(Unreachable::silent())
        .or(Script::forever(Step::Silence));
    let error = client(transport).register().await.unwrap_err();
    let failure = error.last_failure().unwrap();
    let reasons = failure.source().unwrap().to_string();
    assert_eq!(
        reasons.matches("there was no connection within 6s").count(),
        2
    );
    assert!(
        reasons.contains("Script: there was no answer in time"),
        "{reasons}"
    );
}

#[tokio::test(start_paused = true)]
async fn permanent_failures_are_not_retried() {
    for (kinds, kind) in [
        ([ErrorKind::Tls, ErrorKind::Unsupported], ErrorKind::Tls),
        ([ErrorKind::Protocol, ErrorKind::Tls], ErrorKind::Tls),
        (
            [ErrorKind::Unsupported, ErrorKind::Protocol],
            ErrorKind::Protocol,
        ),
        (
            [ErrorKind::Unsupported, ErrorKind::Unsupported],
            ErrorKind::Unsupported,
        ),
    ] {
        let [first, second] = kinds.map(Unreachable::failing);
        let transport = Fallback::new(first).or(second.clone());
        let error = client(transport).register().await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert_eq!(second.tries(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn the_transport_that_worked_is_tried_first_the_next_time() {
    let unreachable = Unreachable::silent();
    let open = Script::new([
        assigning(),
        Step::Fail(ErrorKind::Connect),
        assigned(),
        assigned(),
    ]);
    let client = client(Fallback::new(unreachable.clone()).or(open.clone()));
    client.register().await.unwrap();
    client.register().await.unwrap();
    assert_eq!(unreachable.tries(), 1);
    assert_eq!(open.asked(), [REGISTER, POLL, POLL, REGISTER]);
    assert_eq!(open.sessions_opened(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_stale_session_is_replaced() {
    let open = Script::new([assigning(), assigned()]);
    let client = client(Fallback::new(ShortLived(open.clone())));
    let events: Vec<_> = client.register().events().collect().await;
    assert_eq!(open.sessions_opened(), 2);
    assert_eq!(open.asked(), [REGISTER, POLL]);
    assert!(
        matches!(
            &events[..],
            [
                Event::Connecting,
                Event::Registering,
                Event::Assigning { .. },
                Event::Connecting,
                Event::Assigned(_)
            ]
        ),
        "{events:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_stops_working_is_replaced() {
    let first = Script::new([
        assigning(),
        Step::Fail(ErrorKind::Connect),
        Step::Fail(ErrorKind::Connect),
    ]);
    let second = Script::new([assigned()]);
    let client = client(Fallback::new(first.clone()).or(second.clone()));
    client.register().await.unwrap();
    assert_eq!(first.asked(), [REGISTER, POLL, POLL]);
    assert_eq!(
        second.asked(),
        [POLL],
        "the operation continues over another transport"
    );
}

/// As HTTPS does, which connects with its first request only.
#[tokio::test(start_paused = true)]
async fn a_transport_that_fails_with_its_first_request_is_replaced() {
    let first = Script::new([Step::Fail(ErrorKind::Connect)]);
    let second = Script::new([assigning(), assigned()]);
    let client = client(Fallback::new(first.clone()).or(second.clone()));
    let start = Instant::now();
    client.register().await.unwrap();
    assert_eq!(first.asked(), [REGISTER]);
    assert_eq!(second.asked(), [REGISTER, POLL]);
    // Only the poll has a wait: changing the transport has none.
    assert_wait(start.elapsed(), 2, 3);
}

#[tokio::test(start_paused = true)]
async fn a_transport_that_opens_and_never_answers_is_replaced() {
    let first = Script::forever(Step::Silence);
    let second = Script::new([assigned()]);
    let client = client(Fallback::new(first.clone()).or(second.clone()));
    client.register().await.unwrap();
    assert_eq!(first.asked(), [REGISTER]);
    assert_eq!(second.asked(), [REGISTER]);
}

#[tokio::test(start_paused = true)]
async fn all_of_them_share_the_one_deadline() {
    let start = Instant::now();
    let transport = Fallback::new(Unreachable::silent()).or(Unreachable::silent());
    let register = client(transport)
        .register()
        .timeout(Duration::from_secs(60));
    assert_eq!(register.await.unwrap_err().kind(), ErrorKind::Deadline);
    assert_wait(start.elapsed(), 50, 60);
}

#[tokio::test(start_paused = true)]
async fn a_proof_goes_to_the_transport_that_carries_it() {
    let open = Script::new([answer(200, &assigned_with_hub_key())]);
    let transport = Fallback::new(Unreachable::failing(ErrorKind::Unsupported)).or(open.clone());
    let who = SoftwareTpm::from_vector().attestation_as("my-device".parse().unwrap());
    let client = ProvisioningClient::new("0ne00111111".parse().unwrap(), who, transport);
    client.register().await.unwrap();
    assert_eq!(open.asked(), [REGISTER]);
}

#[cfg(all(feature = "http", feature = "websocket"))]
mod over_sockets {
    use dps_device::{Http, Mqtt, MqttWebSocket};
    use dps_types::RegistrationStatus;
    use tokio::net::TcpListener;

    use super::*;
    use crate::first_failure::first_failure;
    use crate::https::challenge::{assigned as challenged_and_assigned, challenge};
    use crate::https::server::{Server, json};
    use crate::mqtt::MqttKind;
    use crate::mqtt::server::Server as MqttServer;
    use crate::pki::Pki;
    use crate::script::ASSIGNED;

    async fn closed_port() -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap().port()
    }

    fn connecting_to(transport: Fallback, pki: &Pki) -> ProvisioningClient {
        client(transport)
            .with_host(dps_device::Host::LOCALHOST)
            .with_roots(pki.roots())
            .with_min_poll_interval(Duration::ZERO)
    }

    #[tokio::test]
    async fn mqtt_then_websocket_then_https() {
        let pki = Pki::new();
        // The first request is a WebSocket upgrade, which is refused.
        let answers = [json(404, "", "{}"), json(200, "", ASSIGNED)];
        let mut server = Server::start(pki.server(false), answers).await;
        let transport = Fallback::new(Mqtt::default().with_port(closed_port().await))
            .or(MqttWebSocket::default().with_port(server.port()))
            .or(Http::default().with_port(server.port()));
        connecting_to(transport, &pki).register().await.unwrap();
        assert_eq!(
            server.request().await.line,
            "GET /$iothub/websocket HTTP/1.1"
        );
        assert_eq!(server.closed().await, 0);
        let line = server.request().await.line;
        assert!(line.starts_with("PUT "), "{line}");
    }

    #[tokio::test]
    async fn a_tpm_uses_https_for_any_order_of_transports() {
        let pki = Pki::new();
        let answers = [challenge(), challenged_and_assigned()];
        let mut server = Server::start(pki.server(false), answers).await;
        let transport = Fallback::new(Mqtt::default().with_port(server.port()))
            .or(MqttWebSocket::default().with_port(server.port()))
            .or(Http::default().with_port(server.port()));
        let tpm = SoftwareTpm::from_vector();
        let who = tpm.attestation_as("my-device".parse().unwrap());
        let scope = "0ne00111111".parse().unwrap();
        let client = ProvisioningClient::new(scope, who, transport)
            .with_host(dps_device::Host::LOCALHOST)
            .with_roots(pki.roots());
        client.register().await.unwrap();
        for _ in 0..2 {
            let request = server.request().await;
            assert!(request.line.starts_with("PUT "), "{}", request.line);
            assert_eq!(request.connection, 0, "nothing else was tried");
        }
    }

    #[tokio::test]
    async fn the_failures_name_the_transports() {
        let pki = Pki::new();
        let port = closed_port().await;
        let transport = Fallback::new(Mqtt::default().with_port(port))
            .or(MqttWebSocket::default().with_port(port))
            .or(Http::default().with_port(port));
        let failure = first_failure(&connecting_to(transport, &pki)).await;
        let reasons = failure.source().unwrap().to_string();
        for name in ["Mqtt", "MqttWebSocket", "Http"] {
            let reason = format!("{name}: the connection failed: ");
            assert!(reasons.contains(&reason), "{reasons}");
        }
    }

    #[tokio::test]
    async fn a_lookup_goes_to_the_transport_that_has_it() {
        let pki = Pki::new();
        let mqtt = MqttServer::start(MqttKind::Mqtt, pki.server(false)).await;
        let body = r#"{"registrationId":"my-device","status":"disabled"}"#;
        let server = Server::start(pki.server(false), [json(200, "", body)]).await;
        let transport = Fallback::new(Mqtt::default().with_port(mqtt.port()))
            .or(Http::default().with_port(server.port()));
        let client = connecting_to(transport, &pki);
        let (found, _peer) = tokio::join!(client.lookup().into_future(), mqtt.session());
        assert_eq!(found.unwrap().status, Some(RegistrationStatus::Disabled));
    }
}
