//! Replicas share rates, quotas, challenges, keys and the certificate authority of their servers.

use std::sync::Arc;
use std::time::Duration;

use dps_emulator::Limits;
use dps_hardware::SoftwareTpm;
use futures_util::future::join_all;
use tempfile::TempDir;

use super::{replica, replicas};
use crate::common::{
    Answer, Database, Dps, KEY_1, KEY_2, TestClock, TpmDevice, derive, key_enrollment, key_group,
    tpm_enrollment,
};

/// Three replicas with these limits, at a time in the middle of a window of a minute and of ten seconds.
async fn limited(choose: impl FnOnce(&mut Limits)) -> [Dps; 3] {
    let clock = TestClock::now();
    clock.advance(Duration::from_secs(60 - clock.unix() % 60 + 5));
    let mut limits = Limits::default();
    choose(&mut limits);
    let database = Database::default();
    let start = async || {
        let (limits, clock) = (limits.clone(), Arc::new(clock.clone()));
        replica(database.client(), move |builder| {
            builder
                .limits(limits.clone())
                .clock(Arc::clone(&clock) as _)
        })
        .await
    };
    [start().await, start().await, start().await]
}

/// The number of answers with each status.
fn count(answers: &[Answer], status: u16) -> usize {
    answers.iter().filter(|it| it.status == status).count()
}

#[tokio::test]
async fn a_rate_counts_the_requests_at_all_replicas() {
    let all = limited(|limits| limits.registrations_per_minute = Some(20)).await;
    for number in 0..30 {
        all[0].enroll(&format!("dev-{number}")).await;
    }
    let register = async |number: usize| {
        let device = all[number % 3].device(&format!("dev-{number}"));
        device.key(KEY_1).register().await
    };
    let answers = join_all((0..30).map(register)).await;
    assert_eq!(
        (count(&answers, 202), count(&answers, 429)),
        (20, 10),
        "{answers:?}"
    );
}

#[tokio::test]
async fn the_polls_of_a_device_are_counted_at_all_replicas() {
    let all = limited(|limits| limits.polls_per_10_seconds = Some(5)).await;
    all[0].enroll("dev-1").await;
    let accepted = all[0].device("dev-1").key(KEY_1).register().await.json();
    let operation = accepted["operationId"].as_str().expect("an operation id");
    let mut statuses = Vec::new();
    for number in 0..6 {
        let device = all[number % 3].device("dev-1").key(KEY_1);
        statuses.push(device.poll(operation).await.status);
    }
    assert_eq!(statuses.pop(), Some(429));
    assert!(!statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn a_quota_is_exact_when_replicas_insert_at_the_same_time() {
    let all = limited(|limits| {
        limits.registrations = 7;
        limits.individual_enrollments = 5;
    })
    .await;
    let enroll = async |number: usize| {
        let id = format!("own-{number}");
        let document = key_enrollment(&id, KEY_1, KEY_2);
        all[number % 3]
            .put(&format!("/enrollments/{id}"), &document)
            .await
    };
    let answers = join_all((0..15).map(enroll)).await;
    assert_eq!(
        (count(&answers, 200), count(&answers, 403)),
        (5, 10),
        "{answers:?}"
    );

    all[0]
        .create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let register = async |number: usize| {
        let id = format!("dev-{number}");
        all[number % 3]
            .device(&id)
            .key(&derive(KEY_1, &id))
            .register()
            .await
    };
    let answers = join_all((0..21).map(register)).await;
    assert_eq!(
        (count(&answers, 202), count(&answers, 403)),
        (7, 14),
        "{answers:?}"
    );
}

#[tokio::test]
async fn a_challenge_of_one_replica_is_answered_at_another() {
    let [one, other] = replicas(&Database::default()).await;
    let device = TpmDevice::new(&one, "dev-1", SoftwareTpm::number(1));
    let elsewhere = TpmDevice::new(&other, "dev-1", SoftwareTpm::number(1));
    let document = tpm_enrollment("dev-1", &device.tpm);
    one.create("/enrollments/dev-1", &document).await;

    let first = device.ask().await;
    let second = elsewhere.ask().await;
    let replaced = elsewhere.open(&first).await;
    let refused = replaced.register_with(device.body()).await;
    assert_eq!(
        refused.status, 401,
        "the second challenge has replaced the first: {refused:?}"
    );
    let signed = device.open(&second).await;
    let accepted = signed.register_with(device.body()).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let operation = accepted.json()["operationId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let document = elsewhere.open(&second).await.finish(&operation).await;
    assert_eq!(document["status"], "assigned");
}

#[tokio::test]
async fn a_tpm_that_is_not_enrolled_reads_its_failure_at_another_replica() {
    let [one, other] = replicas(&Database::default()).await;
    let device = TpmDevice::new(&one, "dev-1", SoftwareTpm::number(1));
    let elsewhere = TpmDevice::new(&other, "dev-1", SoftwareTpm::number(1));
    let challenge = device.ask().await;
    let signed = device.open(&challenge).await;
    let accepted = signed.register_with(device.body()).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    let operation = accepted.json()["operationId"]
        .as_str()
        .expect("an id")
        .to_owned();
    let document = elsewhere.open(&challenge).await.finish(&operation).await;
    assert_eq!(document["status"], "failed");
    assert_eq!(document["registrationState"]["errorCode"], 404_201);
}

#[tokio::test]
async fn the_directory_of_an_emulator_has_the_certificate_authority_of_the_store() {
    let database = Database::default();
    let folders = [(); 2].map(|()| TempDir::new().expect("a folder"));
    let start = async |folder: &TempDir, database: &Database| {
        let path = folder.path().to_owned();
        replica(database.client(), move |builder| builder.data_dir(&path)).await
    };
    let ca = |folder: &TempDir| std::fs::read_to_string(folder.path().join("ca.pem"));
    let one = start(&folders[0], &database).await;
    let other = start(&folders[1], &database).await;
    assert_eq!(one.emulator.ca_pem(), other.emulator.ca_pem());
    for folder in &folders {
        assert_eq!(ca(folder).expect("a file"), one.emulator.ca_pem());
    }
    // The directory is complete: an emulator of another, empty database has its authority.
    let alone = start(&folders[1], &Database::default()).await;
    assert_eq!(alone.emulator.ca_pem(), one.emulator.ca_pem());
}

#[tokio::test]
async fn replicas_have_the_same_keys_and_the_same_certificate_authorities() {
    let [one, other] = replicas(&Database::default()).await;
    let connections = [&one, &other].map(|dps| {
        let text = dps.emulator.service_connection_string();
        text.split(';')
            .skip(1)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    assert_eq!(connections[0], connections[1]);
    assert_eq!(one.emulator.ca_pem(), other.emulator.ca_pem());
    let (first, second) = tokio::join!(one.emulator.rsa_ca_pem(), other.emulator.rsa_ca_pem());
    assert_eq!(first.expect("a root"), second.expect("a root"));
}
