//! The program's options for access and limits.

use serde_json::json;

use crate::common::{Answer, KEY_1, KEY_2, Program, key_enrollment, names};

#[tokio::test]
async fn policies_and_their_connection_strings() {
    let program = Program::start(&[
        "--ephemeral",
        "--policy",
        &format!("line=EnrollmentWrite:{KEY_1}"),
        "--policy",
        "desk=EnrollmentRead,registrationstatuswrite",
    ])
    .await;
    let wire = &program.wire;
    let strings = &program.ready["connectionStrings"];
    assert_eq!(names(strings), ["provisioningserviceowner", "line", "desk"]);
    assert_eq!(
        strings["provisioningserviceowner"],
        program.ready["serviceConnectionString"]
    );
    assert_eq!(
        strings["line"],
        format!(
            "HostName=localhost:{};SharedAccessKeyName=line;SharedAccessKey={KEY_1}",
            wire.port
        )
    );
    let line = wire.by(strings["line"].as_str().expect("text"));
    line.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let desk = wire.by(strings["desk"].as_str().expect("text"));
    assert_eq!(desk.get("/enrollments/dev-1").await.status, 200);
    assert_eq!(desk.delete("/enrollments/dev-1").await.status, 401);
    assert_eq!(desk.delete("/registrations/dev-1").await.status, 404);
}

#[tokio::test]
async fn the_log_contains_no_bearer_token() {
    let token = "eyJ0eXAiOiJKV1QifQ.e30.c2ln";
    let options = ["--ephemeral", "--bearer-token", &format!("reader={token}")];
    let program = Program::start_logging("trace", &options).await;
    let request = program
        .wire
        .request("GET", "/enrollments/e?api-version=2021-10-01");
    let request = request.header("Authorization", format!("Bearer {token}"));
    assert_eq!(Answer::to(request).await.status, 404);
    assert!(!program.ready.to_string().contains(token));
    let (_, log) = program.end_with("TERM").await;
    assert!(!log.contains(token), "{log}");
}

#[tokio::test]
async fn limits() {
    let program = Program::start(&[
        "--ephemeral",
        "--throttle",
        "--limit",
        "individual-enrollments=1",
        "--limit",
        "polls-per-10-seconds=0",
    ])
    .await;
    let wire = &program.wire;
    wire.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    let second = wire
        .put("/enrollments/dev-2", &key_enrollment("dev-2", KEY_1, KEY_2))
        .await;
    assert_eq!(second.json()["errorCode"], json!(403_002));
    let poll = wire.device("dev-1").key(KEY_1).poll("none").await;
    assert_eq!(poll.status, 429, "{poll:?}");
}

#[tokio::test]
async fn an_error_names_the_option_and_the_choices() {
    for (option, value, said) in [
        ("--policy", "reader", "NAME=PERMISSION"),
        (
            "--policy",
            "reader=Everything",
            "'Everything' is not a valid permission",
        ),
        ("--policy", "reader=EnrollmentRead:c2hvcnQ=", "16 to 64"),
        (
            "--policy",
            "provisioningserviceowner=EnrollmentRead",
            "two policies",
        ),
        ("--bearer-token", "reader", "ROLE=TOKEN"),
        ("--bearer-token", "reader=", "ROLE=TOKEN"),
        (
            "--bearer-token",
            "owner=s3cret",
            "'owner' is not a valid role",
        ),
        ("--limit", "x509-groups", "NAME=VALUE"),
        (
            "--limit",
            "x509-groups=many",
            "for '--limit <NAME=VALUE>': 'many' is not a valid number",
        ),
        (
            "--limit",
            "x509-groups=-1",
            "for '--limit <NAME=VALUE>': '-1' is not a valid number",
        ),
        (
            "--limit",
            "groups=1",
            "'groups' is not a valid limit: it must be one of individual-enrollments, ",
        ),
        (
            "--default-allocation",
            "custom",
            "[possible values: hashed, geoLatency, static]",
        ),
        (
            "--hub",
            "a=0",
            "for '--hub <HOSTNAME[=WEIGHT][,no-policy]>': 'a=0' is not a valid hub",
        ),
        (
            "--latency",
            "a=x",
            "for '--latency <[REGION/]HUB=MS>': 'a=x' is not a valid latency",
        ),
        (
            "--limit",
            "linked-hubs=0",
            "1 hubs are linked, and the limit is 0",
        ),
    ] {
        let (status, log) = Program::refuse(&["--ephemeral", option, value]).await;
        assert!(!status.success(), "{option} {value}");
        assert!(log.contains(said), "{option} {value}: {log}");
        assert!(
            !log.contains("c2hvcnQ=") && !log.contains("s3cret"),
            "{log}"
        );
    }
}
