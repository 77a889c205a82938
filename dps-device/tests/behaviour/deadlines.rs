//! Timeouts, and dropping a registration.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime};

use dps_device::{Clock, ErrorKind, Event};
use tokio::time::{Instant, timeout};

use crate::script::{
    ASSIGNING, REGISTER, Script, Step, answer, answer_after, assert_wait, assigned, assigning,
};

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_retry_after_beyond_the_deadline_ends_at_once_and_is_reported() {
    for (status, body) in [(202, ASSIGNING), (429, "{}"), (503, "")] {
        let start = Instant::now();
        let script = Script::new([answer_after(status, 600, body)]);
        let error = script.client().register().await.unwrap_err();

        assert_eq!(error.kind(), ErrorKind::Deadline);
        assert!(error.is_retryable());
        assert_eq!(error.retry_after(), Some(Duration::from_secs(600)));
        assert!(start.elapsed() < Duration::from_secs(1));
    }
}

#[tokio::test(start_paused = true)]
async fn an_endless_assignment_ends_at_the_deadline() {
    let start = Instant::now();
    let script = Script::forever(assigning());
    let error = script.client().register().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(error.last_failure().is_none());
    assert_eq!(error.to_string(), "no result within 300s");
    assert_wait(start.elapsed(), 297, 300);
}

#[tokio::test(start_paused = true)]
async fn endless_throttling_ends_at_the_deadline() {
    let start = Instant::now();
    let script = Script::forever(answer_after(
        429,
        5,
        r#"{"errorCode":429001,"trackingId":"t-1","message":"slow down"}"#,
    ));
    let register = script.client().register().timeout(MINUTE);
    let error = register.await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(error.last_failure().unwrap().kind(), ErrorKind::Throttled);
    assert_eq!(error.status(), Some(429));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(5)));
    assert_eq!(
        error.error_details().unwrap().tracking_id.as_deref(),
        Some("t-1")
    );
    assert!(start.elapsed() <= MINUTE);
}

#[tokio::test(start_paused = true)]
async fn endless_failures_end_at_the_deadline() {
    let script = Script::forever(answer(500, "oh no"));
    let register = script.client().register().timeout(10 * MINUTE);
    let error = register.await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(error.last_failure().unwrap().kind(), ErrorKind::Service);
    // With the backoff at a minute, ten minutes hold few of them.
    assert!(
        script.asked().len() < 60,
        "{} requests",
        script.asked().len()
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_operation_is_not_registered_without_end() {
    let start = Instant::now();
    let steps = (0..500).flat_map(|_| [assigning(), answer(404, "{}")]);
    let script = Script::new(steps);
    let error = script.client().register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(start.elapsed() <= 5 * MINUTE);

    // Registrations are billed: each wait is longer than the one before, although the service accepts every registration.
    let asked = script.asked();
    let registrations = asked.iter().filter(|what| what.starts_with("PUT")).count();
    assert!(registrations < 30, "{registrations} registrations");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_is_not_found_is_a_connect_failure_at_the_deadline() {
    let start = Instant::now();
    let script = Script::forever(Step::Fail(ErrorKind::Connect));
    let register = script.client().register().timeout(MINUTE);
    let error = register.await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_eq!(error.last_failure().unwrap().kind(), ErrorKind::Connect);
    assert!(start.elapsed() <= MINUTE);
}

#[tokio::test(start_paused = true)]
async fn a_silent_session_is_closed_and_reported() {
    let script = Script::new([Step::Silence, assigned()]);
    let start = Instant::now();
    let mut registration = script.client().register().events();
    let retrying = loop {
        match registration.next().await.unwrap() {
            Event::Retrying { error, .. } => break error,
            Event::Connecting | Event::Registering => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(retrying.kind(), ErrorKind::Connect);
    assert_eq!(retrying.to_string(), "there was no answer within 30s");
    assert_wait(start.elapsed(), 30, 30);

    while let Some(event) = registration.next().await {
        assert!(!matches!(event, Event::Failed(_)), "{event:?}");
    }
    assert_eq!(script.sessions_opened(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_limit_of_one_request_can_be_set() {
    let script = Script::new([Step::Silence, assigned()]);
    let client = script.client().with_request_timeout(Duration::from_secs(5));
    client.register().await.unwrap();
    assert_wait(script.gaps()[0], 7, 9);
}

#[tokio::test(start_paused = true)]
async fn a_silent_service_ends_at_the_deadline() {
    let start = Instant::now();
    let script = Script::forever(Step::Silence);
    let register = script.client().register().timeout(MINUTE);
    assert_eq!(register.await.unwrap_err().kind(), ErrorKind::Deadline);
    assert!(start.elapsed() <= MINUTE + Duration::from_millis(2));
    assert_eq!(script.sessions_open(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_client_registers_again_after_a_timeout() {
    let script = Script::new([Step::Silence, assigned()]);
    let client = script.client();
    let second = Duration::from_secs(1);
    let error = client.register().timeout(second).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    client.register().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn one_client_registers_many_times_at_once() {
    let script = Script::forever(assigned());
    let client = script.client();
    let all = (0..10).map(|_| client.register().into_future());
    for outcome in futures_util::future::join_all(all).await {
        outcome.unwrap();
    }
    assert_eq!(script.sessions_opened(), 10);
    assert_eq!(script.sessions_open(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropping_a_waiting_registration_ends_it() {
    let script = Script::forever(answer_after(202, 60, ASSIGNING));
    let register = script.client().register().into_future();
    timeout(Duration::from_secs(30), register)
        .await
        .expect_err("it waits for its first poll");

    assert_eq!(script.sessions_opened(), 1);
    assert_eq!(script.sessions_open(), 0);
    tokio::time::sleep(10 * MINUTE).await;
    assert_eq!(script.asked(), [REGISTER]);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_may_be_the_longest_duration() {
    let script = Script::new([answer_after(202, 1_000_000, ASSIGNING), assigned()]);
    let register = script.client().register().timeout(Duration::MAX);
    register.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_zero_has_passed_at_once() {
    let script = Script::forever(Step::Silence);
    let register = script.client().register().timeout(Duration::ZERO);
    assert_eq!(register.await.unwrap_err().kind(), ErrorKind::Deadline);
}

/// A clock that shows another century at each call.
#[derive(Debug)]
struct Jumping(AtomicI64);

impl Clock for Jumping {
    fn now(&self) -> SystemTime {
        let centuries = self.0.fetch_xor(1, Ordering::Relaxed).unsigned_abs();
        SystemTime::UNIX_EPOCH + Duration::from_secs(centuries * 100 * 365 * 86_400)
    }
}

#[tokio::test(start_paused = true)]
async fn a_jump_of_the_wall_clock_does_not_change_the_deadline() {
    let script = Script::forever(assigning());
    let client = script.client().with_clock(Jumping(AtomicI64::new(0)));
    let start = Instant::now();
    let error = client.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert_wait(start.elapsed(), 297, 300);
}
