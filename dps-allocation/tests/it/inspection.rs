//! The inspection of webhooks whose answers are valid, invalid or missing.

use dps_allocation::{Inspection, WebhookClient};
use dps_types::{AllocationRequest, ErrorCode};

use crate::common::{DOCUMENTED_REQUEST, HUB_A};
use crate::mock::Mock;

fn documented() -> AllocationRequest {
    serde_json::from_str(DOCUMENTED_REQUEST).unwrap()
}

async fn inspect(status: &str, body: &str) -> Inspection {
    let mock = Mock::answering(status, body).await;
    WebhookClient::new()
        .inspect(&mock.url(), &documented())
        .await
        .unwrap()
}

fn remarks(inspection: &Inspection) -> String {
    inspection.remarks().collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn a_valid_answer_has_only_a_remark_on_the_url() {
    let inspection = inspect("200 OK", r#"{"iotHubHostName":"hub-a.azure-devices.net"}"#).await;
    assert_eq!(inspection.status(), Some(200));
    assert_eq!(inspection.outcome().hub().unwrap().as_str(), HUB_A);
    let all = remarks(&inspection);
    assert!(all.contains("only https URLs"), "{all}");
    let text = inspection.to_string();
    assert!(text.contains("/api/f?****: 200, 44 bytes in "), "{text}");
    assert!(
        text.contains("The device is assigned to hub-a.azure-devices.net."),
        "{text}"
    );
    assert!(!text.contains("s3cret"), "{text}");
}

#[tokio::test]
async fn an_invalid_answer_is_explained() {
    for (status, body, outcome, remark) in [
        ("401 Unauthorized", "", "status code: 401", "?code="),
        ("404 Not Found", "", "status code: 404", "/api/NAME"),
        ("302 Found", "", "status code: 302", "follow redirects"),
        ("202 Accepted", "{}", "status code: 202", "only status 200"),
        (
            "500 Oops",
            "disk full",
            "(the webhook reports: disk full)",
            "",
        ),
        (
            "400 No",
            r#"{"message":"no toast"}"#,
            "(the webhook reports: no toast)",
            "",
        ),
        ("200 OK", "", "the webhook's answer is empty", ""),
        ("200 OK", "<html>", "the webhook's answer is HTML", ""),
        (
            "403 Forbidden",
            "<html>blocked</html>",
            "status code: 403",
            "another server may have answered",
        ),
        (
            "200 OK",
            r#"{"iotHubHostName":"gone"}"#,
            "gone, which is not one of the linked hubs",
            "",
        ),
        (
            "200 OK",
            r#"{"iotHubHostName":"hub-a.azure-devices.net","inititalTwin":{},"x":1}"#,
            "is assigned to hub-a.azure-devices.net",
            "DPS ignores inititalTwin, x.",
        ),
    ] {
        let inspection = inspect(status, body).await;
        let text = inspection.to_string();
        assert!(text.contains(outcome), "{status} {body}: {text}");
        assert!(
            remarks(&inspection).contains(remark),
            "{status} {body}: {text}"
        );
    }
}

#[tokio::test]
async fn a_large_answer_gets_a_remark_before_it_is_too_large() {
    let payload = "x".repeat(60 * 1024);
    let body = format!(r#"{{"iotHubHostName":"hub-a.azure-devices.net","payload":"{payload}"}}"#);
    let inspection = inspect("200 OK", &body).await;
    assert!(inspection.outcome().hub().is_some());
    assert!(
        remarks(&inspection).contains("messages of up to 98304"),
        "{inspection}"
    );

    let body =
        format!(r#"{{"iotHubHostName":"hub-a.azure-devices.net","payload":"{payload}{payload}"}}"#);
    let inspection = inspect("200 OK", &body).await;
    assert_eq!(
        inspection.outcome().error_code(),
        Some(ErrorCode::CUSTOM_ALLOCATION_FAILED)
    );
    let message = inspection.outcome().error_message().unwrap();
    assert!(message.contains("larger than 98304 bytes"), "{message}");
}

#[tokio::test]
async fn a_webhook_that_cannot_be_reached_is_an_outcome_not_an_error() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/api/f", listener.local_addr().unwrap());
    drop(listener);
    let inspection = WebhookClient::new()
        .inspect(&url, &documented())
        .await
        .unwrap();
    assert_eq!(inspection.status(), None);
    let text = inspection.to_string();
    assert!(text.contains("no answer in "), "{text}");
    assert!(
        text.contains("the webhook refused the connection"),
        "{text}"
    );

    assert!(
        WebhookClient::new()
            .inspect("gopher://x", &documented())
            .await
            .is_err()
    );
}
