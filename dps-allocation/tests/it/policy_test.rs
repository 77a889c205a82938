//! Tests of a policy with a recorded request.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use dps_allocation::policies::{ByPayload, EvenlyWeighted};
use dps_allocation::{Allocation, ErrorKind, Outcome, PolicyTest, Rejection, Webhook, from_fn};
use dps_types::ErrorCode;
use dps_types::enrollment::InitialTwin;
use serde_json::{Value, json};

use crate::common::{DOCUMENTED_REQUEST, HUB_A, HUB_B, to};

fn documented() -> PolicyTest {
    PolicyTest::from_json(DOCUMENTED_REQUEST).unwrap()
}

#[tokio::test]
async fn the_outcome_of_a_policy_can_be_asserted() {
    let policy = from_fn(|request| {
        Ok(Allocation::to(request.linked_hubs[1].clone())
            .initial_twin(InitialTwin::desired([("darkness", "medium")]))
            .payload(json!({ "greeting": "hello" })))
    });
    let outcome = documented().run(policy).await;
    assert_eq!(
        outcome.to_string(),
        r#"is assigned to hub-b.azure-devices.net, starts with the twin {"properties":{"desired":{"darkness":"medium"}}}, receives {"greeting":"hello"}"#
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
        .run(to(HUB_A))
        .await
        .assert_payload(Value::Null)
        .assert_initial_twin(Value::Null);
}

#[tokio::test]
async fn the_device_gets_the_status_and_the_test_gets_the_reason() {
    let policy = from_fn(|_| Err(Rejection::new("no capacity for dev-007").with_status(409)));
    let outcome = documented().run(policy).await;
    assert_eq!(outcome.hub(), None);
    assert_eq!(
        outcome.error_code(),
        Some(ErrorCode::CUSTOM_ALLOCATION_FAILED)
    );
    assert_eq!(
        outcome.error_message(),
        Some("Custom allocation failed with status code: 409")
    );
    assert_eq!(outcome.reason(), Some("no capacity for dev-007"));
    outcome.assert_rejected("no capacity");
}

#[tokio::test]
async fn a_test_makes_the_checks_of_the_webhook() {
    // The webhook rejects a hub that is not linked, and catches a panic.
    let outcome = documented().run(to("gone.azure-devices.net")).await;
    outcome.assert_rejected("gone.azure-devices.net, which is not one of the linked hubs");
    let panics = from_fn(|_| panic!("no toaster"));
    documented()
        .run(panics)
        .await
        .assert_rejected("the allocation policy failed");
    // The settings of the webhook apply, except its function key.
    let webhook = Webhook::new(to(HUB_A))
        .with_function_key("k")
        .with_body_limit(10);
    documented()
        .run_webhook(&webhook)
        .await
        .assert_rejected("status code: 413");
    let webhook = Webhook::new(to(HUB_A)).with_function_key("k");
    documented().run_webhook(&webhook).await.assert_hub(HUB_A);
}

#[tokio::test]
async fn a_request_can_be_changed() {
    let policy = Arc::new(
        ByPayload::field("k")
            .when("v", to(HUB_B))
            .otherwise(EvenlyWeighted::new()),
    );
    let mut test = documented();
    test.run(policy.clone()).await.assert_hub(HUB_B);
    test.request_mut().device_runtime_context.payload = None;
    test.run(policy)
        .await
        .assert_rejected("the device sent no payload");
}

#[test]
fn an_invalid_request_is_an_error() {
    for bad in ["", "{}", "[]", r#"{"linkedHubs":[]}"#] {
        let error = PolicyTest::from_json(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{bad}");
    }
}

/// The message of an assertion that fails.
fn failure(check: impl FnOnce() -> Outcome) -> String {
    let panic = std::panic::catch_unwind(AssertUnwindSafe(check)).unwrap_err();
    panic.downcast_ref::<String>().cloned().unwrap()
}

#[tokio::test]
async fn a_failed_assertion_reports_the_outcome() {
    let (one, other) = (
        documented().run(to(HUB_A)).await,
        documented().run(to(HUB_A)).await,
    );
    assert_eq!(
        failure(|| one.assert_hub(HUB_B)),
        "expected hub-b.azure-devices.net, but the device is assigned to hub-a.azure-devices.net"
    );
    assert_eq!(
        failure(|| other.assert_rejected("full")),
        r#"expected a rejection with "full", but the device is assigned to hub-a.azure-devices.net"#
    );
    let full = || from_fn(|_| Err(Rejection::new("full")));
    let (one, other, third) = (
        documented().run(full()).await,
        documented().run(full()).await,
        documented().run(full()).await,
    );
    let happens = "but the device is not assigned: errorCode 400207, Custom allocation failed with status code: 400 (the webhook reports: full)";
    assert_eq!(
        failure(|| one.assert_payload(1)),
        format!("expected the payload 1, {happens}")
    );
    assert_eq!(
        failure(|| other.assert_initial_twin(2)),
        format!("expected the twin 2, {happens}")
    );
    assert!(failure(|| third.assert_rejected("closed")).ends_with(happens));
}
