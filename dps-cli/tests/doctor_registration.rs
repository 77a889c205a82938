//! The doctor names what only the service decides, over each transport: ids, credentials, and an assignment that never ends.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::time::{Duration, SystemTime};

use common::World;
use common::findings::{assert_finding, assert_problem};
use dps_emulator::CertificateAuthority;

const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
const DEVICE: [&str; 5] = [
    "doctor",
    "--registration-id",
    "kettle-1",
    "--group-key-file",
    "group.key",
];
const TRANSPORTS: [&str; 5] = ["http", "mqtt-ws", "amqp-ws", "mqtt", "amqp"];
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn with_group(world: World) -> World {
    let key = world.file("group.key", GROUP_KEY);
    let keys = ["--primary-key-file", &key, "--secondary-key-file", &key];
    let create = [&["enrollment-group", "create", "kettles"][..], &keys].concat();
    assert_eq!(world.run(&create).await.code, 0);
    world
}

/// DPS asks for a wait that is longer than the time limit of the doctor, so that the test does not wait.
#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_stays_assigning_is_named_over_every_transport() {
    let world = World::start_with(|builder| builder.assign_delay(DAY).retry_after(DAY)).await;
    let world = with_group(world).await;
    for transport in TRANSPORTS {
        let arguments = [&DEVICE[..], &["--register", "--transport", transport]].concat();
        let words = ["stays in the status assigning", "webhook"];
        assert_problem(&world, &arguments, "registration", &words).await;
    }
    // A lookup finds the registration that has not ended.
    let words = ["in the status assigning", "webhook"];
    assert_finding(&world, &DEVICE, "registration", "warning", &words).await;
}

/// MQTT refuses wrong credentials when the device connects; AMQP refuses them when it registers.
#[tokio::test(flavor = "multi_thread")]
async fn a_transport_without_a_lookup_is_not_a_problem() {
    let world = with_group(World::start().await).await;
    for (transport, result, words) in [
        ("http", "ok", "not registered yet"),
        ("mqtt", "ok", "the credentials are accepted"),
        ("mqtt-ws", "ok", "the credentials are accepted"),
        ("amqp", "skipped", "--register"),
        ("amqp-ws", "skipped", "--register"),
    ] {
        let arguments = [&DEVICE[..], &["--transport", transport]].concat();
        assert_finding(&world, &arguments, "registration", result, &[words]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_and_a_group_key_as_device_key_are_named_over_every_transport() {
    let world = with_group(World::start().await).await;
    world.file("wrong.key", GROUP_KEY.replace('8', "9"));
    for (transport, register) in [
        ("http", false),
        ("mqtt", false),
        ("mqtt-ws", false),
        ("amqp", true),
        ("amqp-ws", true),
    ] {
        let device = |key| {
            let mut arguments = vec!["doctor", "--registration-id", "kettle-1"];
            arguments.extend(["--transport", transport, "--key-file", key]);
            arguments.extend(register.then_some("--register"));
            arguments
        };
        let words = ["key of an enrollment group", "--group-key-file"];
        assert_problem(&world, &device("group.key"), "registration", &words).await;
        let words = ["does not accept these credentials"];
        assert_problem(&world, &device("wrong.key"), "registration", &words).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_and_a_wrong_id_scope_are_named_over_every_transport() {
    let world = with_group(World::start().await).await;
    let root = CertificateAuthority::new("Contoso Root").unwrap();
    let ca = world.file("root.pem", root.certificate_pem());
    let create = [
        "enrollment-group",
        "create",
        "toasters",
        "--certificate",
        &ca,
    ];
    assert_eq!(world.run(&create).await.code, 0);
    let now = SystemTime::now();
    let device = root.issue_with_validity("toaster-1", now - 2 * DAY..now - DAY);
    let device = device.unwrap();
    world.file("chain.pem", device.certificate_chain_pem());
    world.file("key.pem", device.private_key_pem());
    let files = ["--certificate", "chain.pem", "--private-key", "key.pem"];
    for transport in TRANSPORTS {
        let transport = ["--register", "--transport", transport];
        let arguments = [&["doctor"][..], &files, &transport].concat();
        let expired = ["expired at", "issue a new certificate"];
        assert_problem(&world, &arguments, "certificate validity", &expired).await;
        // The service refuses it as well, and the advice leads to the finding about the certificate.
        assert_problem(&world, &arguments, "registration", &["certificate"]).await;

        let scope = ["--id-scope", "0ne0BADBAD0"];
        let arguments = [&DEVICE[..], &scope, &transport].concat();
        assert_problem(&world, &arguments, "registration", &["id scope"]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_character_that_is_not_allowed_in_an_id_is_named_before_anything_is_sent() {
    let world = with_group(World::start().await).await;
    let key = ["--group-key-file", "group.key"];
    for (option, id, words) in [
        (
            "--registration-id",
            "kettle 1",
            "the character ' ' at position 7",
        ),
        (
            "--registration-id",
            "kettle/1",
            "the character '/' at position 7",
        ),
        (
            "--registration-id",
            "k\u{fc}che",
            "the character '\u{fc}' at position 2",
        ),
        (
            "--registration-id",
            "kettle:",
            "the last character must be alphanumeric",
        ),
        ("--id-scope", "0ne/1", "the character '/' at position 4"),
        (
            "--id-scope",
            "contoso.dps",
            "the character '.' at position 8",
        ),
        (
            "--host",
            "https://global.azure-devices-provisioning.net",
            "host",
        ),
    ] {
        let ran = world
            .run(&[&["doctor", option, id][..], &key].concat())
            .await;
        assert_eq!((ran.code, &*ran.stdout), (2, ""), "{ran:?}");
        assert!(
            ran.stderr.contains(option) && ran.stderr.contains(words),
            "{ran:?}"
        );
    }
    let root = CertificateAuthority::new("Contoso Root").unwrap();
    for (name, words) in [
        ("toaster/1", "the character '/' at position 8"),
        ("toaster:", "the last character must be alphanumeric"),
    ] {
        let device = root.issue(name).unwrap();
        world.file("chain.pem", device.certificate_chain_pem());
        world.file("key.pem", device.private_key_pem());
        let files = ["--certificate", "chain.pem", "--private-key", "key.pem"];
        let arguments = [&["doctor", "--offline"][..], &files].concat();
        assert_problem(&world, &arguments, "common name", &[words]).await;
    }
}

/// DPS accepts a colon. Clients that do not encode it in the same way in the URL and in the token are refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_colon_in_a_registration_id_works_and_is_named() {
    let world = with_group(World::start().await).await;
    for transport in TRANSPORTS {
        let arguments = [
            "doctor",
            "--registration-id",
            "kettle:1",
            "--group-key-file",
            "group.key",
            "--register",
            "--transport",
            transport,
        ];
        assert_finding(
            &world,
            &arguments,
            "registration id",
            "warning",
            &["a colon"],
        )
        .await;
        assert_finding(&world, &arguments, "registration", "ok", &["assigned"]).await;
    }
}
