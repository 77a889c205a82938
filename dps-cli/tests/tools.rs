//! The commands that host or call something else: the emulator, webhooks, policies, completions and man pages.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::webhook::answer_always;
use common::{Ran, World, dps};

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_command_runs_with_an_emulator_and_decides_the_exit_code() {
    let script = r#"
        set -e
        test "$DPS_CA_FILE" = "$SSL_CERT_FILE" && test -s "$REQUESTS_CA_BUNDLE" && test -s "$NODE_EXTRA_CA_CERTS"
        "$DPS" enrollment create toaster-1 >/dev/null
        "$DPS" enrollment show toaster-1 --show-keys -o json | sed -n 's/.*"primaryKey": "\(.*\)".*/\1/p' > key
        "$DPS" register --registration-id toaster-1 --key-file key -o ndjson
        "$DPS" connect --registration-id toaster-1 --key-file key --once
        exit 42
    "#;
    let dir = tempfile::tempdir().unwrap();
    let mut command = dps(&[
        "emulator",
        "exec",
        "--id-scope",
        "0ne00ABCDEF",
        "--",
        "sh",
        "-c",
        script,
    ]);
    command
        .current_dir(&dir)
        .env("DPS", env!("CARGO_BIN_EXE_dps"));
    let ran = Ran::of(command).await;
    assert_eq!(ran.code, 42, "{ran:?}");
    assert!(
        ran.stdout.contains(r#""assignedHub":"127.0.0.1""#),
        "{ran:?}"
    );

    let killed = Ran::of(dps(&["emulator", "exec", "--", "sh", "-c", "kill -9 $$"])).await;
    assert_eq!(killed.code, 128 + 9, "{killed:?}");
    let missing = Ran::of(dps(&["emulator", "exec", "--", "/nowhere/program"])).await;
    assert_eq!(missing.code, 2, "{missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_has_its_own_options() {
    let help = Ran::of(dps(&["emulator", "--help"])).await;
    assert_eq!(help.code, 0);
    assert!(
        help.stdout.contains("--ephemeral") && help.stdout.contains("--throttle"),
        "{help:?}"
    );
    let wrong = Ran::of(dps(&["emulator", "--no-such-option"])).await;
    assert_eq!(wrong.code, 2, "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_is_checked_and_its_mistake_is_explained() {
    let good =
        answer_always(r#"{"iotHubHostName":"hub-a.azure-devices.net","payload":{"a":1}}"#).await;
    let checked = Ran::of(dps(&["webhook", "check", &good])).await;
    assert_eq!(checked.code, 0, "{checked:?}");
    assert!(
        checked.stdout.contains("hub-a.azure-devices.net"),
        "{checked:?}"
    );
    assert!(
        !checked.stdout.contains("secret"),
        "the function key is not printed"
    );

    // Answers that webhooks in JavaScript, PowerShell and C# give by mistake.
    for (file, words) in [
        ("webhook-action-result.json", "iotHubHostName"),
        ("webhook-short-name.json", "hub-a"),
        ("webhook-space.json", "hub-a"),
        ("webhook-tags-list.json", "tags"),
        ("webhook-twice-encoded.json", "twice"),
        ("webhook-url.json", "https"),
    ] {
        let path = format!("{}/tests/fixtures/{file}", env!("CARGO_MANIFEST_DIR"));
        let url = answer_always(&std::fs::read_to_string(path).unwrap()).await;
        let checked = Ran::of(dps(&["webhook", "check", &url, "-o", "json"])).await;
        assert_eq!(checked.code, 7, "{file}: {checked:?}");
        assert!(checked.stdout.contains(words), "{file}: {checked:?}");
    }
    let bom = format!(
        "{}/tests/fixtures/webhook-bom.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let url = answer_always(&std::fs::read_to_string(bom).unwrap()).await;
    let checked = Ran::of(dps(&["webhook", "check", &url])).await;
    assert!(
        checked.code == 0 || checked.stdout.contains("byte order mark"),
        "{checked:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_tested_with_recorded_requests() {
    let world = World::start().await;
    let request = |n: usize, expected: &str| {
        format!(
            r#"{{"enrollmentGroup":{{"enrollmentGroupId":"toasters","attestation":{{"type":"symmetricKey"}}}},"deviceRuntimeContext":{{"registrationId":"t-{n}","symmetricKey":{{}}}},"linkedHubs":["hub-a.azure-devices.net","hub-b.azure-devices.net"]{expected}}}"#
        ) + "\n"
    };
    let many: String = (0..200).map(|n| request(n, "")).collect();
    let file = world.file("many.ndjson", many);
    let tested = world
        .run(&["policy", "test", &file, "--policy", "hashed"])
        .await;
    assert_eq!(tested.code, 0, "{tested:?}");
    assert!(
        tested.stderr.contains("hub-a.azure-devices.net: ")
            && tested.stderr.contains("hub-b.azure-devices.net: "),
        "{tested:?}"
    );

    let url = answer_always(r#"{"iotHubHostName":"hub-a.azure-devices.net"}"#).await;
    let lines = request(1, r#","expectedHub":"hub-a.azure-devices.net""#)
        + &request(2, r#","expectedHub":"hub-b.azure-devices.net""#);
    let file = world.file("two.ndjson", lines);
    let tested = world
        .run(&["policy", "test", &file, "--url", &url, "-o", "json"])
        .await;
    assert_eq!(tested.code, 7, "{tested:?}");
    let rows: serde_json::Value = serde_json::from_str(&tested.stdout).unwrap();
    assert_eq!(
        (&rows[0]["passed"], &rows[1]["passed"]),
        (&true.into(), &false.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_and_man_pages_exist_for_every_command() {
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let ran = Ran::of(dps(&["completions", shell])).await;
        assert!(
            ran.code == 0 && ran.stdout.contains("enrollment-group"),
            "{shell}"
        );
    }
    let world = World::start().await;
    assert_eq!(world.run(&["man", "man1"]).await.code, 0);
    let page = world.read("man1/dps-enrollment-import.1");
    assert!(page.contains("resume"), "{page}");
}
