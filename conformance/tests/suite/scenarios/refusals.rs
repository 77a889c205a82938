//! The service refuses, throttles, fails or sends an invalid answer.

use std::time::Duration;

use dps_device::{Error, ErrorKind};
use dps_emulator::fault::{Effect, Step};
use dps_types::ErrorCode;

use crate::case::Case;
use crate::dps::HUB;
use crate::watched::{Watched, advance_clock};

const RETRY_AFTER: Duration = Duration::from_secs(7);

pub(crate) async fn throttled_register(case: Case) {
    let names = throttled(case, Step::Register).await;
    assert_eq!(
        names,
        [
            "connecting",
            "registering",
            "retrying",
            "registering",
            "assigning",
            "assigned"
        ]
    );
}

pub(crate) async fn throttled_poll(case: Case) {
    let names = throttled(case, Step::Poll).await;
    assert_eq!(
        names,
        [
            "connecting",
            "registering",
            "assigning",
            "retrying",
            "assigned"
        ]
    );
}

pub(crate) async fn server_error_on_register(case: Case) {
    let names = server_error(case, Step::Register).await;
    let registering = names.iter().filter(|name| **name == "registering");
    assert_eq!(registering.count(), 3, "{names:?}");
}

pub(crate) async fn server_error_on_poll(case: Case) {
    let names = server_error(case, Step::Poll).await;
    let registering = names.iter().filter(|name| **name == "registering");
    assert_eq!(registering.count(), 1, "{names:?}");
}

pub(crate) async fn server_errors_until_the_deadline(case: Case) {
    let (dps, client) = case.enrolled().await;
    case.next(&dps, Step::Register, Effect::Fail(503));
    let deadline = Duration::from_secs(20);
    let mut watched = Watched::of(client.register().timeout(deadline));

    watched.retrying().await;
    case.next(&dps, Step::Register, Effect::Fail(503));
    // There is time for one more attempt.
    advance_clock(deadline - Duration::from_secs(1)).await;
    watched.retrying().await;
    advance_clock(Duration::from_secs(1)).await;
    let (_, failed) = watched.end().await;

    let error = failed.expect_err("the service never recovers");
    assert_eq!(error.kind(), ErrorKind::Deadline);
    let last = error.last_failure().map(Error::kind);
    assert_eq!(last, Some(ErrorKind::Service));
    assert_eq!(error.status(), Some(503));
    dps.finish().await;
}

pub(crate) async fn malformed_answer_to_register(case: Case) {
    malformed(case, Step::Register).await;
}

pub(crate) async fn malformed_answer_to_poll(case: Case) {
    malformed(case, Step::Poll).await;
}

async fn throttled(case: Case, step: Step) -> Vec<&'static str> {
    let (dps, client) = case.enrolled().await;
    let retry_after = RETRY_AFTER;
    case.next(&dps, step, Effect::Throttle { retry_after });
    let mut watched = Watched::of(client.register());

    let (error, wait) = watched.retrying().await;
    advance_clock(wait).await;
    let (names, assigned) = watched.end().await;

    assert_eq!(error.kind(), ErrorKind::Throttled);
    assert_eq!(error.status(), Some(429));
    assert_eq!(error.retry_after(), Some(RETRY_AFTER));
    let code = error.error_details().and_then(|details| details.error_code);
    assert_eq!(code, Some(ErrorCode::THROTTLED));
    assert!(wait >= RETRY_AFTER, "{wait:?}");
    assert_eq!(assigned.expect("assigned").hub().as_str(), HUB);
    assert_eq!(
        dps.wire.begun(),
        1,
        "an answer leaves the connection as it is"
    );
    dps.finish().await;
    names
}

async fn server_error(case: Case, step: Step) -> Vec<&'static str> {
    let (dps, client) = case.enrolled().await;
    case.next(&dps, step, Effect::Fail(500));
    case.next(&dps, step, Effect::Fail(503));
    let mut watched = Watched::of(client.register());

    for status in [500, 503] {
        let (error, _) = watched.retrying().await;
        assert_eq!(error.kind(), ErrorKind::Service);
        assert_eq!(error.status(), Some(status));
    }
    let (names, assigned) = watched.end().await;

    assert_eq!(assigned.expect("assigned").hub().as_str(), HUB);
    dps.finish().await;
    names
}

async fn malformed(case: Case, step: Step) {
    let (dps, client) = case.enrolled().await;
    case.next(&dps, step, Effect::Malformed);

    let error = client.register().await.expect_err("this is not an answer");

    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert_eq!(error.status(), Some(200));
    assert!(!error.is_retryable());
    dps.finish().await;
}
