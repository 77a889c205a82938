//! The doctor names each class of trouble that devices have with DPS: ids, keys, certificates, networks, clocks and answers.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::time::{Duration, SystemTime};

use common::World;
use dps_emulator::fault::{Effect, Fault, Step};
use dps_emulator::{CertificateAuthority, DeviceCredentials};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
const DEVICE_KEY: &str = "dGhlIHNlY29uZGFyeSBrZXkgb2YgdG9hc3Rlci0xICE=";

/// Runs the doctor, and returns its exit code and its findings.
async fn doctor(world: &World, arguments: &[&str]) -> (i32, Vec<Value>) {
    let ran = world
        .run(&[&["doctor", "-o", "json"], arguments].concat())
        .await;
    let findings = serde_json::from_str(&ran.stdout);
    (
        ran.code,
        findings.unwrap_or_else(|error| panic!("{error}: {ran:?}")),
    )
}

/// Requires one problem (or warning) of a check, whose finding and advice contain these words.
fn assert_found(report: &(i32, Vec<Value>), check: &str, result: &str, words: &[&str]) {
    let matching = |finding: &&Value| {
        let text = format!("{} {}", finding["finding"], finding["advice"]);
        finding["check"] == check
            && finding["result"] == result
            && words.iter().all(|word| text.contains(word))
    };
    assert!(
        report.1.iter().any(|finding| matching(&finding)),
        "{check} {result} {words:?}: {:#?}",
        report.1
    );
    assert_eq!(
        report.0,
        if report
            .1
            .iter()
            .any(|finding| finding["result"] == "problem")
        {
            7
        } else {
            0
        }
    );
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

async fn with_group() -> World {
    let world = World::start().await;
    let (primary, secondary) = (
        world.file("group.key", GROUP_KEY),
        world.file("other.key", DEVICE_KEY),
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
    assert_eq!(world.run(&create).await.code, 0);
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_device_has_no_problem_over_any_transport() {
    let world = with_group().await;
    for transport in ["http", "mqtt-ws", "mqtt", "amqp", "amqp-ws"] {
        let device = [
            "--registration-id",
            "kettle-1",
            "--group-key-file",
            "group.key",
            "--transport",
            transport,
        ];
        // The lookup works over HTTPS only on some transports: a registration works over all of them.
        let report = doctor(&world, &[&device[..], &["--register"]].concat()).await;
        assert_eq!(report.0, 0, "{transport}: {:#?}", report.1);
        assert_found(&report, "registration", "ok", &["assigned"]);
    }
    let report = doctor(
        &world,
        &[
            "--registration-id",
            "kettle-new",
            "--group-key-file",
            "group.key",
        ],
    )
    .await;
    assert_found(&report, "registration", "ok", &["not registered yet"]);
    assert_found(&report, "clock", "ok", &[]);
    assert_found(&report, "answer", "ok", &["DPS answers"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_key_as_device_key_and_the_reverse_are_named() {
    let world = with_group().await;
    let report = doctor(
        &world,
        &["--registration-id", "kettle-1", "--key-file", "group.key"],
    )
    .await;
    assert_found(
        &report,
        "registration",
        "problem",
        &["key of an enrollment group", "--group-key-file"],
    );
    assert_found(&report, "symmetric key", "warning", &["64 bytes"]);

    let derived = world
        .run(&[
            "compute-device-key",
            "kettle-1",
            "--group-key-file",
            "group.key",
        ])
        .await
        .stdout;
    world.file("device.key", derived);
    let report = doctor(
        &world,
        &[
            "--registration-id",
            "kettle-1",
            "--group-key-file",
            "device.key",
        ],
    )
    .await;
    assert_found(
        &report,
        "registration",
        "problem",
        &["key of the device, not of a group"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_id_in_other_letters_is_named() {
    let world = with_group().await;
    let derived = world
        .run(&[
            "compute-device-key",
            "kettle-1",
            "--group-key-file",
            "group.key",
        ])
        .await
        .stdout;
    world.file("device.key", derived);
    let report = doctor(
        &world,
        &["--registration-id", "Kettle-1", "--key-file", "device.key"],
    )
    .await;
    assert_found(&report, "registration id", "warning", &["uppercase"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_a_wrong_id_scope_and_a_key_that_is_not_base64_are_named() {
    let world = with_group().await;
    world.file("wrong.key", DEVICE_KEY.replace('d', "e"));
    let device = ["--registration-id", "kettle-1", "--key-file", "wrong.key"];
    let report = doctor(&world, &device).await;
    assert_found(
        &report,
        "registration",
        "problem",
        &["does not accept these credentials"],
    );
    let report = doctor(
        &world,
        &[&device[..], &["--id-scope", "0ne0BADBAD0"]].concat(),
    )
    .await;
    assert_found(&report, "registration", "problem", &["id scope"]);
    let report = doctor(
        &world,
        &[
            "--registration-id",
            "kettle-1",
            "--id-scope",
            "contoso",
            "--key-file",
            "wrong.key",
        ],
    )
    .await;
    assert_found(&report, "id scope", "warning", &["0ne"]);

    world.file("quoted.key", format!("\"{DEVICE_KEY}\""));
    let report = doctor(
        &world,
        &["--registration-id", "kettle-1", "--key-file", "quoted.key"],
    )
    .await;
    assert_found(
        &report,
        "symmetric key",
        "problem",
        &["the file or the variable", "without quotation marks"],
    );
    let report = doctor(&world, &["--registration-id", "kettle-1"]).await;
    assert_found(&report, "credentials", "problem", &["no credentials"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_are_not_dps_are_named() {
    let world = World::start().await;
    let device = [
        "--registration-id",
        "kettle-1",
        "--key-file",
        "device.key",
        "--offline",
    ];
    world.file("device.key", DEVICE_KEY);
    for (host, result, words) in [
        ("contoso.azure-devices.net", "problem", "IoT hub"),
        (
            "contoso.azure-devices-provisioning.net",
            "warning",
            "service endpoint",
        ),
        (
            "global.azure-devices-provisioning.com",
            "warning",
            "not a known host",
        ),
        ("global.azure-devices-provisioning.cn", "ok", "global"),
    ] {
        let report = doctor(&world, &[&device[..], &["--host", host]].concat()).await;
        assert_found(&report, "host", result, &[words]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_are_not_pem_are_named() {
    let world = World::start().await;
    for (file, words) in [("device.pfx", "PKCS#12"), ("device.p7b", "PKCS#7")] {
        let certificate = fixture(file);
        let report = doctor(
            &world,
            &[
                "--offline",
                "--certificate",
                &certificate,
                "--private-key",
                &fixture("device-key.pem"),
            ],
        )
        .await;
        assert_found(&report, "certificate file", "problem", &[words]);
    }
    // These are readable, or the reader names what is wrong.
    for file in [
        "utf16.pem",
        "trusted.pem",
        "indented.pem",
        "bare.txt",
        "old-label.pem",
        "one-line.pem",
    ] {
        let certificate = fixture(file);
        let report = doctor(
            &world,
            &[
                "--offline",
                "--certificate",
                &certificate,
                "--private-key",
                &fixture("device-key.pem"),
            ],
        )
        .await;
        let finding = report
            .1
            .iter()
            .find(|finding| finding["check"] == "certificate file")
            .unwrap();
        let text = finding["finding"].as_str().unwrap();
        assert!(
            text.contains("certificates; the first is")
                || text.contains("UTF-16")
                || text.contains("TRUSTED"),
            "{file}: {text}"
        );
    }
    let glued = fixture("glued-chain.pem");
    let report = doctor(
        &world,
        &[
            "--offline",
            "--certificate",
            &glued,
            "--private-key",
            &fixture("glued-key.pem"),
        ],
    )
    .await;
    let finding = report
        .1
        .iter()
        .find(|finding| finding["check"] == "certificate file")
        .unwrap();
    assert!(
        finding["finding"]
            .as_str()
            .unwrap()
            .contains("2 certificates"),
        "{finding}"
    );
    let v1 = fixture("v1.pem");
    let report = doctor(
        &world,
        &[
            "--offline",
            "--certificate",
            &v1,
            "--private-key",
            &fixture("v1-key.pem"),
        ],
    )
    .await;
    assert_found(&report, "certificate version", "problem", &["version 1"]);
    let missing = doctor(
        &world,
        &[
            "--offline",
            "--certificate",
            "nowhere.pem",
            "--private-key",
            "nowhere.key",
        ],
    )
    .await;
    assert_found(&missing, "certificate file", "problem", &["nowhere.pem"]);
}

/// The certificate of a device below two intermediate CAs, with its files.
fn chain(world: &World) -> (CertificateAuthority, Vec<String>, DeviceCredentials) {
    let root = CertificateAuthority::new("Contoso Root").unwrap();
    let factory = root
        .intermediate("Contoso Factory")
        .unwrap()
        .intermediate("Contoso Line")
        .unwrap();
    let device = factory.issue("toaster-1").unwrap();
    let blocks: Vec<String> = device
        .certificate_chain_pem()
        .split_inclusive("-----END CERTIFICATE-----\n")
        .map(str::to_owned)
        .collect();
    world.file("key.pem", device.private_key_pem());
    (root, blocks, device)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_and_the_completeness_of_a_chain_are_named() {
    let world = World::start().await;
    let (root, blocks, _) = chain(&world);
    let report = async |content: String| {
        world.file("chain.pem", content);
        doctor(
            &world,
            &[
                "--offline",
                "--certificate",
                "chain.pem",
                "--private-key",
                "key.pem",
            ],
        )
        .await
    };
    let complete = [&blocks.concat(), root.certificate_pem()].concat();
    assert_found(
        &report(complete).await,
        "certificate chain",
        "ok",
        &["complete", "Contoso Root"],
    );
    assert_found(
        &report(blocks.concat()).await,
        "certificate chain",
        "warning",
        &["Contoso Root"],
    );
    let alone = report(blocks[0].clone()).await;
    assert_found(
        &alone,
        "certificate chain",
        "warning",
        &["Contoso Line", "intermediate"],
    );
    let gap = report([&*blocks[0], &blocks[2]].concat()).await;
    assert_found(
        &gap,
        "certificate chain",
        "problem",
        &["add the certificate of the issuer"],
    );
    let disordered = report([&*blocks[0], &blocks[2], &blocks[1]].concat()).await;
    assert_found(
        &disordered,
        "certificate chain",
        "problem",
        &["order the file"],
    );
    let reversed = report([&*blocks[2], &blocks[1], &blocks[0]].concat()).await;
    assert_found(
        &reversed,
        "certificate use",
        "warning",
        &["reverse the order"],
    );

    // An issuer of the same name with another key.
    let other = CertificateAuthority::new("Contoso Root").unwrap();
    let forged = other
        .intermediate("Contoso Factory")
        .unwrap()
        .intermediate("Contoso Line")
        .unwrap();
    let report = report([&*blocks[0], forged.certificate_pem()].concat()).await;
    assert_found(
        &report,
        "certificate chain",
        "problem",
        &["not signed by the next one"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_chain_of_a_key_in_a_tpm_is_checked_without_the_tpm() {
    let world = World::start().await;
    let (_, blocks, _) = chain(&world);
    let report = async |content: String| {
        world.file("chain.pem", content);
        let key = ["--certificate", "chain.pem", "--tpm-key", "0x81000101"];
        doctor(&world, &[&["--offline"][..], &key].concat()).await
    };
    let complete = report(blocks.concat()).await;
    assert_found(&complete, "certificate validity", "ok", &["until"]);
    assert_found(&complete, "private key", "ok", &["in hardware"]);
    let gap = report([&*blocks[0], &blocks[2]].concat()).await;
    let words = ["add the certificate of the issuer"];
    assert_found(&gap, "certificate chain", "problem", &words);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_does_not_fit_is_named() {
    let world = World::start().await;
    let root = CertificateAuthority::new("Contoso Root").unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    let files = |device: &DeviceCredentials| {
        world.file("chain.pem", device.certificate_chain_pem());
        world.file("key.pem", device.private_key_pem());
    };
    let options = [
        "--offline",
        "--certificate",
        "chain.pem",
        "--private-key",
        "key.pem",
    ];

    files(
        &root
            .issue_with_validity("toaster-1", now - 2 * day..now - day)
            .unwrap(),
    );
    assert_found(
        &doctor(&world, &options).await,
        "certificate validity",
        "problem",
        &["expired"],
    );
    files(
        &root
            .issue_with_validity("toaster-1", now + day..now + 2 * day)
            .unwrap(),
    );
    assert_found(
        &doctor(&world, &options).await,
        "certificate validity",
        "problem",
        &["not valid before", "clock"],
    );
    files(
        &root
            .issue_with_validity("toaster-1", now - day..now + day)
            .unwrap(),
    );
    assert_found(
        &doctor(&world, &options).await,
        "certificate validity",
        "warning",
        &["renew"],
    );

    files(&root.issue("toaster-1").unwrap());
    let other_id = doctor(
        &world,
        &[&options[..], &["--registration-id", "toaster-2"]].concat(),
    )
    .await;
    assert_found(
        &other_id,
        "common name",
        "problem",
        &["toaster-1", "toaster-2", "must be equal"],
    );
    files(&root.issue("Toaster 1").unwrap());
    assert_found(
        &doctor(&world, &options).await,
        "common name",
        "problem",
        &["not a valid registration id"],
    );

    files(&root.issue("toaster-1").unwrap());
    world.file(
        "key.pem",
        root.issue("toaster-1").unwrap().private_key_pem(),
    );
    assert_found(
        &doctor(&world, &options).await,
        "private key",
        "problem",
        &["does not match"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_intermediate_certificate_that_is_missing_is_named_when_the_service_refuses_the_device()
{
    let world = World::start().await;
    let (root, blocks, _) = chain(&world);
    let root = world.file("root.pem", root.certificate_pem());
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
    world.file("chain.pem", &blocks[0]);
    let report = doctor(
        &world,
        &["--certificate", "chain.pem", "--private-key", "key.pem"],
    )
    .await;
    assert_found(&report, "registration", "problem", &["intermediate"]);
    assert_found(&report, "certificate chain", "warning", &["Contoso Line"]);
    world.file("chain.pem", blocks.concat());
    let report = doctor(
        &world,
        &["--certificate", "chain.pem", "--private-key", "key.pem"],
    )
    .await;
    assert_found(&report, "registration", "ok", &["accepted"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_that_is_not_trusted_and_a_name_that_does_not_fit_are_named() {
    let world = with_group().await;
    let other = CertificateAuthority::new("Fabrikam Inspection").unwrap();
    let roots = world.file("roots.pem", other.certificate_pem());
    let device = [
        "--registration-id",
        "kettle-1",
        "--group-key-file",
        "group.key",
    ];
    let report = doctor(&world, &[&device[..], &["--ca-file", &roots]].concat()).await;
    assert_found(&report, "TLS", "problem", &["not trusted", "--ca-file"]);
    assert_found(&report, "registration", "skipped", &[]);
    let report = doctor(&world, &[&device[..], &["--host", "127.0.0.2"]].concat()).await;
    let found = report
        .1
        .iter()
        .any(|finding| finding["check"] == "TLS" || finding["check"] == "connection");
    assert!(found && report.0 == 7, "{:#?}", report.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_and_ports_that_do_not_answer_are_named() {
    let world = with_group().await;
    let device = [
        "--registration-id",
        "kettle-1",
        "--group-key-file",
        "group.key",
    ];
    let report = doctor(&world, &[&device[..], &["--host", "dps.invalid"]].concat()).await;
    assert_found(&report, "name resolution", "problem", &["dps.invalid"]);
    let closed = closed_port().await.to_string();
    let report = doctor(
        &world,
        &[
            &device[..],
            &["--transport", "mqtt", "--mqtt-port", &closed],
        ]
        .concat(),
    )
    .await;
    assert_found(&report, "connection", "problem", &[&closed, "port 443"]);
    // A proxy that is not there, and one that requires a password.
    let proxy = format!("http://127.0.0.1:{closed}");
    let report = doctor(&world, &[&device[..], &["--proxy", &proxy]].concat()).await;
    assert_found(&report, "proxy", "problem", &["cannot be reached"]);
    let refusing = answer_always(
        b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n".to_vec(),
    )
    .await;
    let proxy = format!("http://127.0.0.1:{refusing}");
    let report = doctor(&world, &[&device[..], &["--proxy", &proxy]].concat()).await;
    assert_found(&report, "proxy", "problem", &["407", "user:password"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_server_on_the_port_is_named() {
    let world = with_group().await;
    let plain = answer_always(std::fs::read(fixture("block-page.http")).unwrap())
        .await
        .to_string();
    let device = [
        "--registration-id",
        "kettle-1",
        "--group-key-file",
        "group.key",
        "--https-port",
        &plain,
    ];
    let report = doctor(&world, &device).await;
    assert_found(&report, "TLS", "problem", &["handshake failed"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn throttling_an_outage_silence_and_a_disabled_enrollment_are_named() {
    let world = with_group().await;
    let device = [
        "--registration-id",
        "kettle-1",
        "--group-key-file",
        "group.key",
        "--register",
        "--transport",
        "mqtt",
    ];
    let retry_after = Duration::from_secs(3600);
    world
        .emulator
        .faults()
        .next(Fault::new(Step::Register, Effect::Throttle { retry_after }).times(20));
    let report = doctor(&world, &device).await;
    assert_found(&report, "registration", "problem", &["429"]);
    world.emulator.faults().clear();
    assert_eq!(
        world
            .run(&["enrollment-group", "disable", "kettles"])
            .await
            .code,
        0
    );
    let report = doctor(&world, &device).await;
    assert_found(&report, "registration", "problem", &["disabled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_fails_is_named() {
    let world = with_group().await;
    let url = format!("http://127.0.0.1:{}/api/allocate", closed_port().await);
    let update = [
        "enrollment-group",
        "update",
        "kettles",
        "--webhook-url",
        &url,
    ];
    let updated = world.run(&update).await;
    assert_eq!(updated.code, 0, "{updated:?}");
    let report = doctor(
        &world,
        &[
            "--registration-id",
            "kettle-1",
            "--group-key-file",
            "group.key",
            "--register",
        ],
    )
    .await;
    assert_found(&report, "registration", "problem", &["400207", "webhook"]);
    // The record keeps the reason: the next lookup names it as well.
    let report = doctor(
        &world,
        &[
            "--registration-id",
            "kettle-1",
            "--group-key-file",
            "group.key",
        ],
    )
    .await;
    assert_found(
        &report,
        "registration",
        "problem",
        &["the last registration failed"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_over_mqtt_is_named() {
    let world = World::start().await;
    let report = doctor(
        &world,
        &[
            "--registration-id",
            "boiler-1",
            "--tpm",
            "--transport",
            "mqtt",
        ],
    )
    .await;
    assert_found(
        &report,
        "transport",
        "problem",
        &["TPM attestation over MQTT"],
    );
}

/// Nothing listens on port 1 of this machine.
#[cfg(feature = "tpm")]
#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_cannot_be_reached_is_named() {
    let world = World::start().await;
    let tpm = [
        "--registration-id",
        "boiler-1",
        "--tpm",
        "swtpm:host=127.0.0.1,port=1",
    ];
    let report = doctor(&world, &tpm).await;
    assert_found(&report, "credentials", "problem", &["TPM"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fields_of_a_sas_token_are_checked() {
    let world = World::start().await;
    let key = world.file("key", "QUFB".repeat(21) + "QQ==");
    let options = [
        "--offline",
        "--id-scope",
        "0ne00000001",
        "--registration-id",
        "toaster-7",
        "--key-file",
        &key,
    ];
    let check = async |token: &str| {
        let file = world.file("token", token);
        doctor(
            &world,
            &[&options[..], &["--sas-token-file", &file]].concat(),
        )
        .await
    };
    let tokens = std::fs::read_to_string(fixture("tokens.tsv")).unwrap();
    for line in tokens.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let report = check(fields[2]).await;
        match fields[0] {
            "accept" => assert_found(&report, "SAS token", "ok", &["valid until 2045"]),
            _ => assert_found(&report, "SAS token", "problem", &["+"]),
        }
    }
    let good = tokens.lines().nth(1).unwrap().split('\t').nth(2).unwrap();
    let expired = good.replace("se=2398291200", "se=1000000000");
    assert_found(&check(&expired).await, "SAS token", "problem", &["expired"]);
    assert_found(
        &check(&expired).await,
        "SAS token",
        "problem",
        &["not signed with this key"],
    );
    let other = good.replace("toaster-7", "toaster-8");
    assert_found(
        &check(&other).await,
        "SAS token",
        "problem",
        &["toaster-8", "toaster-7"],
    );
    let hub = "SharedAccessSignature sr=hub.azure-devices.net%2Fdevices%2Ft&sig=58wC%2Fdsc%2Bzrc45FJQKGed3WAuIlC9mD2N4QQymBWS18%3D&se=2398291200";
    assert_found(&check(hub).await, "SAS token", "problem", &["IoT hub"]);
    assert_found(
        &check("HostName=contoso;SharedAccessKey=x").await,
        "SAS token",
        "problem",
        &["cannot be read"],
    );
}

/// A port on which nothing listens.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}

/// A server that answers every request with the same bytes.
async fn answer_always(answer: Vec<u8>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let _ = stream.write_all(&answer).await;
            });
        }
    });
    port
}
