//! Quotas and rate limits of an instance.

use std::sync::Arc;
use std::time::Duration;

use dps_emulator::{CertificateAuthority, Emulator, ErrorKind, Limits};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{
    Answer, Dps, KEY_1, KEY_2, TestClock, certificate_group, derive, key_enrollment, key_group,
};
use crate::common::{linked, verified_ca};

const THROTTLED: &str = "Operations are being throttled for this tenant.";

async fn limited(choose: impl FnOnce(&mut Limits)) -> Dps {
    let mut limits = Limits::default();
    choose(&mut limits);
    Dps::start_with(|builder| builder.limits(limits)).await
}

/// A clock in the middle of a window of a minute and of ten seconds.
async fn throttled(choose: impl FnOnce(&mut Limits)) -> (Dps, TestClock) {
    let clock = TestClock::now();
    clock.advance(Duration::from_secs(60 - clock.unix() % 60 + 5));
    let mut limits = Limits::default();
    choose(&mut limits);
    let dps = Dps::start_with(|builder| builder.limits(limits).clock(Arc::new(clock.clone())));
    (dps.await, clock)
}

#[track_caller]
fn assert_full(answer: &Answer, what: &str) {
    let message = format!("The instance has reached its quota of 2 {what}.");
    answer.assert_error(403_002, &message);
}

#[tokio::test]
async fn the_limits_are_the_services() {
    let limits = Limits::default();
    assert_eq!(limits.individual_enrollments, 1_000_000);
    assert_eq!(limits.registrations, 1_000_000);
    assert_eq!(limits.x509_groups, 100);
    assert_eq!(limits.symmetric_key_groups, 100);
    assert_eq!(limits.ca_certificates, 25);
    assert_eq!(limits.linked_hubs, 50);
    assert_eq!(limits.message_bytes, 98_304);
    let rates = |limits: &Limits| {
        [
            limits.operations_per_minute,
            limits.registrations_per_minute,
            limits.polls_per_10_seconds,
        ]
    };
    assert_eq!(rates(&limits), [None; 3]);
    let throttled = [Some(1000), Some(1000), Some(5)];
    assert_eq!(rates(&limits.throttled()), throttled);
}

#[tokio::test]
async fn a_limit_is_set_by_its_name() {
    let mut limits = Limits::default();
    for name in [
        "individual-enrollments",
        "registrations",
        "x509-groups",
        "symmetric-key-groups",
        "ca-certificates",
        "linked-hubs",
        "message-bytes",
        "operations-per-minute",
        "registrations-per-minute",
        "polls-per-10-seconds",
    ] {
        let before = limits.clone();
        limits.set(name, 7).expect(name);
        assert_ne!(limits, before, "{name}");
    }
    assert_eq!(limits.x509_groups, 7);
    assert_eq!(limits.polls_per_10_seconds, Some(7));
    for name in ["", "x509_groups", "groups"] {
        let error = limits.set(name, 7).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }
}

#[tokio::test]
async fn individual_enrollments() {
    let dps = limited(|limits| limits.individual_enrollments = 2).await;
    let device = |id: &str| key_enrollment(id, KEY_1, KEY_2);
    for id in ["a", "b"] {
        dps.create(&format!("/enrollments/{id}"), &device(id)).await;
    }
    let full = dps.put("/enrollments/c", &device("c")).await;
    assert_full(&full, "individual enrollments");
    assert_eq!(full.header("x-ms-error-code"), Some("403002"));
    assert_eq!(full.header("retry-after"), None);
    let again = dps.put_if("/enrollments/a", "*", &device("a")).await;
    assert_eq!(again.status, 200, "{again:?}");
    dps.put("/enrollments/a", &device("a"))
        .await
        .assert_error(409_201, "Enrollment already exists.");
    dps.delete("/enrollments/a").await;
    dps.create("/enrollments/c", &device("c")).await;
}

#[tokio::test]
async fn groups_of_each_kind() {
    let dps = limited(|limits| {
        limits.x509_groups = 2;
        limits.symmetric_key_groups = 2;
    })
    .await;
    let root = || CertificateAuthority::new("Contoso Root").expect("a CA");
    let x509 = |id: &str| certificate_group(id, root().certificate_pem());
    let keys = |id: &str| key_group(id, KEY_1, KEY_2);
    for id in ["x1", "x2"] {
        dps.create(&format!("/enrollmentGroups/{id}"), &x509(id))
            .await;
    }
    for id in ["k1", "k2"] {
        dps.create(&format!("/enrollmentGroups/{id}"), &keys(id))
            .await;
    }
    let full = dps.put("/enrollmentGroups/x3", &x509("x3")).await;
    assert_full(&full, "X.509 enrollment groups");
    let full = dps.put("/enrollmentGroups/k3", &keys("k3")).await;
    assert_full(&full, "symmetric key enrollment groups");
    // A group that changes its attestation type counts for the new type.
    let full = dps.put_if("/enrollmentGroups/x1", "*", &keys("x1")).await;
    assert_full(&full, "symmetric key enrollment groups");
    dps.delete("/enrollmentGroups/k1").await;
    let moved = dps.put_if("/enrollmentGroups/x1", "*", &keys("x1")).await;
    assert_eq!(moved.status, 200, "{moved:?}");
    dps.create("/enrollmentGroups/x3", &x509("x3")).await;
}

#[tokio::test]
async fn concurrent_enrollments_never_exceed_the_quota() {
    let dir = TempDir::new().expect("a directory");
    let mut limits = Limits::default();
    limits.individual_enrollments = 3;
    limits.symmetric_key_groups = 3;
    let dps = Dps::start_with(|builder| builder.limits(limits).data_dir(dir.path())).await;
    let ids = (0..10).map(|number| format!("e{number}"));
    let devices: Vec<Value> = ids
        .clone()
        .map(|id| key_enrollment(&id, KEY_1, KEY_2))
        .collect();
    let groups: Vec<Value> = ids.map(|id| key_group(&id, KEY_1, KEY_2)).collect();
    for (path, list, items) in [
        ("/enrollments", "enrollments", devices),
        ("/enrollmentGroups", "enrollmentGroups", groups),
    ] {
        let body = json!({ list: items, "mode": "create" });
        let answer = Answer::to(dps.service("POST", path).json(&body)).await;
        let errors = answer.json()["errors"].take();
        let errors = errors.as_array().expect("a list");
        assert_eq!(errors.len(), 7, "{answer:?}");
        assert!(errors.iter().all(|error| error["errorCode"] == 403_002));
    }
}

#[tokio::test]
async fn registrations() {
    let dps = limited(|limits| limits.registrations = 2).await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let device = |id: &str| dps.device(id).key(&derive(KEY_1, id));
    for id in ["a", "b"] {
        device(id).assigned().await;
    }
    let full = device("c").register().await;
    assert_full(&full, "registrations");
    device("a").assigned().await;
    dps.delete("/registrations/a").await;
    device("c").assigned().await;
}

#[tokio::test]
async fn linked_hubs() {
    let hubs = |count: u32| {
        (0..count).fold(Emulator::builder(), |builder, number| {
            builder.link_hub(linked(&format!("hub-{number}")))
        })
    };
    let error = hubs(51).start().await.expect_err("51 are too many");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(error.to_string(), "51 hubs are linked, and the limit is 50");
    assert_eq!(
        hubs(50)
            .start()
            .await
            .expect("50 are not")
            .hub_names()
            .len(),
        50
    );
}

#[tokio::test]
async fn ca_certificates_of_the_options() {
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let mut limits = Limits::default();
    limits.ca_certificates = 2;
    let cas = |names: &[&str]| {
        let builder = Emulator::builder().limits(limits.clone());
        names.iter().fold(builder, |builder, name| {
            builder.verified_ca(verified_ca(name, root.certificate_pem()))
        })
    };
    let error = cas(&["a", "b", "c"]).start().await.expect_err("too many");
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(
        error.to_string(),
        "3 CA certificates are configured, and the limit is 2"
    );
    cas(&["a", "b"]).start().await.expect("two are not");
}

#[tokio::test]
async fn messages() {
    let dps = limited(|limits| limits.message_bytes = 100).await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(KEY_1);
    let send = async |length: usize| {
        let body = format!(r#"{{"payload":"{}"}}"#, "x".repeat(length - 14));
        let request = device.request("PUT", "/register");
        let request = request.header("Content-Type", "application/json");
        Answer::to(request.body(body)).await
    };
    assert_eq!(send(100).await.status, 202);
    let message = "The body is larger than 100 bytes.";
    send(101).await.assert_error(413_001, message);
    // The limit does not apply to service clients.
    let document = key_enrollment("dev-2", KEY_1, KEY_2);
    dps.create("/enrollments/dev-2", &document).await;
}

#[tokio::test]
async fn operations_a_minute() {
    let (dps, clock) = throttled(|limits| limits.operations_per_minute = Some(3)).await;
    for _ in 0..3 {
        assert_eq!(dps.get("/enrollments/e").await.status, 404);
    }
    let answer = dps.get("/enrollments/e").await;
    answer.assert_error(429_001, THROTTLED);
    assert_eq!(answer.header("retry-after"), Some("55"));
    let certificates = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/d/certificates?api-version=2022-12-12";
    let token = dps.service_sas().sign(&dps.service_key);
    let request = dps.request("GET", certificates);
    let answer = Answer::to(request.header("Authorization", token)).await;
    assert_eq!(answer.status, 429, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("55"));
    assert_eq!(answer.json()["httpStatusCode"], "TooManyRequests");
    // A refused request does not count and is not throttled.
    let stranger = dps.request("GET", "/enrollments/e?api-version=2021-10-01");
    assert_eq!(Answer::to(stranger).await.status, 401);
    clock.advance(Duration::from_secs(55));
    assert_eq!(dps.get("/enrollments/e").await.status, 404);
}

#[tokio::test]
async fn registrations_a_minute() {
    let (dps, clock) = throttled(|limits| limits.registrations_per_minute = Some(3)).await;
    for id in ["a", "b"] {
        dps.create(
            &format!("/enrollments/{id}"),
            &key_enrollment(id, KEY_1, KEY_2),
        )
        .await;
    }
    let device = |id: &str| dps.device(id).key(KEY_1);
    let operation = device("a").register().await.json()["operationId"].take();
    device("b").register().await;
    assert_eq!(device("a").lookup().await.status, 200);
    for answer in [device("a").register().await, device("b").lookup().await] {
        answer.assert_error(429_001, THROTTLED);
        assert_eq!(answer.header("retry-after"), Some("55"));
    }
    // Polls and operations have their own limits.
    let operation = operation.as_str().expect("an operation id");
    assert_ne!(device("a").poll(operation).await.status, 429);
    assert_eq!(dps.get("/enrollments/a").await.status, 200);
    clock.advance(Duration::from_secs(60));
    assert_eq!(device("a").register().await.status, 202);
}

#[tokio::test]
async fn polls_of_a_device() {
    let (dps, clock) = throttled(|limits| limits.polls_per_10_seconds = Some(5)).await;
    for id in ["a", "b"] {
        dps.create(
            &format!("/enrollments/{id}"),
            &key_enrollment(id, KEY_1, KEY_2),
        )
        .await;
    }
    let device = |id: &str| dps.device(id).key(KEY_1);
    for _ in 0..5 {
        assert_eq!(device("a").poll("none").await.status, 404);
    }
    let answer = device("a").poll("none").await;
    answer.assert_error(429_001, THROTTLED);
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(device("b").poll("none").await.status, 404);
    // Each device has its own count.
    assert_eq!(dps.device("b").key(KEY_2).poll("none").await.status, 404);
    for _ in 0..10 {
        let key = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUY=";
        assert_eq!(dps.device("b").key(key).poll("none").await.status, 401);
    }
    assert_eq!(device("b").poll("none").await.status, 404);
    clock.advance(Duration::from_secs(5));
    assert_eq!(device("a").poll("none").await.status, 404);
}
