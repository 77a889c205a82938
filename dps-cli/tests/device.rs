//! The commands that act as a device, against the emulator: each attestation and each transport.

mod common;

use common::{Ran, World};
use dps_emulator::{CertificateAuthority, DeviceCredentials};
use serde_json::json;

const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
const OTHER_KEY: &str = "dGhlIHNlY29uZGFyeSBrZXkgb2YgdG9hc3Rlci0xICE=";

async fn kettles(world: &World) {
    let (primary, secondary) = (
        world.file("group.key", GROUP_KEY),
        world.file("group.key.2", OTHER_KEY),
    );
    let create = [
        "enrollment-group",
        "create",
        "kettles",
        "--hub",
        "127.0.0.1",
        "--primary-key-file",
        &primary,
        "--secondary-key-file",
        &secondary,
    ];
    let created = world.run(&create).await;
    assert_eq!(created.code, 0, "{created:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_from_stdin_is_read_once() {
    let world = World::start().await;
    kettles(&world).await;
    let device = ["--registration-id", "kettle-1", "--group-key-file", "-"];
    for command in [
        &["register"][..],
        &["lookup"],
        &["connect", "--hub-host", "localhost", "--once"],
        // It uses the key several times.
        &["doctor"],
    ] {
        let mut program = world.command(&[command, &device].concat());
        program.write_stdin(GROUP_KEY);
        let ran = Ran::of(program).await;
        assert_eq!(ran.code, 0, "{command:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_options_that_read_stdin_are_an_error_that_names_both() {
    let group = ["--registration-id", "kettle-1", "--group-key-file", "-"];
    for (command, more, both) in [
        (
            "register",
            &["--secondary-key-file", "-"][..],
            "--group-key-file <FILE> and --secondary-key-file <FILE>",
        ),
        (
            "register",
            &["--payload", "@-"],
            "--group-key-file <FILE> and --payload <JSON>",
        ),
        (
            "register",
            &["--ca-file", "-"],
            "--group-key-file <FILE> and --ca-file <FILE>",
        ),
        (
            "connect",
            &["--telemetry", "-"],
            "--group-key-file <FILE> and --telemetry <TEXT>",
        ),
        (
            "doctor",
            &["--sas-token-file", "-"],
            "--group-key-file <FILE> and --sas-token-file <FILE>",
        ),
    ] {
        refuses(&[&[command][..], &group, more].concat(), both).await;
    }
    let update = ["enrollment", "update", "kettle-1", "--tags", "@-"];
    let both = "--tags <JSON> and --set <PATH=VALUE>";
    refuses(&[&update[..], &["--set", "a=@-"]].concat(), both).await;
    let both = "--tags <JSON> and --connection-string-file <FILE>";
    refuses(
        &[&update[..], &["--connection-string-file", "-"]].concat(),
        both,
    )
    .await;
    let inspect = ["certificate", "inspect", "-", "--password-file", "-"];
    refuses(&inspect, "<FILE> and --password-file <FILE>").await;
}

async fn refuses(arguments: &[&str], both: &str) {
    let mut program = common::dps(arguments);
    program.write_stdin(GROUP_KEY);
    let refused = Ran::of(program).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    let message = format!("{both} both read stdin, which can be read once");
    assert!(refused.stderr.contains(&message), "{message}: {refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_group_key_registers_over_every_transport_and_is_found() {
    let world = World::start().await;
    kettles(&world).await;
    for transport in ["http", "mqtt", "mqtt-ws", "amqp", "amqp-ws"] {
        let id = format!("kettle-{transport}");
        let device = [
            "--registration-id",
            &id,
            "--group-key-file",
            "group.key",
            "--transport",
            transport,
        ];
        let assigned = world
            .json(
                &[
                    &["register", "--payload", r#"{"model": "k1"}"#],
                    &device[..],
                ]
                .concat(),
            )
            .await;
        assert_eq!(
            (&assigned["assignedHub"], &assigned["deviceId"]),
            (&json!("127.0.0.1"), &json!(id))
        );
        let found = world.json(&["registration", "show", &id]).await;
        assert_eq!(found["status"], "assigned");
    }
    let looked_up = world
        .json(&[
            "lookup",
            "--registration-id",
            "kettle-http",
            "--group-key-file",
            "group.key",
        ])
        .await;
    assert_eq!(looked_up["status"], "assigned", "{looked_up}");
    let listed = world
        .json(&["registration", "list", "--group", "kettles"])
        .await;
    assert_eq!(listed.as_array().unwrap().len(), 5);
    let all = world.json(&["registration", "list", "--top", "2"]).await;
    assert_eq!(all[0]["enrollmentGroupId"], "kettles", "{all}");
    assert_eq!(
        world
            .run(&["registration", "delete", "kettle-http"])
            .await
            .code,
        0
    );
    assert_eq!(
        world
            .run(&["registration", "show", "kettle-http"])
            .await
            .code,
        3
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn devices_with_certificates_register() {
    let world = World::start().await;
    let own = DeviceCredentials::self_signed("toaster-1").unwrap();
    let certificate = world.file("toaster.pem", own.certificate_pem());
    let key = world.file("toaster.key", own.private_key_pem());
    assert_eq!(
        world
            .run(&[
                "enrollment",
                "create",
                "toaster-1",
                "--certificate",
                &certificate
            ])
            .await
            .code,
        0
    );
    let assigned = world
        .json(&[
            "register",
            "--certificate",
            &certificate,
            "--private-key",
            &key,
        ])
        .await;
    assert_eq!(assigned["registrationId"], "toaster-1");

    let factory = CertificateAuthority::new("Contoso Factory 7").unwrap();
    let root = world.file("factory.pem", factory.certificate_pem());
    assert_eq!(
        world
            .run(&[
                "enrollment-group",
                "create",
                "factory",
                "--certificate",
                &root
            ])
            .await
            .code,
        0
    );
    let device = factory
        .intermediate("Contoso Line 2")
        .unwrap()
        .issue("toaster-2")
        .unwrap();
    let chain = world.file("chain.pem", device.certificate_chain_pem());
    let key = world.file("key.pem", device.private_key_pem());
    let assigned = world
        .json(&[
            "register",
            "--certificate",
            &chain,
            "--private-key",
            &key,
            "--transport",
            "mqtt",
        ])
        .await;
    assert_eq!(assigned["registrationId"], "toaster-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_device_gets_the_reason_an_exit_code_and_the_next_step() {
    let world = World::start().await;
    kettles(&world).await;
    let wrong = world.file("wrong.key", OTHER_KEY.replace('d', "e"));
    let refused = world
        .run(&[
            "register",
            "--registration-id",
            "kettle-1",
            "--group-key-file",
            &wrong,
        ])
        .await;
    assert_eq!(refused.code, 4, "{refused:?}");
    assert!(
        refused.stderr.contains("401002") && refused.stderr.contains("dps doctor"),
        "{refused:?}"
    );

    let mut command = world.command(&[
        "register",
        "--registration-id",
        "kettle-1",
        "--group-key-file",
        "-",
    ]);
    command.write_stdin("not a key");
    let invalid = Ran::of(command).await;
    assert_eq!(invalid.code, 2, "{invalid:?}");
    let none = world
        .run(&["register", "--registration-id", "kettle-1"])
        .await;
    assert_eq!(none.code, 2);
    assert!(none.stderr.contains("DPS_GROUP_KEY"), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_connects_reports_and_prints_its_twin() {
    let world = World::start().await;
    kettles(&world).await;
    let device = [
        "connect",
        "--registration-id",
        "kettle-1",
        "--group-key-file",
        "group.key",
        "--hub-host",
        "localhost",
        "--once",
        "--report",
        r#"{"firmware": "1.2"}"#,
        "--cache",
        "assignment.json",
    ];
    let first = world.json(&device).await;
    assert_eq!(first["reported"], json!({}));
    let second = world.json(&device).await;
    assert_eq!(second["reported"], json!({"firmware": "1.2"}));
    assert!(world.read("assignment.json").contains("127.0.0.1"));
}

#[tokio::test]
async fn an_endorsement_key_without_a_tpm_is_refused() {
    let world = World::start().await;
    let device = "--registration-id toaster-1 --key-file toaster.key --endorsement-key-file ek.txt";
    for command in [
        "register",
        "register --new-key new.key --certificate-out new.pem",
        "renew --new-key new.key --certificate-out new.pem",
        "connect",
        "lookup",
    ] {
        let words = format!("{command} {device}");
        let words: Vec<_> = words.split_whitespace().collect();
        let refused = world.run(&words).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("--tpm-key"), "{refused:?}");
    }
}
