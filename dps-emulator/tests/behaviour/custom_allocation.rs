//! Custom allocation: the request to the webhook, and the effect of its response.

use dps_allocation::{Allocation, Rejection, Webhook, from_async_fn, from_fn};
use dps_emulator::{CertificateAuthority, DeviceCredentials};
use dps_tls::Roots;
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::{Value, json};

use crate::common::linked;
use crate::common::{
    Dps, Hook, KEY_1, KEY_2, certificate_enrollment, derive, key_enrollment, key_group, serve,
    stored_etag, with,
};

async fn two_hubs() -> Dps {
    Dps::start_with(|builder| {
        builder
            .link_hub(linked("hub-a.example"))
            .link_hub(linked("hub-b.example"))
    })
    .await
}

fn by(url: &str) -> Value {
    json!({
        "allocationPolicy": "custom",
        "customAllocationDefinition": { "webhookUrl": url, "apiVersion": "2021-10-01" },
    })
}

#[tokio::test]
async fn the_webhook_request_is_that_of_the_documentation() {
    let dps = two_hubs().await;
    let hook = Hook::saying(200, r#"{"iotHubHostName":"hub-b.example"}"#).await;
    let group = with(
        with(key_group("contoso-toasters", KEY_1, KEY_2), by(&hook.url)),
        json!({
            "capabilities": { "iotEdge": false },
            "provisioningStatus": "enabled",
            "reprovisionPolicy": { "updateHubAssignment": true, "migrateDeviceData": true },
            "iotHubs": ["hub-a.example", "hub-b.example"],
        }),
    );
    let created = dps
        .create("/enrollmentGroups/contoso-toasters", &group)
        .await;
    let device = dps.device("dev-007").key(&derive(KEY_1, "dev-007"));
    let body = json!({ "registrationId": "dev-007", "payload": { "k": "v" } });
    device.provision_with(body).await;

    let asked = hook.asked(1).await;
    let head = asked[0].head.to_ascii_lowercase();
    assert!(
        head.starts_with("post /api/allocate?code=function-key-secret http/1.1\r\n"),
        "{head}"
    );
    assert!(head.contains("content-type: application/json"), "{head}");
    let masked = hook.url.replace("code=function-key-secret", "****");
    assert_eq!(
        asked[0].body,
        json!({
            "enrollmentGroup": {
                "enrollmentGroupId": "contoso-toasters",
                "attestation": { "type": "symmetricKey" },
                "capabilities": { "iotEdge": false },
                "etag": stored_etag(&created["etag"]),
                "provisioningStatus": "enabled",
                "reprovisionPolicy": { "updateHubAssignment": true, "migrateDeviceData": true },
                "createdDateTimeUtc": created["createdDateTimeUtc"],
                "lastUpdatedDateTimeUtc": created["lastUpdatedDateTimeUtc"],
                "allocationPolicy": "custom",
                "iotHubs": ["hub-a.example", "hub-b.example"],
                "customAllocationDefinition": { "webhookUrl": masked, "apiVersion": "2021-10-01" },
            },
            "deviceRuntimeContext": {
                "registrationId": "dev-007",
                "symmetricKey": {},
                "payload": { "k": "v" },
            },
            "linkedHubs": ["hub-a.example", "hub-b.example"],
        })
    );
}

#[tokio::test]
async fn the_webhook_receives_the_current_hub_of_a_device_that_registers_again() {
    let dps = two_hubs().await;
    let hook = Hook::saying(200, r#"{"iotHubHostName":"hub-b.example"}"#).await;
    let enrollment = with(key_enrollment("dev-1", KEY_1, KEY_2), by(&hook.url));
    let enrollment = with(enrollment, json!({ "deviceId": "toaster" }));
    dps.create("/enrollments/dev-1", &enrollment).await;
    let device = dps.device("dev-1").key(KEY_1);
    device.assigned().await;
    device.assigned().await;

    let asked = hook.asked(2).await;
    let context = |at: usize| &asked[at].body["deviceRuntimeContext"];
    assert_eq!(
        context(0),
        &json!({ "registrationId": "dev-1", "symmetricKey": {} })
    );
    assert_eq!(
        context(1),
        &json!({
            "registrationId": "dev-1",
            "currentIotHubHostName": "hub-b.example",
            "currentDeviceId": "toaster",
            "symmetricKey": {},
        })
    );
}

#[tokio::test]
async fn a_certificate_is_shown_to_the_webhook_and_nothing_else_of_the_attestation() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let dps = two_hubs().await;
    let hook = Hook::saying(200, r#"{"iotHubHostName":"hub-a.example"}"#).await;
    let credentials = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let pem = credentials.certificate_pem();
    let enrollment = with(certificate_enrollment("dev-1", pem), by(&hook.url));
    dps.create("/enrollments/dev-1", &enrollment).await;
    dps.device("dev-1")
        .certificate(&credentials)
        .assigned()
        .await;

    let asked = hook.asked(1).await;
    let der = CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate");
    assert_eq!(
        asked[0].body["deviceRuntimeContext"],
        json!({ "registrationId": "dev-1", "x509": { "clientCertificate": STANDARD.encode(&der) } })
    );
    let enrollment = &asked[0].body["individualEnrollment"];
    assert_eq!(enrollment["registrationId"], "dev-1");
    assert_eq!(enrollment.get("registrationState"), None);
    let primary = &enrollment["attestation"]["x509"]["clientCertificates"]["primary"];
    assert_eq!(primary.get("certificate"), None);
    assert_eq!(primary["info"]["subjectName"], "CN=dev-1");
}

#[tokio::test]
async fn no_secret_reaches_the_webhook() {
    let dps = two_hubs().await;
    let hook = Hook::saying(200, r#"{"iotHubHostName":"hub-a.example"}"#).await;
    let enrollment = with(key_enrollment("dev-1", KEY_1, KEY_2), by(&hook.url));
    dps.create("/enrollments/dev-1", &enrollment).await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    let body = hook.asked(1).await[0].body.to_string();
    for secret in [KEY_1, KEY_2, "function-key-secret"] {
        assert!(!body.contains(secret), "{body}");
    }
}

#[tokio::test]
async fn the_webhook_reads_the_payload_of_the_device_and_returns_one() {
    let dps = two_hubs().await;
    let policy = from_async_fn(|request| async move {
        let place: Value = request.payload()?;
        let hub = request
            .linked_hubs
            .iter()
            .find(|hub| Some(hub.as_str()) == place["hub"].as_str())
            .ok_or(Rejection::new("no such hub"))?;
        Ok(Allocation::to(hub.clone())
            .payload(json!({ "hello": [request.registration_id().as_str()] })))
    });
    let (url, _webhook) = serve(Webhook::new(policy)).await;
    let group = with(key_group("g", KEY_1, KEY_2), by(&url));
    dps.create("/enrollmentGroups/g", &group).await;
    for (id, hub) in [("d1", "hub-a.example"), ("d2", "hub-b.example")] {
        let device = dps.device(id).key(&derive(KEY_1, id));
        let body = json!({ "payload": { "hub": hub } });
        let document = device.provision_with(body).await;
        let state = &document["registrationState"];
        assert_eq!(state["assignedHub"], hub);
        assert_eq!(state["payload"], json!({ "hello": [id] }));
        let stored = dps.get(&format!("/registrations/{id}")).await.json();
        assert_eq!(stored["payload"], state["payload"]);
    }
}

#[tokio::test]
async fn only_the_enrollments_hubs_are_offered() {
    let dps = two_hubs().await;
    let hook = Hook::saying(200, r#"{"iotHubHostName":"hub-b.example"}"#).await;
    let enrollment = with(key_enrollment("dev-1", KEY_1, KEY_2), by(&hook.url));
    let enrollment = with(enrollment, json!({ "iotHubs": ["hub-b.example"] }));
    dps.create("/enrollments/dev-1", &enrollment).await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(
        hook.asked(1).await[0].body["linkedHubs"],
        json!(["hub-b.example"])
    );
}

#[tokio::test]
async fn any_payload_gets_there_and_back_unchanged() {
    let dps = two_hubs().await;
    let echo =
        from_fn(|request| {
            let payload = request.device_runtime_context.payload.clone();
            Ok(Allocation::to(request.linked_hubs[0].clone())
                .payload(payload.unwrap_or(json!("none"))))
        });
    let (url, _webhook) = serve(Webhook::new(echo)).await;
    let enrollment = with(key_enrollment("dev-1", KEY_1, KEY_2), by(&url));
    dps.create("/enrollments/dev-1", &enrollment).await;
    let device = dps.device("dev-1").key(KEY_1);
    for payload in [
        json!({ "nested": { "list": [1, 2.5, -3e10, null, true, "ü\u{1F35E}\\\""] } }),
        json!([]),
        json!("text"),
        json!(0),
        json!(false),
        json!("x".repeat(60_000)),
    ] {
        let document = device.provision_with(json!({ "payload": payload })).await;
        assert_eq!(document["registrationState"]["payload"], payload);
    }
    let document = device.provision().await;
    assert_eq!(document["registrationState"]["payload"], "none");
}

#[tokio::test]
async fn a_webhook_that_is_changed_counts_from_the_next_registration() {
    let dps = two_hubs().await;
    let old = Hook::saying(200, r#"{"iotHubHostName":"hub-a.example","payload":"old"}"#).await;
    let new = Hook::saying(200, r#"{"iotHubHostName":"hub-a.example","payload":"new"}"#).await;
    let enrollment = |url: &str| with(key_enrollment("dev-1", KEY_1, KEY_2), by(url));
    dps.create("/enrollments/dev-1", &enrollment(&old.url))
        .await;
    let device = dps.device("dev-1").key(KEY_1);
    assert_eq!(device.assigned().await["payload"], "old");
    dps.put_if("/enrollments/dev-1", "*", &enrollment(&new.url))
        .await;
    assert_eq!(device.lookup().await.json()["payload"], "old");
    assert_eq!(device.assigned().await["payload"], "new");
}

#[tokio::test]
async fn unknown_members_of_an_answer_are_ignored() {
    let dps = two_hubs().await;
    for answer in [
        r#"{"iotHubHostName":"hub-b.example","initialTwin":null,"payload":null,"more":{"x":1}}"#,
        r#"{"IotHubHostName":"hub-b.example","InitialTwin":{"tags":{"a":1}}}"#,
        " {\"iotHubHostName\" : \"HUB-B.example\"}\n",
    ] {
        let hook = Hook::saying(200, answer).await;
        let enrollment = with(key_enrollment("dev-1", KEY_1, KEY_2), by(&hook.url));
        dps.delete("/enrollments/dev-1").await;
        dps.create("/enrollments/dev-1", &enrollment).await;
        let state = dps.device("dev-1").key(KEY_1).assigned().await;
        let hub = state["assignedHub"].as_str().expect("text");
        assert!(hub.eq_ignore_ascii_case("hub-b.example"), "{answer}");
        assert_eq!(state.get("payload"), None, "{answer}");
    }
}

#[tokio::test]
async fn a_webhook_over_https_must_be_trusted() {
    let (hook, certificate) = Hook::saying_over_tls(r#"{"iotHubHostName":"127.0.0.1"}"#).await;
    for trusted in [true, false] {
        let dps = Dps::start_with(|builder| match trusted {
            true => builder.webhook_roots(Roots::from_pem(&certificate).expect("a root")),
            false => {
                let roots = Roots::from_pem(
                    CertificateAuthority::new("x")
                        .expect("a CA")
                        .certificate_pem(),
                );
                builder.webhook_roots(roots.expect("a root"))
            }
        })
        .await;
        let enrollment = with(key_enrollment("dev-1", KEY_1, KEY_2), by(&hook.url));
        dps.create("/enrollments/dev-1", &enrollment).await;
        let device = dps.device("dev-1").key(KEY_1);
        if trusted {
            device.assigned().await;
        } else {
            assert_eq!(device.failed().await.0, 400_207);
        }
    }
    assert_eq!(
        hook.asked(1).await.len(),
        1,
        "the webhook is not called for an impostor"
    );
}
