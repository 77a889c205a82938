//! The service is slow or never answers.

use std::pin::pin;
use std::time::Duration;

use dps_device::ErrorKind;
use dps_emulator::fault::{Effect, Step};

use crate::case::Case;
use crate::dps::HUB;
use crate::watched::advance_clock;

/// Shorter than the time for one request.
const SLOW: Duration = Duration::from_secs(5);
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) async fn slow_answer_to_register(case: Case) {
    slow(case, Step::Register).await;
}

pub(crate) async fn slow_answer_to_poll(case: Case) {
    slow(case, Step::Poll).await;
}

pub(crate) async fn silence_at_connect_until_the_deadline(case: Case) {
    silence(case, Step::Connect).await;
}

pub(crate) async fn silence_at_register_until_the_deadline(case: Case) {
    silence(case, Step::Register).await;
}

pub(crate) async fn silence_at_poll_until_the_deadline(case: Case) {
    silence(case, Step::Poll).await;
}

async fn slow(case: Case, step: Step) {
    let (dps, client) = case.enrolled().await;
    case.next(&dps, step, Effect::Delay(SLOW));
    let mut registration = pin!(client.register().into_future());

    dps.until_faults_used(registration.as_mut()).await;
    advance_clock(SLOW).await;
    let assigned = registration.await.expect("the device is assigned");

    assert_eq!(assigned.hub().as_str(), HUB);
    assert_eq!(dps.wire.begun(), 1, "the device waits for the answer");
    dps.finish().await;
}

async fn silence(case: Case, step: Step) {
    let (dps, client) = case.enrolled().await;
    case.next(&dps, step, Effect::Silence);
    let mut registration = pin!(client.register().timeout(DEADLINE).into_future());

    dps.until_faults_used(registration.as_mut()).await;
    advance_clock(DEADLINE).await;
    let error = registration.await.expect_err("time is up");

    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(error.is_retryable());
    dps.finish().await;
}
