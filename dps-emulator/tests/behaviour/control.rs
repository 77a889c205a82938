//! The control endpoint: what it shows of devices and operators, and what it changes.

use serde_json::{Value, json};

use crate::common::{
    Control, Dps, KEY_1, KEY_2, KEY_3, Sas, derive, key_enrollment, key_group, names, with_control,
};

async fn start() -> (Dps, Control) {
    let dps = Dps::start_with(with_control).await;
    let control = Control::of(&dps);
    (dps, control)
}

#[tokio::test]
async fn it_is_healthy_and_ready_and_shows_how_to_connect() {
    let (dps, control) = start().await;
    assert_eq!(
        control.get("/health").await.json(),
        json!({ "status": "healthy" })
    );
    assert_eq!(control.get("/ready").await.json(), json!({ "ready": true }));
    assert_eq!(control.get("/ca.pem").await.text, dps.emulator.ca_pem());
    let connection = control.get("/connection").await.json();
    assert_eq!(connection["https"], dps.emulator.https_url());
    assert_eq!(connection["control"], control.url);
    let owner = dps.emulator.service_connection_string();
    assert_eq!(connection["serviceConnectionString"], owner.as_str());
    let shell = control.get("/connection?format=shell").await.text;
    let line = format!("export DPS_CONNECTION_STRING='{}'", owner.as_str());
    assert!(shell.lines().any(|it| it == line), "{shell}");
    let https = format!("export DPS_HTTPS_PORT='{}'", dps.emulator.https_port());
    let amqp = format!("export DPS_AMQP_PORT='{}'", dps.emulator.amqp_port());
    for line in ["export DPS_HOST='localhost'", &https, &amqp] {
        assert!(shell.lines().any(|it| it == line), "{shell}");
    }
    let env = control.get("/connection?format=env").await.text;
    assert!(env.starts_with("DPS_ID_SCOPE=\"0ne00000001\"\n"), "{env}");
    assert_eq!(control.get("/connection?format=xml").await.status, 400);
}

#[tokio::test]
async fn each_exchange_has_its_outcome_and_the_reason_of_a_refusal() {
    let (dps, control) = start().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    dps.device("dev-1")
        .key(&derive(KEY_1, "dev-1"))
        .assigned()
        .await;
    let forged = dps.device("dev-2").key(KEY_3).register().await;
    assert_eq!(forged.status, 401);
    let expired = Sas::device(&dps.scope, "dev-1").se(1_000_000_000);
    let expired = expired.sign(&derive(KEY_1, "dev-1"));
    assert_eq!(
        dps.device("dev-1").token(expired).register().await.status,
        401
    );

    let all = control.exchanges("").await;
    let requests: Vec<&Value> = all.iter().rev().map(|it| &it["request"]).collect();
    assert_eq!(requests[0], "PUT /enrollmentGroups/g");
    assert_eq!(requests[1], "register");
    assert!(
        all.windows(2)
            .all(|pair| pair[0]["id"].as_u64() > pair[1]["id"].as_u64())
    );
    let registered = &all[all.len() - 2];
    assert_eq!(registered["device"], "dev-1");
    assert_eq!(registered["transport"], "HTTPS");
    assert_eq!(registered["outcome"], "assigning");
    assert_eq!(registered["status"], 202);
    assert_eq!(registered["apiVersion"], "2021-06-01");

    let refused = control.exchanges("outcome=refused").await;
    assert_eq!(refused.len(), 2);
    let reason = refused[0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("2001-09-09T01:46:40Z"), "{reason}");
    let reason = refused[1]["reason"].as_str().expect("a reason");
    assert!(reason.contains("enrollment group"), "{reason}");
    assert_eq!(refused[1]["errorCode"], 401_002);
    let of_device = control.exchanges("device=DEV-2").await;
    assert_eq!(of_device.len(), 1);
    let last = all[0]["id"].as_u64().expect("a number");
    assert!(control.exchanges(&format!("after={last}")).await.is_empty());
    assert_eq!(control.exchanges("limit=1").await.len(), 1);
}

#[tokio::test]
async fn no_exchange_shows_a_key() {
    let (dps, control) = start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps.attestation("/enrollments/dev-1").await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    let text = control.get("/exchanges").await.text;
    assert!(text.contains("dev-1"), "{text}");
    for secret in [KEY_1, KEY_2, "sig="] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let metrics = control.get("/metrics").await.text;
    for line in [
        r#"dps_emulator_registrations_total{outcome="assigned",transport="HTTPS"} 1"#,
        r#"dps_emulator_store_entries{table="individuals"} 1"#,
        r#"dps_emulator_store_entries{table="hubs"} 1"#,
        r#"dps_emulator_webhook_calls_total{outcome="failed"} 0"#,
    ] {
        assert!(metrics.lines().any(|it| it == line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn exchanges_are_streamed_as_they_happen() {
    let (dps, control) = start().await;
    let mut stream = control
        .request("GET", "/exchanges/stream")
        .send()
        .await
        .expect("an answer");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let opened = stream.chunk().await.expect("a chunk").expect("not the end");
    assert_eq!(&opened[..], b": open\n\n");
    assert_eq!(dps.get("/enrollments/none").await.status, 404);
    let event = stream.chunk().await.expect("a chunk").expect("not the end");
    let event = String::from_utf8(event.to_vec()).expect("text");
    let data = event.split("data: ").nth(1).expect("data");
    let data: Value = serde_json::from_str(data.trim()).expect("JSON");
    assert_eq!(data["request"], "GET /enrollments/none");
    assert_eq!(data["status"], 404);
    let stopped = tokio::spawn(dps.emulator.shutdown());
    while stream.chunk().await.expect("an orderly end").is_some() {}
    stopped.await.expect("stopped");
}

#[tokio::test]
async fn faults_are_added_listed_and_removed() {
    let (dps, control) = start().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let fault =
        json!({ "step": "register", "effect": "throttle", "device": "dev-2*", "retryAfter": 7 });
    let added = control.send("POST", "/faults", &fault).await;
    assert_eq!(added.status, 201);
    let list = control.get("/faults").await.json();
    assert_eq!(list["faults"], json!([added.json()]));
    dps.device("dev-1")
        .key(&derive(KEY_1, "dev-1"))
        .assigned()
        .await;
    let throttled = dps
        .device("dev-20")
        .key(&derive(KEY_1, "dev-20"))
        .register()
        .await;
    assert_eq!(throttled.status, 429);
    assert_eq!(throttled.header("retry-after"), Some("7"));
    assert_eq!(control.get("/faults").await.json(), json!({ "faults": [] }));

    let added = control.send("POST", "/faults", &fault).await.json();
    let path = format!("/faults/{}", added["id"]);
    assert_eq!(control.send("DELETE", &path, &json!({})).await.status, 204);
    assert_eq!(control.send("DELETE", &path, &json!({})).await.status, 404);
    let wrong = json!({ "step": "poll", "effect": "tlsAlert" });
    let refused = control.send("POST", "/faults", &wrong).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text.contains("does not apply"), "{refused:?}");
}

#[tokio::test]
async fn a_fault_ends_a_registration_as_failed_or_disabled() {
    let (dps, control) = start().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let device = dps.device("dev-1").key(&derive(KEY_1, "dev-1"));
    let fault = json!({ "step": "poll", "effect": "failed", "errorCode": 400_207 });
    control.send("POST", "/faults", &fault).await;
    let (code, _) = device.failed().await;
    assert_eq!(code, 400_207);
    let fault = json!({ "step": "register", "effect": "disabled" });
    control.send("POST", "/faults", &fault).await;
    let disabled = device.register().await;
    assert_eq!(disabled.status, 200);
    assert_eq!(disabled.json()["status"], "disabled");
    assert_eq!(disabled.json()["operationId"], "");
    device.assigned().await;
}

#[tokio::test]
async fn a_fault_ends_the_handshake_with_a_tls_alert() {
    let (dps, control) = start().await;
    let fault = json!({ "step": "connect", "effect": "tlsAlert", "alert": 80 });
    control.send("POST", "/faults", &fault).await;
    let request = dps.without_redirects().get(dps.emulator.https_url());
    let error = request.send().await.expect_err("an alert");
    let causes: Vec<String> =
        std::iter::successors(std::error::Error::source(&error), |error| error.source())
            .map(ToString::to_string)
            .collect();
    assert!(
        causes.iter().any(|it| it.contains("InternalError")),
        "{causes:?}"
    );
    assert_eq!(dps.get("/enrollments/none").await.status, 404);
}

#[tokio::test]
async fn tokens_expire_when_the_clock_is_advanced() {
    let (dps, control) = start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let in_an_hour = crate::common::unix_now() + 3600;
    let token = Sas::device(&dps.scope, "dev-1").se(in_an_hour).sign(KEY_1);
    let device = dps.device("dev-1").token(token);
    assert_eq!(device.register().await.status, 202);
    let advanced = control
        .send("POST", "/clock/advance", &json!({ "seconds": 7200 }))
        .await;
    assert_eq!(advanced.json()["offsetSeconds"], 7200);
    assert_eq!(device.register().await.status, 401);
    let set = control
        .send("PUT", "/clock", &json!({ "now": "2026-01-01T00:00:00Z" }))
        .await;
    let now = set.json()["now"].as_str().expect("text").to_owned();
    assert!(now.starts_with("2026-01-01T00:00:"), "{now}");
    assert_eq!(device.register().await.status, 202);
    for body in [
        json!({}),
        json!({ "seconds": 1e9 }),
        json!({ "seconds": 99_999_999_999_i64 }),
    ] {
        let refused = control.send("POST", "/clock/advance", &body).await;
        assert_eq!(refused.status, 400, "{body}");
    }
}

#[tokio::test]
async fn a_reset_removes_everything_but_the_configured_enrollments() {
    let group = serde_json::from_value(key_group("seeded", KEY_1, KEY_2)).expect("a group");
    let dps = Dps::start_with(|builder| with_control(builder).enrollment_group(group)).await;
    let control = Control::of(&dps);
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    dps.device("dev-1").key(KEY_1).assigned().await;
    control
        .send(
            "POST",
            "/faults",
            &json!({ "step": "poll", "effect": "drop" }),
        )
        .await;
    let kinds = json!({ "kinds": ["registrations"] });
    assert_eq!(control.send("POST", "/reset", &kinds).await.status, 204);
    assert_eq!(dps.get("/registrations/dev-1").await.status, 404);
    assert_eq!(dps.get("/enrollments/dev-1").await.status, 200);
    assert!(
        dps.hub("127.0.0.1")
            .device("dev-1")
            .await
            .expect("read")
            .is_some()
    );

    assert_eq!(control.send("POST", "/reset", &json!({})).await.status, 204);
    assert_eq!(dps.get("/enrollments/dev-1").await.status, 404);
    assert_eq!(dps.get("/enrollmentGroups/seeded").await.status, 200);
    assert!(
        dps.hub("127.0.0.1")
            .devices()
            .await
            .expect("read")
            .is_empty()
    );
    assert_eq!(dps.emulator.faults().pending(), 0);
    let refused = control
        .send("POST", "/reset", &json!({ "kinds": ["all"] }))
        .await;
    assert_eq!(refused.status, 400);
}

#[tokio::test]
async fn a_state_is_moved_to_another_emulator() {
    let (one, control) = start().await;
    one.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    one.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_3))
        .await;
    one.device("dev-1").key(KEY_1).assigned().await;
    one.device("dev-2")
        .key(&derive(KEY_1, "dev-2"))
        .assigned()
        .await;
    let state = control.get("/state").await.json();
    assert_eq!(names(&state["tables"]["registrations"]), ["dev-1", "dev-2"]);

    let (other, other_control) = start().await;
    other
        .create("/enrollments/old", &key_enrollment("old", KEY_1, KEY_2))
        .await;
    assert_eq!(
        other_control.send("PUT", "/state", &state).await.status,
        204
    );
    assert_eq!(other.get("/enrollments/old").await.status, 404);
    let moved = other_control.get("/state").await.json();
    assert_eq!(moved["tables"], state["tables"]);
    other.device("dev-1").key(KEY_2).assigned().await;
    let of_group = other_control
        .send(
            "POST",
            "/registrations/g/query",
            &json!({ "query": "SELECT * FROM enrollments" }),
        )
        .await;
    assert_eq!(
        of_group.json().as_array().map(Vec::len),
        Some(1),
        "{of_group:?}"
    );

    let without_keys = control.get("/state?keys=false").await;
    for key in [KEY_1, KEY_2, KEY_3] {
        assert!(!without_keys.text.contains(key), "{without_keys:?}");
    }
    let imported = other_control
        .send("PUT", "/state", &without_keys.json())
        .await;
    assert_eq!(imported.status, 204, "{imported:?}");
    assert_eq!(
        other.device("dev-1").key(KEY_1).register().await.status,
        401
    );
    let keys = other.attestation("/enrollments/dev-1").await;
    let key = keys["symmetricKey"]["primaryKey"]
        .as_str()
        .expect("a new key")
        .to_owned();
    other.device("dev-1").key(&key).assigned().await;
}

/// Some more bytes, and the service API would refuse the enrollment.
#[tokio::test]
async fn the_largest_enrollment_is_moved_to_another_emulator() {
    let ((one, control), (other, other_control)) = (start().await, start().await);
    let mut document = key_enrollment("dev-1", KEY_1, KEY_2);
    document["optionalDeviceInformation"] = json!({ "text": "" });
    let rest = 1024 * 1024 - document.to_string().len();
    document["optionalDeviceInformation"]["text"] = "\u{1f4e1}".repeat(rest / 4).into();
    one.create("/enrollments/dev-1", &document).await;
    let mut larger = document.clone();
    larger["more"] = "text".into();
    let refused = one.put_if("/enrollments/dev-1", "*", &larger).await;
    assert_eq!(refused.status, 413, "{}", refused.status);

    let state = control.get("/state").await.json();
    let moved = other_control.send("PUT", "/state", &state).await;
    assert_eq!(moved.status, 204, "{moved:?}");
    let moved = other.get("/enrollments/dev-1").await.json();
    assert_eq!(
        moved["optionalDeviceInformation"],
        document["optionalDeviceInformation"]
    );
}

#[tokio::test]
async fn a_state_that_is_not_valid_changes_nothing() {
    let (dps, control) = start().await;
    dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let before = control.get("/state").await.json();
    for (state, words) in [
        (json!({ "version": 2, "tables": {} }), "reads version 1"),
        (json!({ "version": 1 }), "missing field `tables`"),
        (
            json!({ "version": 1, "tables": { "meta": {} } }),
            "'meta' is not a table",
        ),
        (
            json!({ "version": 1, "tables": { "groups": [] } }),
            "is not an object",
        ),
        (
            json!({ "version": 1, "tables": { "individuals": { "dev-2": key_enrollment("dev-3", KEY_1, KEY_2) } } }),
            "a document with the id 'dev-3'",
        ),
        (
            json!({ "version": 1, "tables": { "hubs": { "~0ne00000002!h/d": {} } } }),
            "belongs to another instance",
        ),
        (
            json!({ "version": 1, "tables": { "hubs": { "h/d": {} } } }),
            "'h/d' of the table 'hubs' is not valid",
        ),
    ] {
        let refused = control.send("PUT", "/state", &state).await;
        assert_eq!(refused.status, 400, "{state}");
        assert!(refused.text.contains(words), "{refused:?}");
    }
    assert_eq!(
        control.get("/state").await.json()["tables"],
        before["tables"]
    );
}

#[tokio::test]
async fn hubs_show_their_devices_and_change_twins() {
    let (dps, control) = start().await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    for id in ["dev-1", "dev-2", "dev-3"] {
        let key = json!({ "enrollmentGroupId": "g", "registrationId": id });
        let key = control.send("POST", "/deviceKey", &key).await.json();
        assert_eq!(key["key"], derive(KEY_1, id));
        dps.device(id)
            .key(key["key"].as_str().expect("text"))
            .assigned()
            .await;
    }
    assert_eq!(
        control.get("/hubs").await.json(),
        json!({ "hubs": [{ "hub": "127.0.0.1" }] })
    );
    let page = control.get("/hubs/127.0.0.1/devices?limit=2").await.json();
    assert_eq!(page["devices"][1]["deviceId"], "dev-2");
    assert_eq!(page["after"], "dev-2");
    let page = control
        .get("/hubs/127.0.0.1/devices?limit=2&after=dev-2")
        .await
        .json();
    assert_eq!(page["devices"][0]["deviceId"], "dev-3");
    assert_eq!(page["after"], Value::Null);

    let patch = json!({ "properties": { "desired": { "mode": "eco" } }, "tags": { "floor": 1 } });
    let path = "/hubs/127.0.0.1/devices/dev-1";
    let twin = control
        .send("PATCH", &format!("{path}/twin"), &patch)
        .await
        .json();
    assert_eq!(twin["properties"]["desired"]["mode"], "eco");
    let twin = control.get(path).await.json();
    assert_eq!(twin["tags"]["floor"], 1);
    assert_eq!(twin["isConnected"], false);
    let telemetry = control.get(&format!("{path}/telemetry")).await.json();
    assert_eq!(telemetry, json!({ "telemetry": [] }));
    let changed = control
        .send("PATCH", path, &json!({ "enabled": false }))
        .await;
    assert_eq!(changed.status, 204);
    assert_eq!(control.get(path).await.json()["status"], "disabled");
    assert_eq!(control.send("DELETE", path, &json!({})).await.status, 204);
    assert_eq!(control.get(path).await.status, 404);
    assert_eq!(control.get("/hubs/other/devices").await.status, 404);
    let wrong = control
        .send("PATCH", &format!("{path}/twin"), &json!([]))
        .await;
    assert!(matches!(wrong.status, 400 | 404), "{wrong:?}");
}

#[tokio::test]
async fn the_service_api_needs_no_token_here() {
    let (dps, control) = start().await;
    let document = key_enrollment("dev-1", KEY_1, KEY_2);
    let created = control.send("PUT", "/enrollments/dev-1", &document).await;
    assert_eq!(created.status, 200, "{created:?}");
    assert_eq!(created.header("strict-transport-security"), None);
    dps.device("dev-1").key(KEY_1).assigned().await;
    let registration = control
        .get("/registrations/dev-1?api-version=2021-10-01")
        .await;
    assert_eq!(registration.json()["status"], "assigned");
    assert_eq!(
        control.get("/enrollments/none").await.json()["errorCode"],
        404_201
    );
    assert_eq!(
        control.get("/enrollments/a?api-version=1").await.status,
        400
    );
    let exchange = &control.exchanges("limit=1").await[0];
    assert_eq!(exchange["actor"], "operator");
    assert_eq!(exchange["transport"], "HTTP");
}

#[tokio::test]
async fn a_query_parameter_that_is_there_twice_is_refused() {
    let (_dps, control) = start().await;
    for path in [
        "/connection?format=env&format=json",
        "/exchanges?limit=1&limit=2",
        "/exchanges?device=a&Device=b",
        "/exchanges?outcome=refused&outcome=refused",
        "/state?keys=false&keys=true",
        "/hubs/127.0.0.1/devices?after=a&after=b",
        "/page/registrations?after=a&after=b",
    ] {
        let refused = control.get(path).await;
        assert_eq!(refused.status, 400, "{path}: {refused:?}");
        let reason = "occurs more than once";
        assert!(refused.text.contains(reason), "{path}: {refused:?}");
    }
}

#[tokio::test]
async fn a_seed_repeats_ids() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let dps = Dps::start_with(|builder| builder.random_seed(7)).await;
        dps.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
            .await;
        let answer = dps.device("dev-1").key(KEY_1).register().await.json();
        runs.push(answer["operationId"].as_str().expect("text").to_owned());
    }
    assert_eq!(runs[0], runs[1]);
}
