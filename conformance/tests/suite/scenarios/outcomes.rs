//! The outcomes of a registration without faults.

use dps_device::{ErrorKind, Event};
use dps_types::{ErrorCode, RegistrationStatus, RegistrationSubstatus};
use serde_json::json;

use crate::case::Case;
use crate::dps::HUB;
use crate::hook::TestWebhook;
use crate::proof::{DEVICE, Enrollment};
use crate::watched::Watched;

pub(crate) async fn success(case: Case) {
    let (dps, client) = case.enrolled().await;

    let (names, assigned) = Watched::of(client.register()).end().await;

    let assigned = assigned.expect("the device is assigned");
    assert_eq!(assigned.hub().as_str(), HUB);
    assert_eq!(assigned.device_id().as_str(), DEVICE);
    assert_eq!(
        assigned.substatus(),
        Some(&RegistrationSubstatus::InitialAssignment)
    );
    assert_eq!(
        names,
        ["connecting", "registering", "assigning", "assigned"]
    );
    assert_eq!(dps.wire.begun(), 1, "a registration is one connection");
    let id = DEVICE.parse().expect("a registration id");
    let record = dps.service().registrations().get(&id).await;
    let record = record.expect("the registration record exists");
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
    let hook = TestWebhook::assigning().await;
    let (dps, client) = case.enrolled_with(by(&hook)).await;
    let payload = json!({"model": "toaster", "slots": [1, 2.5], "unit": "°C", "cord": null});

    let assigned = client.register().payload(payload.clone()).await;

    let assigned = assigned.expect("the device is assigned");
    assert_eq!(assigned.payload_json(), Some(&payload));
    assert_eq!(hook.payloads(), [Some(payload)]);
    dps.finish().await;
}

pub(crate) async fn assigning_then_assigned(case: Case) {
    let hook = TestWebhook::waiting().await;
    let (dps, client) = case.enrolled_with(by(&hook)).await;
    let mut watched = Watched::of(client.register());

    let operations = [
        operation(watched.until("assigning").await),
        operation(watched.until("assigning").await),
        operation(watched.until("assigning").await),
    ];
    hook.release();
    let (_, assigned) = watched.end().await;

    assert_eq!(operations[0], operations[1]);
    assert_eq!(operations[0], operations[2]);
    assert_eq!(assigned.expect("assigned").hub().as_str(), HUB);
    assert_eq!(dps.wire.begun(), 1, "polls share the connection");
    dps.finish().await;
}

pub(crate) async fn failed_by_the_webhook(case: Case) {
    let hook = TestWebhook::refusing().await;
    let (dps, client) = case.enrolled_with(by(&hook)).await;

    let (names, failed) = Watched::of(client.register()).end().await;

    let error = failed.expect_err("there is no hub");
    assert_eq!(error.kind(), ErrorKind::Failed);
    let code = error.error_details().and_then(|details| details.error_code);
    assert_eq!(code.map(ErrorCode::get), Some(400_207));
    assert!(!error.is_retryable());
    assert_eq!(names.last(), Some(&"failed"));
    assert!(!names.contains(&"retrying"), "{names:?}");
    assert_eq!(hook.payloads(), [None], "it is called once");
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

    let (names, refused) = Watched::of(client.register()).end().await;

    let error = refused.expect_err("there is no enrollment");
    assert_eq!(error.kind(), case.unknown_is());
    assert!(!names.contains(&"retrying"), "{names:?}");
    assert_eq!(dps.wire.begun(), 1, "a refusal is final");
    dps.finish().await;
}

pub(crate) async fn wrong_credentials(case: Case) {
    let (dps, client) = case.impostor().await;

    let (names, refused) = Watched::of(client.register()).end().await;

    let error = refused.expect_err("this is another device");
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    assert!(!error.is_retryable());
    assert!(!names.contains(&"retrying"), "{names:?}");
    assert_eq!(dps.wire.begun(), 1, "a refusal is final");
    dps.finish().await;
}

fn by(hook: &TestWebhook) -> impl FnOnce(Enrollment) -> Enrollment {
    let url = hook.url.clone();
    move |enrollment| enrollment.allocated_by(&url)
}

fn operation(event: Event) -> String {
    match event {
        Event::Assigning { operation_id, .. } => operation_id.to_string(),
        other => panic!("{other:?} has no operation"),
    }
}
