//! Transient failures are retried.

use std::time::Duration;

use dps_device::ErrorKind;

use crate::script::{
    ASSIGNING, POLL, REGISTER, Script, Step, answer, answer_after, assert_wait, assigned, assigning,
};

const THROTTLED: &str =
    r#"{"errorCode":429001,"message":"Operations are being throttled for this tenant."}"#;
const CONFLICT: &str = r#"{"errorCode":409203,"message":"Precondition failed."}"#;

#[tokio::test(start_paused = true)]
async fn every_transient_failure_of_a_registration_is_retried() {
    for status in [408, 429, 500, 502, 503, 504, 599] {
        let script = Script::new([answer(status, "{}"), assigned()]);
        let outcome = script.client().register().await;
        assert!(outcome.is_ok(), "{status}: {outcome:?}");
        assert_eq!(script.asked(), [REGISTER, REGISTER]);
        // After 429 the random part is longer.
        let most = if status == 429 { 10 } else { 4 };
        assert_wait(script.gaps()[0], 2, most);
    }
}

#[tokio::test(start_paused = true)]
async fn every_transient_failure_of_a_poll_is_retried() {
    for status in [408, 429, 500, 502, 503, 504, 599] {
        let script = Script::new([assigning(), answer(status, "{}"), assigned()]);
        let outcome = script.client().register().await;
        assert!(outcome.is_ok(), "{status}: {outcome:?}");
        assert_eq!(script.asked(), [REGISTER, POLL, POLL]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_registration_waits_for_retry_after() {
    let script = Script::new([
        answer_after(429, 45, THROTTLED),
        answer_after(429, 70, THROTTLED),
        assigned(),
    ]);
    script.client().register().await.unwrap();
    // The random part is as long as the wait, up to a minute.
    assert_wait(script.gaps()[0], 45, 90);
    assert_wait(script.gaps()[1], 70, 130);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_poll_waits_for_retry_after_and_keeps_its_operation() {
    let script = Script::new([assigning(), answer_after(429, 45, THROTTLED), assigned()]);
    script.client().register().await.unwrap();
    assert_eq!(script.asked(), [REGISTER, POLL, POLL]);
    assert_wait(script.gaps()[1], 45, 90);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_its_own_random_numbers_has_the_same_waits_each_time() {
    for _ in 0..2 {
        let script = Script::new([answer(503, "{}"), answer(503, "{}"), assigned()]);
        let client = script.client().with_random(|| 0.25);
        client.register().await.unwrap();
        // Two seconds, and a quarter of a backoff of two and of four seconds.
        let waits: Vec<_> = script.gaps().iter().map(Duration::as_millis).collect();
        assert_eq!(waits, [2500, 3000]);
    }
}

#[tokio::test(start_paused = true)]
async fn the_backoff_grows() {
    let mut last = Duration::ZERO;
    for _ in 0..10 {
        let script = Script::new((0..6).map(|_| answer(503, "")).chain([assigned()]));
        script
            .client()
            .register()
            .timeout(Duration::from_secs(600))
            .await
            .unwrap();
        let gaps = script.gaps();
        for (gap, most) in gaps.iter().zip([4, 6, 10, 18, 34, 62]) {
            assert_wait(*gap, 2, most);
        }
        last = last.max(gaps[5]);
    }
    // The waits are random, but not ten times out of ten as short as the first one must be.
    assert!(last > Duration::from_secs(4), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn a_success_ends_the_backoff() {
    let failures = (0..5).map(|_| answer(503, ""));
    let script = Script::new(failures.chain([assigning(), assigned()]));
    script.client().register().await.unwrap();
    assert_wait(script.gaps()[5], 2, 3);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_is_registered_again() {
    let failed = r#"{"operationId":"5.3.1","status":"failed","registrationState":{"status":"failed","errorCode":409203,"errorMessage":"Precondition failed."}}"#;
    for (steps, asked) in [
        (
            vec![answer(409, CONFLICT), assigned()],
            [REGISTER, REGISTER].as_slice(),
        ),
        (
            vec![assigning(), answer(409, CONFLICT), assigned()],
            &[REGISTER, POLL, POLL],
        ),
        (
            vec![assigning(), answer(200, failed), assigned()],
            &[REGISTER, POLL, REGISTER],
        ),
    ] {
        let script = Script::new(steps);
        script.client().register().await.unwrap();
        assert_eq!(script.asked(), asked);
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_opened_again_and_the_operation_resumed() {
    let script = Script::new([
        Step::Fail(ErrorKind::Connect),
        assigning(),
        Step::Fail(ErrorKind::Connect),
        assigned(),
    ]);
    script.client().register().await.unwrap();
    assert_eq!(script.asked(), [REGISTER, REGISTER, POLL, POLL]);
    assert_eq!(script.sessions_opened(), 3);
    assert_eq!(script.sessions_open(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_a_failure_keeps_the_connection() {
    let script = Script::new([answer(503, ""), assigning(), answer(429, ""), assigned()]);
    script.client().register().await.unwrap();
    assert_eq!(script.sessions_opened(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_operation_that_the_service_lost_is_registered_again() {
    let lost = r#"{"errorCode":404203,"message":"Not found"}"#;
    let script = Script::new([
        assigning(),
        answer(404, lost),
        answer(202, &ASSIGNING.replace("5.316", "5.999")),
        assigned(),
    ]);
    script.client().register().await.unwrap();
    let asked = script.asked();
    assert_eq!(asked[..3], [REGISTER, POLL, REGISTER]);
    assert!(asked[3].starts_with("GET 5.999"), "{asked:?}");
    assert_wait(script.gaps()[1], 2, 4);
}

#[tokio::test(start_paused = true)]
async fn permanent_failures_are_not_retried() {
    for kind in [
        ErrorKind::Tls,
        ErrorKind::Signing,
        ErrorKind::Protocol,
        ErrorKind::Unsupported,
        ErrorKind::InvalidConfiguration,
    ] {
        let script = Script::new([Step::Fail(kind)]);
        let error = script.client().register().await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(!error.is_retryable());
    }
}
