//! A registration that is dropped: its connection is closed, and the next one works.

use dps_emulator::fault::{Effect, Step};

use crate::case::Case;
use crate::dps::HUB;
use crate::hook::Hook;
use crate::story::Story;

pub(crate) async fn cancelled_at_connect(case: Case) {
    cancelled(case, Step::Connect).await;
}

pub(crate) async fn cancelled_at_register(case: Case) {
    cancelled(case, Step::Register).await;
}

pub(crate) async fn cancelled_at_poll(case: Case) {
    cancelled(case, Step::Poll).await;
}

pub(crate) async fn cancelled_between_polls(case: Case) {
    let hook = Hook::hesitating().await;
    let url = hook.url.clone();
    let by_hook = move |enrollment: crate::proof::Enrollment| enrollment.allocated_by(&url);
    let (dps, client) = case.enrolled_with(by_hook).await;

    let mut story = Story::of(client.register());
    story.until("assigning").await;
    drop(story);
    dps.wire.all_closed().await;

    let mut story = Story::of(client.register());
    story.until("assigning").await;
    hook.release();
    let (_, assigned) = story.end().await;
    assert_eq!(assigned.expect("assigned").hub().as_str(), HUB);
    assert_eq!(hook.heard().len(), 1, "it joins the operation");
    assert_eq!(dps.wire.begun(), 2);
    dps.finish().await;
}

async fn cancelled(case: Case, step: Step) {
    let (dps, client) = case.enrolled().await;
    case.next(&dps, step, Effect::Silence);

    dps.until_met(client.register().into_future()).await;
    dps.wire.all_closed().await;

    let assigned = client.register().await.expect("the device is assigned");
    assert_eq!(assigned.hub().as_str(), HUB);
    assert_eq!(dps.wire.begun(), 2, "nothing goes on after the drop");
    dps.finish().await;
}
