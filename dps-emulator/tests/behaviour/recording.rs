//! Recordings of the control endpoint: recorded on one emulator, answered again by another.

use dps_emulator::{CertificateAuthority, EmulatorBuilder};
use reqwest::header::IF_MATCH;
use serde_json::{Value, json};

use crate::common::{
    Answer, Control, Dps, KEY_1, KEY_2, KEY_3, certificate_group, derive, key_enrollment,
    key_group, linked, with, with_control,
};

async fn start_with(choose: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> (Dps, Control) {
    let dps = Dps::start_with(|builder| with_control(choose(builder))).await;
    let control = Control::of(&dps);
    (dps, control)
}

async fn start() -> (Dps, Control) {
    start_with(|builder| builder).await
}

async fn record(control: &Control, change: Value) {
    let answer = control.send("POST", "/recording", &change).await;
    assert_eq!(answer.status, 200, "{answer:?}");
}

async fn recorded(control: &Control) -> Value {
    record(control, json!({ "recording": false })).await;
    control.get("/recording").await.json()
}

async fn replay(control: &Control, query: &str, recording: &Value) -> Value {
    let path = format!("/recording/replay{query}");
    let answer = control.send("POST", &path, recording).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Devices of all attestations that can be repeated, over HTTPS and MQTT, refused ones, and an operator.
async fn session(dps: &Dps) {
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    dps.create("/enrollmentGroups/h", &key_group("h", KEY_2, KEY_3))
        .await;
    dps.device("dev-1")
        .key(&derive(KEY_1, "dev-1"))
        .assigned()
        .await;
    dps.device("dev-2")
        .key(&derive(KEY_2, "dev-2"))
        .assigned()
        .await;
    let forged = dps.device("dev-3").key(KEY_3).register().await;
    assert_eq!(forged.status, 401);

    let ca = CertificateAuthority::new("Contoso").expect("a CA");
    let group = certificate_group("x", ca.certificate_pem());
    dps.create("/enrollmentGroups/x", &group).await;
    let credentials = ca.issue("dev-4").expect("a certificate");
    dps.device("dev-4")
        .certificate(&credentials)
        .assigned()
        .await;

    let own = key_enrollment("dev-5", KEY_1, KEY_2);
    let created = dps.create("/enrollments/dev-5", &own).await;
    let etag = created["etag"].as_str().expect("an ETag");
    dps.mqtt_device("dev-5").await.provision().await;
    let changed = with(own.clone(), json!({ "deviceId": "toaster" }));
    let put = |etag: &str| {
        let request = dps.service("PUT", "/enrollments/dev-5");
        Answer::to(request.header(IF_MATCH, etag.to_owned()).json(&changed))
    };
    assert_eq!(put(etag).await.status, 200);
    assert_eq!(put(etag).await.status, 412);
    let query = dps.service("POST", "/enrollments/query");
    let query = query.json(&json!({ "query": "SELECT * FROM enrollments" }));
    assert_eq!(Answer::to(query).await.status, 200);
    assert_eq!(dps.delete("/registrations/dev-1").await.status, 204);
    assert_eq!(dps.get("/registrations/dev-1").await.status, 404);
}

#[tokio::test]
async fn a_session_has_the_same_answers_again() {
    let (dps, control) = start().await;
    for keys in [false, true] {
        record(&control, json!({ "recording": true, "keys": keys })).await;
        session(&dps).await;
        let recording = recorded(&control).await;
        let exchanges = recording["exchanges"].as_array().expect("a list");
        assert_eq!(recording["keys"], keys);
        assert_eq!(recording["dropped"], 0);
        assert_eq!(recording.to_string().contains(KEY_1), keys);
        assert!(!recording.to_string().contains("SharedAccessSignature"));

        // Another id scope, as another instance has.
        let scope = "0ne000000ff".parse().expect("an id scope");
        let (_other, control) = start_with(|builder| builder.id_scope(scope)).await;
        let report = replay(&control, "", &recording).await;
        assert_eq!(report["different"], json!([]), "{report:#}");
        assert_eq!(report["same"], report["sent"]);
        let skipped = report["skipped"].as_array().expect("a list");
        for skipped in skipped {
            let reason = skipped["reason"].as_str().expect("text");
            assert!(reason.contains("in progress"), "{skipped}");
        }
        let sent = report["sent"].as_u64().expect("a number");
        assert_eq!(sent as usize + skipped.len(), exchanges.len());
        assert_eq!(sent, 18, "{report:#}");

        let reset = Control::of(&dps).send("POST", "/reset", &json!({})).await;
        assert_eq!(reset.status, 204, "{reset:?}");
    }
}

#[tokio::test]
async fn an_exchange_over_mqtt_has_the_path_of_https() {
    let (dps, control) = start().await;
    dps.enroll("dev-1").await;
    record(&control, json!({ "recording": true })).await;
    let mut device = dps.mqtt_device("dev-1").await;
    device.register(b"{\"payload\":{\"a\":1}}").await;
    let recording = recorded(&control).await;
    let exchange = &recording["exchanges"][0];
    assert_eq!(exchange["transport"], "MQTT");
    assert_eq!(exchange["method"], "PUT");
    assert_eq!(
        exchange["path"],
        "/0ne00000001/registrations/dev-1/register?api-version=2019-03-31"
    );
    assert_eq!(exchange["attestation"], json!({ "type": "token" }));
    assert_eq!(exchange["requestBody"], json!({ "payload": { "a": 1 } }));
    assert_eq!(exchange["status"], 202);
    assert_eq!(exchange["responseBody"]["status"], "assigning");
    assert_eq!(recording["exchanges"][1], Value::Null);
}

#[tokio::test]
async fn differences_are_listed_with_their_requests() {
    let (dps, control) = start().await;
    record(&control, json!({ "recording": true })).await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    let recording = recorded(&control).await;

    let (_other, control) = start_with(|builder| builder.link_hub(linked("other-hub"))).await;
    let report = replay(&control, "", &recording).await;
    let different = report["different"].as_array().expect("a list");
    let [different] = different.as_slice() else {
        panic!("one difference: {report:#}");
    };
    let request = different["request"].as_str().expect("text");
    assert!(request.starts_with("GET /0ne00000001/registrations/dev-1/operations/"));
    assert_eq!(
        different["differences"],
        json!(["body.registrationState.assignedHub: \"127.0.0.1\" recorded, \"other-hub\" now"])
    );

    // Another api-version, which this emulator does not know.
    let (_other, control) = start().await;
    let report = replay(&control, "?api-version=1999-01-01", &recording).await;
    assert_eq!(report["same"], 0, "{report:#}");
    assert_eq!(
        report["different"][0]["differences"],
        json!(["status: 200 recorded, 400 now"])
    );
}

#[tokio::test]
async fn an_answer_that_a_fault_prevents_is_a_difference() {
    let (dps, control) = start().await;
    dps.enroll("dev-1").await;
    record(&control, json!({ "recording": true })).await;
    dps.device("dev-1").key(KEY_1).register().await;
    let recording = recorded(&control).await;
    let fault = json!({ "step": "register", "effect": "drop" });
    assert_eq!(control.send("POST", "/faults", &fault).await.status, 201);
    let report = replay(&control, "", &recording).await;
    assert_eq!(
        report["different"][0]["differences"],
        json!(["no answer, because of a fault"])
    );
}

#[tokio::test]
async fn requests_that_cannot_be_repeated_are_skipped() {
    let (dps, control) = start().await;
    record(&control, json!({ "recording": true })).await;
    let broken = dps.service("PUT", "/enrollments/dev-1");
    let broken = broken.header("Content-Type", "application/json").body("{");
    assert_eq!(Answer::to(broken).await.status, 400);
    let mut recording = recorded(&control).await;
    assert_eq!(recording["exchanges"][0]["requestBytes"], 1);
    let mut other = recording["exchanges"][0].clone();
    other["path"] = json!("/not/a/device/path");
    other["attestation"] = json!({ "type": "token" });
    other["requestBytes"] = Value::Null;
    let list = recording["exchanges"].as_array_mut().expect("a list");
    list.push(other);
    let report = replay(&control, "", &recording).await;
    let reasons: Vec<&Value> = report["skipped"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|it| &it["reason"])
        .collect();
    assert_eq!(
        reasons,
        [
            "its body is not JSON",
            "its path is not a path of the device API"
        ]
    );
    assert_eq!(report["sent"], 0);
}

#[tokio::test]
async fn a_document_that_is_not_valid_is_refused() {
    let (_dps, control) = start().await;
    assert_eq!(control.get("/recording").await.status, 404);
    let future = json!({ "version": 2, "idScope": "0ne00000001", "exchanges": [] });
    for document in [future, json!({ "version": 1 }), json!([])] {
        let refused = control.send("POST", "/recording/replay", &document).await;
        assert_eq!(refused.status, 400, "{document}: {refused:?}");
    }
    record(&control, json!({ "recording": true })).await;
    let stopped = control.send("DELETE", "/recording", &json!({})).await;
    assert_eq!(stopped.status, 204);
    assert_eq!(control.get("/recording").await.status, 404);
}
