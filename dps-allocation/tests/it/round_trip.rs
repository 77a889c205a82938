//! A webhook that calls another webhook.

use dps_allocation::policies::{ByPayload, Fixed};
use dps_allocation::{AllocationPolicy as _, Rejection, Webhook, WebhookClient, from_fn};
use serde_json::json;

use crate::common::{HUB_A, HUB_B, request, request_with};
use crate::http::Served;

#[tokio::test]
async fn a_webhook_can_return_the_answer_of_another_webhook() {
    let policy = ByPayload::field("model")
        .when("toaster", Fixed::to(HUB_B.parse().unwrap()))
        .otherwise(from_fn(|_| Err(Rejection::new("gone").with_status(410))));
    let inner = Served::start(Webhook::new(policy).with_function_key("s3cret")).await;
    let url = format!(
        "http://localhost:{}/api/f?code=s3cret",
        inner.address.port()
    );
    let client = WebhookClient::new();
    let outer = Served::start(Webhook::new(client.caller(&url).unwrap())).await;
    let caller = client
        .caller(&format!("http://{}/", outer.address))
        .unwrap();

    let model = |model| {
        request_with(
            "dev-1",
            &[HUB_A, HUB_B],
            json!({ "payload": { "model": model } }),
        )
    };
    let allocation = caller.allocate(&model("toaster")).await.unwrap();
    assert_eq!(allocation.hub().as_str(), HUB_B);

    let rejection = caller.allocate(&model("kettle")).await.unwrap_err();
    assert_eq!(
        rejection.message(),
        "Custom allocation failed with status code: 410"
    );
    let rejection = caller
        .allocate(&request("dev-1", &[HUB_A]))
        .await
        .unwrap_err();
    assert_eq!(
        rejection.message(),
        "Custom allocation failed with status code: 400"
    );

    let stranger = client.caller(&url.replace("s3cret", "other")).unwrap();
    let rejection = stranger.allocate(&model("toaster")).await.unwrap_err();
    assert_eq!(
        rejection.message(),
        "Custom allocation failed with status code: 401"
    );
}
