//! The SAS token: its content, lifetime and signature.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use dps_device::{Clock, ErrorKind, Event};

use super::client_of;
use super::server::{Server, json as answer};
use crate::pki::Pki;
use crate::script::{ASSIGNED, ASSIGNING, assigned_as};

/// A clock that the test sets.
#[derive(Debug, Clone)]
pub(super) struct ManualClock(pub(super) Arc<AtomicU64>);

impl ManualClock {
    pub(super) fn to(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

#[tokio::test]
async fn the_token_is_signed_as_documented() {
    let pki = Pki::new();
    let mut server = Server::start(
        pki.server(false),
        [answer(200, "", &assigned_as("my-symkey-device"))],
    )
    .await;
    let client = client_of("my-symkey-device", &pki, server.port())
        .with_clock(ManualClock::to(1_663_952_627 - 3600));
    client.register().await.unwrap();

    // HMAC-SHA256 of "0ne00111111%2Fregistrations%2Fmy-symkey-device\n1663952627", computed elsewhere.
    assert_eq!(
        server.request().await.header("authorization"),
        Some(
            "SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fmy-symkey-device&sig=8VPprb8BiTkuVE0hBqHm%2FSVrzVpdD8VZcXugntdbhuU%3D&se=1663952627&skn=registration"
        )
    );
}

#[tokio::test]
async fn a_token_is_replaced_before_it_expires() {
    let pki = Pki::new();
    let pending = (0..5).map(|_| answer(202, "", ASSIGNING));
    let mut server = Server::start(
        pki.server(false),
        pending.chain([answer(200, "", ASSIGNED)]),
    )
    .await;
    let clock = ManualClock::to(1_000_000);
    let client = client_of("my-device", &pki, server.port()).with_clock(clock.clone());

    // The times of the six requests, and the expiry that each should carry.
    let mut times = [
        (1_000_000, 1_003_600),
        (1_000_030, 1_003_600),
        (1_003_540, 1_003_600),
        (1_003_541, 1_007_141),
        (1_003_600, 1_007_141),
        // The clock was set by a day.
        (1_090_000, 1_093_600),
    ]
    .into_iter();
    let mut registration = client.register().events();
    let mut expected = times.next();
    while let Some(event) = registration.next().await {
        if let Event::Assigning { .. } | Event::Assigned(_) = event {
            let request = server.request().await;
            let token = request.header("authorization").unwrap();
            let (time, expiry) = expected.unwrap();
            assert!(token.contains(&format!("&se={expiry}&")), "{time}: {token}");
            expected = times.next();
            if let Some((time, _)) = expected {
                clock.0.store(time, Ordering::Relaxed);
            }
        }
    }
    assert!(expected.is_none());
}

#[tokio::test]
async fn a_clock_before_1970_does_not_panic() {
    #[derive(Debug)]
    struct Ancient;

    impl Clock for Ancient {
        fn now(&self) -> SystemTime {
            SystemTime::UNIX_EPOCH - Duration::from_secs(1)
        }
    }

    let pki = Pki::new();
    let mut server = Server::start(pki.server(false), [answer(200, "", ASSIGNED)]).await;
    let client = client_of("my-device", &pki, server.port()).with_clock(Ancient);
    client.register().await.unwrap();
    let request = server.request().await;
    let token = request.header("authorization").unwrap();
    assert!(token.contains("&se=3600&"), "{token}");
}

#[tokio::test]
async fn a_refusal_with_a_wrong_clock_is_explained_with_both_times() {
    const DATE: &str = "Date: Tue, 14 Nov 2023 22:13:20 GMT\r\n";
    for (device, service, parts) in [
        (
            0,
            DATE,
            Some(["1970-01-01T00:00:00", "behind", "2023-11-14T22:13:20"]),
        ),
        (
            1_700_003_600,
            DATE,
            Some(["2023-11-14T23:13:20", "ahead of", "2023-11-14T22:13:20"]),
        ),
        (1_700_000_100, DATE, None),
        (0, "", None),
        (0, "Date: yesterday\r\n", None),
    ] {
        let pki = Pki::new();
        let body = r#"{"errorCode":401002,"message":"Unauthorized"}"#;
        let server = Server::start(pki.server(false), [answer(401, service, body)]).await;
        let client =
            client_of("my-device", &pki, server.port()).with_clock(ManualClock::to(device));
        let error = client.register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        let text = error.to_string();
        assert_eq!(text.contains("set the clock"), parts.is_some(), "{text}");
        for part in parts.into_iter().flatten() {
            assert!(text.contains(part), "{text}");
        }
    }
}
