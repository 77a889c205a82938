//! The connection is lost, and the registration goes on where it was.

use dps_device::ErrorKind;
use dps_emulator::fault::{Effect, Step};
use dps_types::RegistrationSubstatus;

use crate::case::Case;
use crate::dps::HUB;
use crate::hook::Hook;
use crate::story::Story;

pub(crate) async fn dropped_at_connect(case: Case) {
    dropped_before_anything(case, Step::Connect).await;
}

pub(crate) async fn dropped_before_register(case: Case) {
    dropped_before_anything(case, Step::Register).await;
}

/// The service is at work, and the device does not know: it registers again and joins.
pub(crate) async fn dropped_after_register(case: Case) {
    let hook = Hook::hesitating().await;
    let url = hook.url.clone();
    let by_hook = move |enrollment: crate::proof::Enrollment| enrollment.allocated_by(&url);
    let (dps, client) = case.enrolled_with(by_hook).await;
    case.next(&dps, Step::Register, Effect::DropAfter);
    let mut story = Story::of(client.register());

    story.until("assigning").await;
    hook.release();
    let (_, assigned) = story.end().await;

    let assigned = assigned.expect("the device is assigned");
    assert_eq!(assigned.hub().as_str(), HUB);
    assert_eq!(
        assigned.substatus(),
        Some(&RegistrationSubstatus::InitialAssignment)
    );
    assert_eq!(hook.heard().len(), 1, "there is one operation");
    assert_eq!(dps.wire.begun(), 2);
    dps.finish().await;
}

pub(crate) async fn dropped_before_poll(case: Case) {
    dropped_at_poll(case, Effect::Drop).await;
}

pub(crate) async fn dropped_after_poll(case: Case) {
    dropped_at_poll(case, Effect::DropAfter).await;
}

async fn dropped_before_anything(case: Case, step: Step) {
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
    let mut story = Story::of(client.register());

    let (error, _) = story.retrying().await;
    let (told, assigned) = story.end().await;

    assert_eq!(error.kind(), ErrorKind::Connect);
    let assigned = assigned.expect("the device is assigned");
    assert_eq!(
        assigned.substatus(),
        Some(&RegistrationSubstatus::InitialAssignment)
    );
    assert_eq!(
        told,
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
