//! The body of a registration, in the forms that SDKs send and in forms that are not valid.

use crate::common::{Dps, REGISTER};

#[tokio::test]
async fn bodies_of_every_sdk() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    for body in [
        "",
        " ",
        "{}",
        r#"{"registrationId":"dev-1"}"#,
        r#"{"payload": null, "registrationId": "dev-1"}"#,
        r#"{"registrationId":"DEV-1","payload":{"a":[1,2.5,"x"]}}"#,
        r#"{"payload":"text"}"#,
        r#"{"registrationId":"dev-1","somethingNew":{"deep":[]}}"#,
        "\r\n{ \"registrationId\" : \"dev-1\" }\n",
    ] {
        let operation = client.register(body.as_bytes()).await;
        let document = client.finish(&operation).await;
        assert_eq!(document["status"], "assigned", "{body}: {document}");
        assert_eq!(document["registrationState"]["registrationId"], "dev-1");
    }
}

#[tokio::test]
async fn another_registration_id() {
    let dps = Dps::with_device().await;
    dps.enroll("dev-2").await;
    let mut client = dps.mqtt_device("dev-1").await;
    let body = br#"{"registrationId":"dev-2"}"#;
    let response = client.ask(&format!("{REGISTER}1"), body).await;
    assert_eq!(response.topic, "$dps/registrations/res/400/?$rid=1");
    response.assert_error(
        400_004,
        "The registrationId in the body is not the one in the path.",
    );
    // The connection stays open.
    client.provision().await;
}

#[tokio::test]
async fn bodies_that_are_not_a_registration() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    for body in [&b"not json"[..], b"{", b"{} {}", b"\xFF\xFE", b"\0"] {
        let response = client.ask(&format!("{REGISTER}1"), body).await;
        assert_eq!(response.topic, "$dps/registrations/res/400/?$rid=1");
        assert_eq!(response.json()["errorCode"], 400_006, "{response:?}");
    }
    for body in [
        &b"[]"[..],
        b"null",
        b"\"dev-1\"",
        br#"{"registrationId":7}"#,
        br#"{"registrationId":"dev 1"}"#,
    ] {
        let response = client.ask(&format!("{REGISTER}1"), body).await;
        let text = String::from_utf8_lossy(body);
        assert_eq!(
            response.topic, "$dps/registrations/res/400/?$rid=1",
            "{text}"
        );
        assert!(response.json()["message"].is_string(), "{response:?}");
    }
    client.provision().await;
}

#[tokio::test]
async fn a_body_nested_too_deeply() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let body = format!(r#"{{"payload":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    let response = client.ask(&format!("{REGISTER}1"), body.as_bytes()).await;
    assert_eq!(response.topic, "$dps/registrations/res/400/?$rid=1");
    client.provision().await;
}

#[tokio::test]
async fn a_large_body() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let body = format!(r#"{{"payload":"{}"}}"#, "x".repeat(96 * 1024 - 14));
    let operation = client.register(body.as_bytes()).await;
    assert_eq!(client.finish(&operation).await["status"], "assigned");
}

/// Api-version 2019-03-31 has no certificate requests, and ignores members that it does not have.
#[tokio::test]
async fn an_older_api_version_ignores_a_certificate_request() {
    let dps = Dps::with_device().await;
    let mut client = dps.mqtt_device("dev-1").await;
    let body = br#"{"registrationId":"dev-1","csr":"MIIB"}"#;
    let operation = client.register(body).await;
    let document = client.finish(&operation).await;
    assert_eq!(document["status"], "assigned", "{document}");
    assert!(
        document["registrationState"]
            .get("issuedCertificateChain")
            .is_none()
    );
}
