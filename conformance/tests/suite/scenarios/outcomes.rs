//! How registrations end when nothing goes wrong on the way.

use dps_device::{ErrorKind, Event};
use dps_types::{ErrorCode, RegistrationStatus, RegistrationSubstatus};
use serde_json::json;

use crate::case::Case;
use crate::dps::HUB;
use crate::hook::Hook;
use crate::proof::{DEVICE, Enrollment};
use crate::story::Story;

pub(crate) async fn success(case: Case) {
    let (dps, client) = case.enrolled().await;

    let (told, assigned) = Story::of(client.register()).end().await;

    let assigned = assigned.expect("the device is assigned");
    assert_eq!(assigned.hub().as_str(), HUB);
    assert_eq!(assigned.device_id().as_str(), DEVICE);
    assert_eq!(
        assigned.substatus(),
        Some(&RegistrationSubstatus::InitialAssignment)
    );
    assert_eq!(told, ["connecting", "registering", "assigning", "assigned"]);
    assert_eq!(dps.wire.begun(), 1, "a registration is one connection");
    let id = DEVICE.parse().expect("a registration id");
    let record = dps.service().registrations().get(&id).await;
    let record = record.expect("the operator sees it");
    assert_eq!(record.status, Some(RegistrationStatus::Assigned));
    dps.finish().await;
}

pub(crate) async fn register_again_after_success(case: Case) {
    let (dps, client) = case.enrolled().await;

    let first = client.register().await.expect("the device is assigned");
    let again = client.register().await.expect("the device is assigned");

    assert_eq!(again.hub(), first.hub());
    assert_eq!(again.device_id(), first.device_id());
    dps.finish().await;
}

pub(crate) async fn payload_goes_both_ways(case: Case) {
    let hook = Hook::assigning().await;
    let (dps, client) = case.enrolled_with(by(&hook)).await;
    let payload = json!({"model": "toaster", "slots": [1, 2.5], "unit": "°C", "cord": null});

    let assigned = client.register().payload(payload.clone()).await;

    let assigned = assigned.expect("the device is assigned");
    assert_eq!(assigned.payload_json(), Some(&payload));
    assert_eq!(hook.heard(), [Some(payload)]);
    dps.finish().await;
}

pub(crate) async fn assigning_then_assigned(case: Case) {
    let hook = Hook::hesitating().await;
    let (dps, client) = case.enrolled_with(by(&hook)).await;
    let mut story = Story::of(client.register());

    let operations = [
        operation(story.until("assigning").await),
        operation(story.until("assigning").await),
        operation(story.until("assigning").await),
    ];
    hook.release();
    let (_, assigned) = story.end().await;

    assert_eq!(operations[0], operations[1]);
    assert_eq!(operations[0], operations[2]);
    assert_eq!(assigned.expect("assigned").hub().as_str(), HUB);
    assert_eq!(dps.wire.begun(), 1, "polls share the connection");
    dps.finish().await;
}

pub(crate) async fn failed_by_the_webhook(case: Case) {
    let hook = Hook::refusing().await;
    let (dps, client) = case.enrolled_with(by(&hook)).await;

    let (told, failed) = Story::of(client.register()).end().await;

    let error = failed.expect_err("there is no hub");
    assert_eq!(error.kind(), ErrorKind::Failed);
    let code = error.error_details().and_then(|details| details.error_code);
    assert_eq!(code.map(ErrorCode::get), Some(400_207));
    assert!(!error.is_retryable());
    assert_eq!(told.last(), Some(&"failed"));
    assert!(!told.contains(&"retrying"), "{told:?}");
    assert_eq!(hook.heard(), [None], "it is asked once");
    dps.finish().await;
}

pub(crate) async fn disabled(case: Case) {
    let (dps, client) = case.enrolled_with(Enrollment::disabled).await;

    let error = client.register().await.expect_err("the device is disabled");

    assert_eq!(error.kind(), ErrorKind::Disabled);
    assert!(!error.is_retryable());
    dps.finish().await;
}

pub(crate) async fn unknown_id(case: Case) {
    let (dps, client) = case.unknown().await;

    let (told, refused) = Story::of(client.register()).end().await;

    let error = refused.expect_err("nobody is enrolled");
    assert_eq!(error.kind(), case.unknown_is());
    assert!(!told.contains(&"retrying"), "{told:?}");
    assert_eq!(dps.wire.begun(), 1, "a refusal is final");
    dps.finish().await;
}

pub(crate) async fn wrong_credentials(case: Case) {
    let (dps, client) = case.impostor().await;

    let (told, refused) = Story::of(client.register()).end().await;

    let error = refused.expect_err("this is another device");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!error.is_retryable());
    assert!(!told.contains(&"retrying"), "{told:?}");
    assert_eq!(dps.wire.begun(), 1, "a refusal is final");
    dps.finish().await;
}

fn by(hook: &Hook) -> impl FnOnce(Enrollment) -> Enrollment {
    let url = hook.url.clone();
    move |enrollment| enrollment.allocated_by(&url)
}

fn operation(event: Event) -> String {
    match event {
        Event::Assigning { operation_id, .. } => operation_id.to_string(),
        other => panic!("{other:?} has no operation"),
    }
}
