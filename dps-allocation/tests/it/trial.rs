//! Trying a policy on a recorded request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dps_allocation::policies::{ByPayload, EvenlyWeighted};
use dps_allocation::{Allocation, ErrorKind, Outcome, PolicyTest, Rejection, Webhook, from_fn};
use dps_types::ErrorCode;
use dps_types::enrollment::InitialTwin;
use serde_json::{Value, json};

use crate::common::{DOCUMENTED_REQUEST, HUB_A, HUB_B, to};

fn documented() -> PolicyTest {
    PolicyTest::recorded(DOCUMENTED_REQUEST).unwrap()
}

#[tokio::test]
async fn a_policy_that_knows_its_device_passes() {
    let policy = from_fn(|request| {
        Ok(Allocation::to(&request.linked_hubs[1])
            .initial_twin(InitialTwin::desired([("darkness", "medium")]))
            .payload(json!({ "greeting": "hello" })))
    });
    let outcome = documented().of(policy).await;
    assert_eq!(
        outcome.to_string(),
        r#"is assigned to hub-b.azure-devices.net, starts with the twin {"properties":{"desired":{"darkness":"medium"}}}, is sent {"greeting":"hello"}"#
    );
    assert_eq!(
        (outcome.error_code(), outcome.error_message()),
        (None, None)
    );
    outcome
        .assert_hub("HUB-B.azure-devices.net")
        .assert_payload(json!({ "greeting": "hello" }))
        .assert_initial_twin(json!({ "properties": { "desired": { "darkness": "medium" } } }));
    documented()
        .of(to(HUB_A))
        .await
        .assert_payload(Value::Null)
        .assert_initial_twin(Value::Null);
}

#[tokio::test]
async fn a_device_that_is_rejected_sees_the_status_and_the_tester_the_reason() {
    let policy = from_fn(|_| Err(Rejection::new("no room for dev-007").with_status(409)));
    let outcome = documented().of(policy).await;
    assert_eq!(outcome.hub(), None);
    assert_eq!(
        outcome.error_code(),
        Some(ErrorCode::CUSTOM_ALLOCATION_FAILED)
    );
    assert_eq!(
        outcome.error_message(),
        Some("Custom allocation failed with status code: 409")
    );
    assert_eq!(outcome.reason(), Some("no room for dev-007"));
    outcome.assert_rejected("no room");
}

#[tokio::test]
async fn a_trial_takes_the_whole_way() {
    // A hub that is not linked, and a panic, are found out as the webhook would.
    let outcome = documented().of(to("gone.azure-devices.net")).await;
    outcome.assert_rejected("gone.azure-devices.net, which is not one of the linked hubs");
    let panics = from_fn(|_| panic!("out of toast"));
    documented()
        .of(panics)
        .await
        .assert_rejected("the allocation policy failed");
    // The webhook's own settings count, its function key does not.
    let webhook = Webhook::new(to(HUB_A))
        .with_function_key("k")
        .with_body_limit(10);
    documented()
        .at(&webhook)
        .await
        .assert_rejected("status code: 413");
    let webhook = Webhook::new(to(HUB_A)).with_function_key("k");
    documented().at(&webhook).await.assert_hub(HUB_A);
}

#[tokio::test]
async fn a_request_can_be_varied() {
    let policy = Arc::new(
        ByPayload::field("k")
            .when("v", to(HUB_B))
            .otherwise(EvenlyWeighted::new()),
    );
    let mut trial = documented();
    trial.of(policy.clone()).await.assert_hub(HUB_B);
    trial.request_mut().device_runtime_context.payload = None;
    trial
        .of(policy)
        .await
        .assert_rejected("the device sent no payload");
}

#[test]
fn what_is_no_request_is_said_so() {
    for bad in ["", "{}", "[]", r#"{"linkedHubs":[]}"#] {
        let error = PolicyTest::recorded(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{bad}");
    }
}

/// What an assertion that does not hold says.
fn complaint(check: impl FnOnce() -> Outcome) -> String {
    let panic = std::panic::catch_unwind(AssertUnwindSafe(check)).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap()
}

#[tokio::test]
async fn an_assertion_that_does_not_hold_says_what_happens_instead() {
    let (one, other) = (
        documented().of(to(HUB_A)).await,
        documented().of(to(HUB_A)).await,
    );
    assert_eq!(
        complaint(|| one.assert_hub(HUB_B)),
        "expected hub-b.azure-devices.net, but the device is assigned to hub-a.azure-devices.net"
    );
    assert_eq!(
        complaint(|| other.assert_rejected("full")),
        r#"expected a rejection for "full", but the device is assigned to hub-a.azure-devices.net"#
    );
    let full = || from_fn(|_| Err(Rejection::new("full")));
    let (one, other, third) = (
        documented().of(full()).await,
        documented().of(full()).await,
        documented().of(full()).await,
    );
    let happens = "but the device is not assigned: errorCode 400207, Custom allocation failed with status code: 400 (the webhook says: full)";
    assert_eq!(
        complaint(|| one.assert_payload(1)),
        format!("expected the payload 1, {happens}")
    );
    assert_eq!(
        complaint(|| other.assert_initial_twin(2)),
        format!("expected the twin 2, {happens}")
    );
    assert!(complaint(|| third.assert_rejected("closed")).ends_with(happens));
}
