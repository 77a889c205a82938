//! A registration that is dropped: its connection is closed, and the next one works.

use dps_emulator::fault::{Effect, Step};

use crate::case::Case;
use crate::dps::HUB;
use crate::hook::TestWebhook;
use crate::watched::Watched;

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
    let hook = TestWebhook::waiting().await;
    let url = hook.url.clone();
    let by_webhook = move |enrollment: crate::proof::Enrollment| enrollment.allocated_by(&url);
    let (dps, client) = case.enrolled_with(by_webhook).await;

    let mut watched = Watched::of(client.register());
    watched.until("assigning").await;
    drop(watched);
    dps.wire.all_closed().await;

    let mut watched = Watched::of(client.register());
    watched.until("assigning").await;
    hook.release();
    let (_, assigned) = watched.end().await;
    assert_eq!(assigned.expect("assigned").hub().as_str(), HUB);
    assert_eq!(hook.payloads().len(), 1, "it joins the operation");
    assert_eq!(dps.wire.begun(), 2);
    dps.finish().await;
}

async fn cancelled(case: Case, step: Step) {
    let (dps, client) = case.enrolled().await;
    case.next(&dps, step, Effect::Silence);

    dps.until_faults_used(client.register().into_future()).await;
    dps.wire.all_closed().await;

    let assigned = client.register().await.expect("the device is assigned");
    assert_eq!(assigned.hub().as_str(), HUB);
    assert_eq!(dps.wire.begun(), 2, "nothing is sent after the drop");
    dps.finish().await;
}
