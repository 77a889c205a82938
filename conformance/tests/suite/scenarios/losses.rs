//! The connection is lost, and the registration continues.

use dps_device::ErrorKind;
use dps_emulator::fault::{Effect, Step};
use dps_types::RegistrationSubstatus;

use crate::case::Case;
use crate::dps::HUB;
use crate::hook::TestWebhook;
use crate::watched::Watched;

pub(crate) async fn dropped_at_connect(case: Case) {
    dropped_before_reply(case, Step::Connect).await;
}

pub(crate) async fn dropped_before_register(case: Case) {
    dropped_before_reply(case, Step::Register).await;
}

/// The service has started the operation, but the device has no answer: it registers again and joins the operation.
pub(crate) async fn dropped_after_register(case: Case) {
    let hook = TestWebhook::waiting().await;
    let url = hook.url.clone();
    let by_webhook = move |enrollment: crate::proof::Enrollment| enrollment.allocated_by(&url);
    let (dps, client) = case.enrolled_with(by_webhook).await;
    case.next(&dps, Step::Register, Effect::DropAfter);
    let mut watched = Watched::of(client.register());

    watched.until("assigning").await;
    hook.release();
    let (_, assigned) = watched.end().await;

    let assigned = assigned.expect("the device is assigned");
    assert_eq!(assigned.hub().as_str(), HUB);
    assert_eq!(
        assigned.substatus(),
        Some(&RegistrationSubstatus::InitialAssignment)
    );
    assert_eq!(hook.payloads().len(), 1, "there is one operation");
    assert_eq!(dps.wire.begun(), 2);
    dps.finish().await;
}

pub(crate) async fn dropped_before_poll(case: Case) {
    dropped_at_poll(case, Effect::Drop).await;
}

pub(crate) async fn dropped_after_poll(case: Case) {
    dropped_at_poll(case, Effect::DropAfter).await;
}

async fn dropped_before_reply(case: Case, step: Step) {
    let (dps, client) = case.enrolled().await;
    case.next(&dps, step, Effect::Drop);

    let assigned = client.register().await.expect("the device is assigned");

    assert_eq!(assigned.hub().as_str(), HUB);
    assert_eq!(
        assigned.substatus(),
        Some(&RegistrationSubstatus::InitialAssignment)
    );
    assert_eq!(dps.wire.begun(), 2);
    dps.finish().await;
}

/// The operation is known: the device does not register again.
async fn dropped_at_poll(case: Case, effect: Effect) {
    let (dps, client) = case.enrolled().await;
    case.next(&dps, Step::Poll, effect);
    let mut watched = Watched::of(client.register());

    let (error, _) = watched.retrying().await;
    let (names, assigned) = watched.end().await;

    assert_eq!(error.kind(), ErrorKind::Connect);
    let assigned = assigned.expect("the device is assigned");
    assert_eq!(
        assigned.substatus(),
        Some(&RegistrationSubstatus::InitialAssignment)
    );
    assert_eq!(
        names,
        [
            "connecting",
            "registering",
            "assigning",
            "retrying",
            "connecting",
            "assigned"
        ]
    );
    assert_eq!(dps.wire.begun(), 2);
    dps.finish().await;
}
