//! The program: its ready line, its exit, the options that it refuses, and the secrets that it never logs.

use std::net::TcpListener;
use std::path::Path;

use serde_json::json;
use tempfile::TempDir;

use crate::common::{
    Hook, KEY_1, KEY_2, KEY_3, Program, derive, key_enrollment, key_group, names, with,
};

fn text(path: &Path) -> &str {
    path.to_str().expect("text")
}

#[tokio::test]
async fn the_ready_line_contains_all_that_a_client_needs() {
    let program = Program::start(&["--ephemeral", "--hub", "hub-a", "--hub", "hub-b=7"]).await;
    let ready = &program.ready;
    assert_eq!(
        names(ready),
        [
            "ready",
            "caPem",
            "idScope",
            "https",
            "mqtt",
            "amqp",
            "hubs",
            "serviceConnectionString",
            "connectionStrings",
            "hubConnectionStrings"
        ]
    );
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["idScope"], "0ne00000001");
    assert_eq!(
        ready["https"],
        format!("https://localhost:{}", program.wire.port)
    );
    let mqtt = ready["mqtt"].as_str().expect("text");
    let mqtt = mqtt.strip_prefix("localhost:").expect("a port");
    assert_ne!(mqtt.parse::<u16>().expect("a port"), 0);
    assert_eq!(ready["hubs"], json!(["hub-a", "hub-b"]));
    assert_eq!(names(&ready["hubConnectionStrings"]), ["hub-a", "hub-b"]);
    assert!(Path::new(ready["caPem"].as_str().expect("text")).is_absolute());
    let wire = &program.wire;
    wire.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    wire.device("dev-1").key(KEY_1).assigned().await;
}

#[tokio::test]
async fn its_options_take_effect() {
    let dir = TempDir::new().expect("a directory");
    let program = Program::start(&[
        "--data-dir",
        text(&dir.path().join("data")),
        "--id-scope",
        "0ne000000FF",
        "--host",
        "dps.example",
        "--service-key",
        KEY_3,
        "--bind",
        "127.0.0.1",
        "--default-allocation",
        "geoLatency",
        "--hub",
        "hub-a=1000",
        "--hub",
        "hub-b",
        "--latency",
        "hub-b=1",
    ])
    .await;
    assert_eq!(program.ready["idScope"], "0ne000000FF");
    let https = program.ready["https"].as_str().expect("text");
    assert!(https.starts_with("https://dps.example:"), "{https}");
    let hub = &program.ready["hubConnectionStrings"]["hub-a"];
    let hub = hub.as_str().expect("text");
    assert!(hub.starts_with("HostName=dps.example:"), "{hub}");
    assert_eq!(program.wire.service_key, KEY_3);
    let ca = dir.path().join("data").join("ca.pem");
    assert_eq!(program.ready["caPem"], text(&ca));
    assert!(ca.exists());
    let wire = &program.wire;
    wire.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let state = wire.device("dev-1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-b");
}

#[cfg(unix)]
#[tokio::test]
async fn it_ends_in_order_when_asked_to() {
    for signal in ["TERM", "INT"] {
        let program = Program::start(&["--ephemeral"]).await;
        let ca = program.ready["caPem"].as_str().expect("text").to_owned();
        let (status, log) = program.end_with(signal).await;
        assert_eq!(status.code(), Some(0), "{signal}: {log}");
        assert!(log.contains("stopping"), "{log}");
        assert!(!Path::new(&ca).exists(), "an ephemeral run leaves nothing");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn confirmed_writes_survive_a_kill() {
    let dir = TempDir::new().expect("a directory");
    let options = ["--data-dir", text(dir.path())];
    let program = Program::start(&options).await;
    let wire = program.wire.clone();
    let mut before = Vec::new();
    for number in 0..20 {
        let path = format!("/enrollments/dev-{number}");
        let document = key_enrollment(&format!("dev-{number}"), KEY_1, KEY_2);
        before.push((path.clone(), wire.create(&path, &document).await));
    }
    let state = wire.device("dev-7").key(KEY_1).assigned().await;
    program.end_with("KILL").await;

    let program = Program::start(&options).await;
    let wire = &program.wire;
    for (path, document) in before {
        assert_eq!(
            wire.get(&path).await.json()["etag"],
            document["etag"],
            "{path}"
        );
        let id = path.rsplit('/').next().expect("an id");
        wire.device(id).key(KEY_2).assigned().await;
    }
    let again = wire.device("dev-7").key(KEY_1).lookup().await.json();
    assert_eq!(again["createdDateTimeUtc"], state["createdDateTimeUtc"]);
}

#[cfg(unix)]
#[tokio::test]
async fn a_registration_in_progress_survives_a_kill() {
    let dir = TempDir::new().expect("a directory");
    let slow = ["--data-dir", text(dir.path()), "--assign-delay", "60000"];
    let program = Program::start(&slow).await;
    let wire = program.wire.clone();
    wire.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let key = derive(KEY_1, "dev-1");
    let answer = wire.device("dev-1").key(&key).register().await;
    let operation = answer.json()["operationId"]
        .as_str()
        .expect("text")
        .to_owned();
    program.end_with("KILL").await;

    let program = Program::start(&["--data-dir", text(dir.path())]).await;
    let document = program
        .wire
        .device("dev-1")
        .key(&key)
        .finish(&operation)
        .await;
    assert_eq!(document["status"], "assigned");
    assert_eq!(
        document["registrationState"]["substatus"],
        "initialAssignment"
    );
}

#[tokio::test]
async fn a_data_directory_in_use_is_reported() {
    let dir = TempDir::new().expect("a directory");
    let _first = Program::start(&["--data-dir", text(dir.path())]).await;
    let (status, stderr) = Program::refuse(&[
        "--data-dir",
        text(dir.path()),
        "--https-port",
        "0",
        "--mqtt-port",
        "0",
        "--amqp-port",
        "0",
    ])
    .await;
    assert_eq!(status.code(), Some(1));
    assert!(
        stderr.starts_with("dps-emulator: the store cannot be opened: "),
        "{stderr}"
    );
    assert!(stderr.contains("in use"), "{stderr}");
}

#[tokio::test]
async fn a_port_in_use_is_reported() {
    let other = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = other.local_addr().expect("an address").port().to_string();
    let (status, stderr) = Program::refuse(&[
        "--ephemeral",
        "--https-port",
        &port,
        "--mqtt-port",
        "0",
        "--amqp-port",
        "0",
    ])
    .await;
    assert_eq!(status.code(), Some(1));
    let expected =
        format!("dps-emulator: cannot listen on 127.0.0.1:{port}: Address already in use");
    assert!(stderr.starts_with(&expected), "{stderr}");
}

#[tokio::test]
async fn an_option_that_is_not_valid_is_refused_with_its_name() {
    let zero = [
        "--ephemeral",
        "--https-port",
        "0",
        "--mqtt-port",
        "0",
        "--amqp-port",
        "0",
    ];
    for (options, code, words) in [
        (
            &["--hub", "not a hub"][..],
            2,
            "'not a hub' is not a valid hub: ",
        ),
        (
            &["--hub", "hub-a=0"],
            2,
            "'hub-a=0' is not a valid hub: the weight must be 1 to 1000",
        ),
        (
            &["--hub", "hub-a", "--hub", "hub-a"],
            1,
            "dps-emulator: the hub hub-a is linked twice",
        ),
        (
            &["--id-scope", "not a scope"],
            2,
            "invalid value 'not a scope' for '--id-scope <ID_SCOPE>'",
        ),
        (
            &["--service-key", "c2hvcnQ="],
            1,
            "invalid value for --service-key: ",
        ),
        (
            &["--host", "no name!"],
            2,
            "'--host <NAME>': 'no name!' is not a valid DNS name or IP address",
        ),
        (
            &["--verified-ca", "root.pem"],
            2,
            "'--verified-ca <NAME=PEMFILE>': it must be NAME=PEMFILE",
        ),
        (
            &["--verified-ca", "root=missing.pem"],
            2,
            "'--verified-ca <NAME=PEMFILE>': missing.pem: ",
        ),
        (&["--retry-after", "soon"], 2, "--retry-after"),
        (&["--bind", "nowhere"], 2, "--bind"),
        (&["--data-dir", "data"], 2, "--data-dir"),
        (&["--nonsense"], 2, "--nonsense"),
    ] {
        let (status, stderr) = Program::refuse(&[&zero[..], options].concat()).await;
        assert_eq!(status.code(), Some(code), "{options:?}: {stderr}");
        assert!(stderr.contains(words), "{options:?}: {stderr}");
        assert!(!stderr.contains("c2hvcnQ="), "{stderr}");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn no_secret_is_ever_logged() {
    let hook = Hook::saying(500, "no").await;
    let options = ["--ephemeral", "--service-key", KEY_3];
    let program = Program::start_logging("trace", &options).await;
    let wire = program.wire.clone();
    wire.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let custom = with(
        key_enrollment("dev-2", KEY_1, KEY_2),
        json!({
            "allocationPolicy": "custom",
            "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
        }),
    );
    wire.create("/enrollments/dev-2", &custom).await;
    wire.attestation("/enrollmentGroups/g").await;
    let derived = derive(KEY_1, "dev-1");
    wire.device("dev-1").key(&derived).assigned().await;
    wire.device("dev-2").key(KEY_2).failed().await;
    let forged = crate::common::Sas::device("0ne00000001", "dev-1").sign(KEY_3);
    wire.device("dev-1").token(&forged).register().await;
    wire.put(
        "/enrollments/dev-9",
        &key_enrollment("dev-9", "c2hvcnQta2V5LQ==", KEY_2),
    )
    .await;
    let service_token = wire.service_sas().sign(KEY_3);

    let (_, log) = program.end_with("TERM").await;
    assert!(log.contains("dev-1"), "it did log: {log}");
    for secret in [
        KEY_1,
        KEY_2,
        KEY_3,
        &derived,
        "c2hvcnQta2V5LQ==",
        "function-key-secret",
        "SharedAccessSignature",
        "PRIVATE KEY",
        signature(&forged),
        signature(&service_token),
    ] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

/// The part of a token that must not be shown.
fn signature(token: &str) -> &str {
    let (_, rest) = token.split_once("sig=").expect("a signature");
    rest.split('&').next().expect("its end")
}
