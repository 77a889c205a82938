//! The commands of operators against the emulator: enrollments, groups, registration records, files, and credentials.

mod common;

use common::{Ran, World, dps};
use serde_json::json;

const KEY: &str = "dGhlIHByaW1hcnkga2V5IG9mIHRvYXN0ZXItMSAhISE=";
const OTHER_KEY: &str = "dGhlIHNlY29uZGFyeSBrZXkgb2YgdG9hc3Rlci0xICE=";

#[tokio::test(flavor = "multi_thread")]
async fn an_enrollment_is_created_changed_and_deleted() {
    let world = World::start().await;
    let created = world
        .json(&[
            "enrollment",
            "create",
            "toaster-1",
            "--device-id",
            "kitchen",
            "--hub",
            "hub-b.example",
            "--allocation-policy",
            "static",
            "--reprovision",
            "never",
            "--edge",
            "--tags",
            r#"{"model": "t1"}"#,
            "--desired",
            r#"{"mode": "eco"}"#,
        ])
        .await;
    assert_eq!(created["registrationId"], "toaster-1");
    assert_eq!(created["iotHubs"], json!(["hub-b.example"]));
    assert_eq!(created["allocationPolicy"], "static");
    assert_eq!(created["capabilities"]["iotEdge"], true);
    assert_eq!(
        created["reprovisionPolicy"],
        json!({"updateHubAssignment": false, "migrateDeviceData": false})
    );
    assert_eq!(
        created["initialTwin"],
        json!({"tags": {"model": "t1"}, "properties": {"desired": {"mode": "eco"}}})
    );
    assert_eq!(created["attestation"]["symmetricKey"]["primaryKey"], "***");

    let again = world.run(&["enrollment", "create", "toaster-1"]).await;
    assert_eq!(again.code, 5, "{again:?}");
    assert!(again.stderr.contains("exists"), "{again:?}");

    let changed = world
        .json(&[
            "enrollment",
            "update",
            "toaster-1",
            "--set",
            "initialTwin.tags.year=2026",
            "--unset",
            "initialTwin.tags.model",
        ])
        .await;
    assert_eq!(changed["initialTwin"]["tags"], json!({"year": 2026}));
    assert_eq!(changed["deviceId"], "kitchen");

    let disabled = world.run(&["enrollment", "disable", "toaster-1"]).await;
    assert_eq!(disabled.code, 0, "{disabled:?}");
    assert_eq!(
        world.json(&["enrollment", "show", "toaster-1"]).await["provisioningStatus"],
        "disabled"
    );

    let listed = world.json(&["enrollment", "list"]).await;
    assert_eq!(listed.as_array().unwrap().len(), 1);
    assert_eq!(
        world.run(&["enrollment", "delete", "toaster-1"]).await.code,
        0
    );
    let gone = world.run(&["enrollment", "show", "toaster-1"]).await;
    assert_eq!(gone.code, 3, "{gone:?}");
    assert_eq!(world.json(&["enrollment", "list"]).await, json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_document_whose_twin_has_another_type_is_refused() {
    let world = World::start().await;
    for twin in [
        r#""eco""#,
        r#"{"properties": "eco"}"#,
        r#"{"properties": [1]}"#,
    ] {
        let file = world.file(
            "enrollment.json",
            format!(r#"{{"attestation": {{"type": "symmetricKey"}}, "initialTwin": {twin}}}"#),
        );
        let created = world
            .run(&[
                "enrollment",
                "create",
                "toaster-1",
                "--from-file",
                &file,
                "--desired",
                r#"{"mode": "eco"}"#,
            ])
            .await;
        assert_eq!(created.code, 2, "{created:?}");
        assert!(
            created.stderr.contains("is not a JSON object"),
            "{created:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_from_files_and_are_shown_only_on_request() {
    let world = World::start().await;
    let (primary, secondary) = (
        world.file("primary", KEY),
        world.file("secondary", format!("{OTHER_KEY}\n")),
    );
    let create = [
        "enrollment-group",
        "create",
        "kettles",
        "--primary-key-file",
        &primary,
        "--secondary-key-file",
        &secondary,
    ];
    let created = world.run(&create).await;
    assert_eq!(created.code, 0, "{created:?}");
    assert!(!created.stdout.contains(KEY));

    let shown = world
        .json(&["enrollment-group", "show", "kettles", "--show-keys"])
        .await;
    assert_eq!(
        shown["attestation"]["symmetricKey"],
        json!({"primaryKey": KEY, "secondaryKey": OTHER_KEY})
    );

    let rotated = world
        .json(&["enrollment-group", "rotate-keys", "kettles", "--show-keys"])
        .await;
    assert_eq!(rotated["attestation"]["symmetricKey"]["primaryKey"], KEY);
    let new_key = rotated["attestation"]["symmetricKey"]["secondaryKey"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_ne!(new_key, OTHER_KEY);
    world
        .run(&[
            "enrollment-group",
            "rotate-keys",
            "kettles",
            "--step",
            "swap",
        ])
        .await;
    let swapped = world
        .json(&["enrollment-group", "show", "kettles", "--show-keys"])
        .await;
    assert_eq!(
        swapped["attestation"]["symmetricKey"],
        json!({"primaryKey": new_key, "secondaryKey": KEY})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn verbose_output_contains_requests_and_no_secret() {
    let world = World::start().await;
    let (primary, secondary) = (
        world.file("primary", KEY),
        world.file("secondary", OTHER_KEY),
    );
    let create = [
        "-vvv",
        "enrollment",
        "create",
        "toaster-1",
        "--primary-key-file",
        &primary,
        "--secondary-key-file",
        &secondary,
    ];
    let created = world.run(&create).await;
    assert_eq!(created.code, 0, "{created:?}");
    assert!(
        created.stderr.contains("/enrollments/toaster-1"),
        "{}",
        created.stderr
    );
    let connection = world.emulator.service_connection_string();
    let service_key = connection.split("SharedAccessKey=").nth(1).unwrap();
    for secret in [KEY, OTHER_KEY, service_key, "sig="] {
        assert!(!created.stderr.contains(secret), "{secret} is in the log");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_enrollments_is_imported_exported_and_imported_again() {
    let world = World::start().await;
    let lines: String = (0..45)
        .map(|n| format!("t-{n},device-{n},m-{n},{n},hub-b.example;127.0.0.1,hashed\n"))
        .collect();
    let fleet = world.file(
        "fleet.csv",
        format!(
            "registrationId,deviceId,optionalDeviceInformation.model,initialTwin.tags.n,iotHubs,allocationPolicy\n{lines}"
        ),
    );
    let imported = world.json(&["enrollment", "import", &fleet]).await;
    assert_eq!(
        (&imported["succeeded"], &imported["failed"]),
        (&json!(45), &json!(0))
    );
    let one = world.json(&["enrollment", "show", "t-44"]).await;
    assert_eq!(
        (&one["deviceId"], &one["initialTwin"]["tags"]["n"]),
        (&json!("device-44"), &json!(44))
    );

    for name in ["out.csv", "out.json", "out.ndjson"] {
        let file = world.path(name);
        let exported = world
            .run(&["enrollment", "export", &file, "--with-keys"])
            .await;
        assert_eq!(exported.code, 0, "{exported:?}");
        let before = world
            .json(&["enrollment", "show", "t-7", "--show-keys"])
            .await;
        let deleted = world
            .json(&["enrollment", "import", &file, "--mode", "delete"])
            .await;
        assert_eq!(deleted["succeeded"], 45, "{name}");
        assert_eq!(world.json(&["enrollment", "list"]).await, json!([]));
        let restored = world.json(&["enrollment", "import", &file]).await;
        assert_eq!(restored["succeeded"], 45, "{name}");
        let after = world
            .json(&["enrollment", "show", "t-7", "--show-keys"])
            .await;
        assert_eq!(before["optionalDeviceInformation"]["model"], "m-7");
        for field in [
            "attestation",
            "deviceId",
            "optionalDeviceInformation",
            "initialTwin",
            "iotHubs",
        ] {
            assert_eq!(before[field], after[field], "{name}: {field}");
        }
    }
    assert!(world.read("out.ndjson").lines().count() == 45);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_row_is_reported_and_does_not_stop_the_others() {
    let world = World::start().await;
    assert_eq!(world.run(&["enrollment", "create", "b"]).await.code, 0);
    let fleet = world.file("fleet.csv", "registrationId\na\nb\nnot valid!\nc\n");
    let failures = world.path("failures.ndjson");
    let ran = world
        .run(&["enrollment", "import", &fleet, "--failures", &failures])
        .await;
    assert_eq!(ran.code, 7, "{ran:?}");
    let rows: Vec<serde_json::Value> = world
        .read("failures.ndjson")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(rows.len(), 2, "{rows:?}");
    let exists = rows.iter().find(|row| row["row"] == 2).unwrap();
    assert_eq!(
        (&exists["id"], &exists["retryable"]),
        (&json!("b"), &json!(false))
    );
    assert!(rows.iter().any(|row| row["row"] == 3), "{rows:?}");
    assert_eq!(
        world
            .json(&["enrollment", "list"])
            .await
            .as_array()
            .unwrap()
            .len(),
        3
    );

    // The report can be imported: after the cause is removed, the failed enrollment succeeds.
    assert_eq!(world.run(&["enrollment", "delete", "b"]).await.code, 0);
    let again = world.run(&["enrollment", "import", &failures]).await;
    assert_eq!(again.code, 7, "{again:?}");
    assert_eq!(world.run(&["enrollment", "show", "b"]).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failures_are_in_the_order_of_the_file() {
    let world = World::start().await;
    let lines: String = (0..300)
        .map(|n| {
            if n % 3 == 0 {
                format!("not valid {n}!\n")
            } else {
                format!("t-{n}\n")
            }
        })
        .collect();
    let fleet = world.file("fleet.csv", format!("registrationId\n{lines}"));
    let failures = world.path("failures.ndjson");
    let ran = world
        .run(&["enrollment", "import", &fleet, "--failures", &failures])
        .await;
    assert_eq!(ran.code, 7, "{ran:?}");
    let rows: Vec<usize> = world
        .read("failures.ndjson")
        .lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["row"]
                .as_u64()
                .unwrap() as usize
        })
        .collect();
    assert_eq!(rows, (0..300).step_by(3).map(|n| n + 1).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_import_continues_at_its_position() {
    let world = World::start().await;
    let fleet = world.file("fleet.csv", "registrationId\na\nb\nc\n");
    let position = world.file("position", "2\n");
    let ran = world
        .json(&["enrollment", "import", &fleet, "--resume", &position])
        .await;
    assert_eq!(ran["succeeded"], 1);
    assert_eq!(world.run(&["enrollment", "show", "a"]).await.code, 3);
    assert_eq!(world.run(&["enrollment", "show", "c"]).await.code, 0);
    assert!(
        !std::path::Path::new(&position).exists(),
        "the position is removed at the end"
    );
}

/// The digits are those of `printf '{"version":2,"rows":2' | sha256sum`.
#[tokio::test(flavor = "multi_thread")]
async fn a_position_that_has_changed_on_the_disk_is_refused() {
    let world = World::start().await;
    let fleet = world.file("fleet.csv", "registrationId\na\nb\nc\n");
    let saved = "{\"version\":2,\"rows\":2,\"checksum\":\"f5d63f900a50fb53\"}\n";
    let position = world.file("position", saved.replace("\"rows\":2", "\"rows\":3"));
    let import = ["enrollment", "import", &fleet, "--resume", &position];
    let ran = world.run(&import).await;
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(ran.stderr.contains("checksum"), "{ran:?}");
    assert!(ran.stderr.contains("remove the file"), "{ran:?}");

    let position = world.file("position", saved);
    let import = ["enrollment", "import", &fleet, "--resume", &position];
    assert_eq!(world.json(&import).await["succeeded"], 1);
    assert_eq!(world.run(&["enrollment", "show", "c"]).await.code, 0);
}

/// The service refuses a request of more than 1 MiB. What it stores is longer than what it has received.
#[tokio::test(flavor = "multi_thread")]
async fn the_largest_enrollment_is_exported_and_imported_again() {
    let world = World::start().await;
    let keys = json!({"primaryKey": KEY, "secondaryKey": OTHER_KEY});
    let mut enrollment = json!({
        "registrationId": "large",
        "attestation": {"type": "symmetricKey", "symmetricKey": keys},
        "optionalDeviceInformation": {"text": ""},
    });
    let request = json!({"mode": "create", "enrollments": [enrollment]}).to_string();
    let text = "x".repeat((1 << 20) - request.len());
    enrollment["optionalDeviceInformation"]["text"] = text.into();
    let first = world.file("first.json", json!([enrollment]).to_string());
    let import = ["enrollment", "import", &first];
    assert_eq!(world.json(&import).await["succeeded"], 1);

    let mut larger = enrollment.clone();
    larger["more"] = json!(1);
    let larger = world.file("larger.json", json!([larger]).to_string());
    let update = ["enrollment", "import", &larger, "--mode", "update"];
    let refused = world.run(&update).await;
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.stderr.contains("413"), "{refused:?}");

    for name in ["all.ndjson", "all.json", "all.csv"] {
        let file = world.path(name);
        let export = ["enrollment", "export", &file, "--with-keys"];
        assert_eq!(world.run(&export).await.code, 0, "{name}");
        if name == "all.ndjson" {
            assert!(world.read(name).len() > 1 << 20, "longer than the request");
        }
        let delete = ["enrollment", "delete", "large"];
        assert_eq!(world.run(&delete).await.code, 0, "{name}");
        let imported = world.json(&["enrollment", "import", &file]).await;
        assert_eq!(imported["succeeded"], 1, "{name}: {imported}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_without_a_service_stops_and_keeps_its_position() {
    let world = World::start().await;
    let lines: String = (0..200).map(|n| format!("t-{n}\n")).collect();
    let fleet = world.file("fleet.csv", format!("registrationId\n{lines}"));
    let position = world.path("position");
    let mut command = world.command(&[
        "enrollment",
        "import",
        &fleet,
        "--resume",
        &position,
        "--service-timeout",
        "1",
    ]);
    // A port on which nothing listens.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    command.env(
        "DPS_CONNECTION_STRING",
        format!("HostName=localhost:{port};SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={KEY}"),
    );
    let ran = Ran::of(command).await;
    assert_eq!(ran.code, 6, "{ran:?}");
    assert!(ran.stderr.contains("run the same command again"), "{ran:?}");
    let saved = world.read("position");
    assert!(saved.starts_with("{\"version\":2,\"rows\":"), "{saved}");
    let again = world
        .json(&["enrollment", "import", &fleet, "--resume", &position])
        .await;
    let stored = world
        .json(&["enrollment", "list"])
        .await
        .as_array()
        .unwrap()
        .len();
    assert_eq!(again["succeeded"], stored, "{again}");
    assert!(
        stored >= 150,
        "{stored} of 200: at most the requests that were under way are reported as failed"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_credentials_and_missing_ones_have_their_own_exit_codes() {
    let world = World::start().await;
    let port = world.emulator.https_port();
    let wrong = format!(
        "HostName=localhost:{port};SharedAccessKeyName=provisioningserviceowner;SharedAccessKey={KEY}"
    );
    let mut command = world.command(&["enrollment", "list", "-o", "json"]);
    command.env("DPS_CONNECTION_STRING", &wrong);
    let refused = Ran::of(command).await;
    assert_eq!(refused.code, 4, "{refused:?}");
    let error: serde_json::Value = serde_json::from_str(&refused.stderr).unwrap();
    assert_eq!(error["exitCode"], 4);
    assert!(!refused.stderr.contains(KEY));

    let none = Ran::of(dps(&["enrollment", "list"])).await;
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("DPS_CONNECTION_STRING"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_replaces_all_options() {
    let world = World::start().await;
    let connection = world.emulator.service_connection_string();
    world.file("contoso.connection", connection.as_bytes());
    world.file(
        "profiles.toml",
        "[contoso]\nconnection-string-file = \"contoso.connection\"\nca-file = \"emulator-ca.pem\"\n",
    );
    let config = world.path("profiles.toml");
    let listed = Ran::of(dps(&[
        "--config",
        &config,
        "--profile",
        "contoso",
        "enrollment",
        "list",
        "-o",
        "json",
    ]))
    .await;
    assert_eq!(
        (listed.code, listed.stdout.as_str()),
        (0, "[]\n"),
        "{listed:?}"
    );
    let unknown = Ran::of(dps(&[
        "--config",
        &config,
        "--profile",
        "fabrikam",
        "enrollment",
        "list",
    ]))
    .await;
    assert_eq!(unknown.code, 2);

    // A line that is not valid is not repeated: it may contain a key.
    world.file(
        "broken.toml",
        format!("[contoso]\nconnection-string = \"{KEY}\n"),
    );
    let broken = Ran::of(dps(&[
        "--config",
        &world.path("broken.toml"),
        "enrollment",
        "list",
    ]))
    .await;
    assert_eq!(broken.code, 2);
    assert!(
        broken.stderr.contains("line 2") && !broken.stderr.contains(KEY),
        "{broken:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_device_is_derived_as_the_documentation_shows() {
    // Source: azure-docs, "How to use symmetric key attestation", derived key of sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6.
    let mut command = dps(&["compute-device-key", "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6"]);
    command.env(
        "DPS_GROUP_KEY",
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==",
    );
    let ran = Ran::of(command).await;
    assert_eq!(
        ran.stdout, "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=\n",
        "{ran:?}"
    );

    let mut command = dps(&[
        "compute-device-key",
        "a",
        "b",
        "--group-key-file",
        "-",
        "-o",
        "ndjson",
    ]);
    command.write_stdin(KEY);
    let ran = Ran::of(command).await;
    assert_eq!(ran.stdout.lines().count(), 2, "{ran:?}");
}
