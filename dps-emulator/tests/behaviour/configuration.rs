//! The program's options from flags, variables and a configuration file, and the schema of the file.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::common::{KEY_1, KEY_2, Program, derive, key_enrollment, key_group};

/// The keys that the documentation publishes.
const WELL_KNOWN_SERVICE_KEY: &str = "ZHBzLWVtdWxhdG9yLXdlbGwta25vd24tc2VydmljZS1rZXk=";
const WELL_KNOWN_GROUP_KEY: &str = "ZHBzLWVtdWxhdG9yLXdlbGwta25vd24tZ3JvdXAta2V5";

fn file(dir: &TempDir, name: &str, text: &str) -> String {
    let path = dir.path().join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("text").to_owned()
}

#[tokio::test]
async fn a_toml_file_sets_options_and_creates_enrollments() {
    let dir = TempDir::new().expect("a directory");
    let text = format!(
        r#"
        ephemeral = true
        id-scope = "0ne000000FF"
        hub = ["hub-a", "hub-b=3"]
        limit = "x509-groups=2"
        throttle = false

        [[enrollments]]
        registrationId = "dev-1"
        deviceId = "toaster-1"
        [enrollments.attestation]
        type = "symmetricKey"
        symmetricKey = {{ primaryKey = "{KEY_1}", secondaryKey = "{KEY_2}" }}

        [[enrollment-groups]]
        enrollmentGroupId = "g"
        attestation = {{ type = "symmetricKey", symmetricKey = {{ primaryKey = "{KEY_1}", secondaryKey = "{KEY_2}" }} }}
        allocationPolicy = "static"
        iotHubs = ["hub-b"]
        "#
    );
    let config = file(&dir, "emulator.toml", &text);
    let program = Program::start(&["--config", &config]).await;
    assert_eq!(program.ready["idScope"], "0ne000000FF");
    assert_eq!(program.ready["hubs"], json!(["hub-a", "hub-b"]));
    let wire = &program.wire;
    let state = wire.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["deviceId"], "toaster-1");
    let key = derive(KEY_1, "dev-2");
    let state = wire.device("dev-2").key(&key).assigned().await;
    assert_eq!(state["assignedHub"], "hub-b");
}

#[tokio::test]
async fn a_json_file_is_read_as_well_and_a_restart_keeps_what_operators_changed() {
    let dir = TempDir::new().expect("a directory");
    let text = json!({
        "$schema": "https://example.com/emulator-config.schema.json",
        "data-dir": dir.path().join("data"),
        "enrollments": [key_enrollment("dev-1", KEY_1, KEY_2)],
        "enrollment-groups": [key_group("g", KEY_1, KEY_2)],
    });
    let config = file(&dir, "emulator.json", &text.to_string());
    let program = Program::start(&["--config", &config]).await;
    let wire = &program.wire;
    let disabled = json!({ "provisioningStatus": "disabled" });
    let mut document = key_enrollment("dev-1", KEY_1, KEY_2);
    document["provisioningStatus"] = disabled["provisioningStatus"].clone();
    let replaced = wire
        .request("PUT", "/enrollments/dev-1?api-version=2021-10-01")
        .header("Authorization", wire.service_sas().sign(&wire.service_key))
        .header("If-Match", "*")
        .json(&document);
    assert_eq!(replaced.send().await.expect("an answer").status(), 200);
    program.end_with("TERM").await;

    let program = Program::start(&["--config", &config]).await;
    let enrollment = program.wire.get("/enrollments/dev-1").await.json();
    assert_eq!(enrollment["provisioningStatus"], "disabled");
}

#[tokio::test]
async fn a_flag_precedes_a_variable_and_a_variable_precedes_the_file() {
    let dir = TempDir::new().expect("a directory");
    let config = file(
        &dir,
        "emulator.toml",
        r#"
        data-dir = "not-used"
        hub = ["from-file"]
        id-scope = "0ne000000F1"
        default-allocation = "static"
        "#,
    );
    let variables = [
        ("DPS_EMULATOR_CONFIG", config.as_str()),
        ("DPS_EMULATOR_DATA_DIR", "not-used"),
        ("DPS_EMULATOR_ID_SCOPE", "0ne000000E1"),
        ("DPS_EMULATOR_HUB", "env-a;env-b=2,no-policy"),
        ("DPS_EMULATOR_THROTTLE", "1"),
        ("DPS_EMULATOR_SERVICE_KEY", KEY_1),
    ];
    let flags = ["--ephemeral", "--id-scope", "0ne000000A1"];
    let program = Program::start_with(&variables, &flags).await;
    assert_eq!(program.ready["idScope"], "0ne000000A1");
    assert_eq!(program.ready["hubs"], json!(["env-a", "env-b"]));
    assert_eq!(program.wire.service_key, KEY_1);
    assert!(!Path::new("not-used").exists(), "--ephemeral precedes it");
}

#[tokio::test]
async fn a_file_that_is_not_valid_is_refused_with_the_place() {
    let dir = TempDir::new().expect("a directory");
    for (name, text, words) in [
        (
            "a.toml",
            "https-port = ",
            "a.toml: TOML parse error at line 1",
        ),
        ("a.json", "[]", "a.json: invalid type: sequence"),
        (
            "b.toml",
            "htps-port = 1",
            "b.toml: 'htps-port' is not a valid option: it must be one of enrollments, enrollment-groups, faults, data-dir, ",
        ),
        (
            "c.toml",
            "config = 'd.toml'",
            "'config' is not a valid option",
        ),
        (
            "d.toml",
            "https-port = 'x'",
            "invalid value 'x' for '--https-port <N>'",
        ),
        (
            "e.toml",
            "throttle = 'yes'",
            "e.toml: 'throttle' must be true or false",
        ),
        (
            "f.toml",
            "hub = { a = 1 }",
            "f.toml: 'hub' must be a text, a number or a list",
        ),
        (
            "g.toml",
            "enrollments = 1",
            "g.toml: 'enrollments' must be a list of documents",
        ),
        (
            "h.toml",
            "[[enrollments]]\nregistrationId = 'not valid!'",
            "h.toml: enrollments[0] is not a valid document: ",
        ),
        (
            "i.json",
            r#"{"enrollments": [{"registrationId": "dev-1", "attestation": {"type": "symmetricKey"}, "iotHubs": ["other"]}]}"#,
            "the enrollment 'dev-1' cannot be created at the start: ",
        ),
        (
            "j.json",
            r#"{"service-key": "c2hvcnQ=", "policy": "p=Everything:c2hvcnQ="}"#,
            "invalid value for --service-key: ",
        ),
    ] {
        let path = file(&dir, name, text);
        let zero = ["--https-port", "0", "--mqtt-port", "0"];
        let zero = if name == "d.toml" {
            &zero[2..]
        } else {
            &zero[..]
        };
        let options = [&["--ephemeral", "--config", &path], zero].concat();
        let (status, stderr) = Program::refuse(&options).await;
        assert!(!status.success(), "{name}");
        assert!(stderr.contains(words), "{name}: {stderr}");
        assert!(!stderr.contains("c2hvcnQ="), "{name}: {stderr}");
    }
    let missing = dir.path().join("missing.toml");
    let missing = missing.to_str().expect("text");
    let (_, stderr) = Program::refuse(&["--config", missing]).await;
    assert!(stderr.contains("missing.toml: No such file"), "{stderr}");
}

#[tokio::test]
async fn the_well_known_keys_are_the_published_ones() {
    let program = Program::start(&["--ephemeral", "--well-known"]).await;
    assert_eq!(program.ready["idScope"], "0ne00000001");
    assert_eq!(program.wire.service_key, WELL_KNOWN_SERVICE_KEY);
    let key = derive(WELL_KNOWN_GROUP_KEY, "dev-1");
    program.wire.device("dev-1").key(&key).assigned().await;
    let group = program.wire.get("/enrollmentGroups/well-known").await;
    assert_eq!(group.status, 200);
}

#[tokio::test]
async fn the_well_known_keys_are_for_loopback_unless_forced() {
    let zero = ["--https-port", "0", "--mqtt-port", "0"];
    let network = ["--ephemeral", "--well-known", "--bind", "0.0.0.0"];
    let (status, stderr) = Program::refuse(&[&network[..], &zero].concat()).await;
    assert_eq!(status.code(), Some(1));
    assert!(stderr.contains("--force-well-known"), "{stderr}");
    let forced = Program::start(&[&network[..], &["--force-well-known"]].concat()).await;
    assert_eq!(forced.wire.service_key, WELL_KNOWN_SERVICE_KEY);
    let options = ["--ephemeral", "--well-known", "--id-scope", "0ne000000FF"];
    let (status, stderr) = Program::refuse(&options).await;
    assert_eq!(status.code(), Some(2));
    assert!(stderr.contains("cannot be used with"), "{stderr}");
}

#[tokio::test]
async fn the_apis_are_served_over_plain_http_if_asked_for() {
    let options = ["--ephemeral", "--well-known", "--insecure-http-port", "0"];
    let program = Program::start(&options).await;
    let url = program.ready["insecureHttp"].as_str().expect("text");
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let mut wire = program.wire.clone();
    wire.base = url.to_owned();
    wire.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let answer = wire.device("dev-1").key(KEY_1).register().await;
    let location = answer.headers["location"].to_str().expect("text");
    assert!(location.starts_with(url), "{location}");
    wire.device("dev-1").key(KEY_1).assigned().await;
    let forged = wire.device("dev-1").key(KEY_2).register().await;
    assert_eq!(forged.status, 202, "the secondary key is valid as well");
    let forged = wire
        .device("dev-1")
        .key(WELL_KNOWN_GROUP_KEY)
        .register()
        .await;
    assert_eq!(forged.status, 401);
}

#[tokio::test]
async fn the_published_schema_is_the_one_of_the_program() {
    let printed: Value = serde_json::from_str(&Program::output(&["--print-schema"]).await).unwrap();
    let path: PathBuf = [
        env!("CARGO_MANIFEST_DIR"),
        "..",
        "docs",
        "emulator-config.schema.json",
    ]
    .iter()
    .collect();
    let published = std::fs::read_to_string(&path).expect("published");
    let published: Value = serde_json::from_str(&published).expect("JSON");
    assert!(
        printed == published,
        "run: cargo run -p dps-emulator -- --print-schema >docs/emulator-config.schema.json"
    );
    let port = &printed["properties"]["https-port"];
    assert_eq!(port["type"], "integer");
    assert_eq!(port["maximum"], 65535);
    assert_eq!(printed["properties"]["throttle"]["type"], "boolean");
    assert_eq!(printed["additionalProperties"], false);
}
