//! Certificates that were issued and cannot be stored: they are printed, and the user can store them.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use common::{Ran, World, webhook};
use serde_json::{Value, json};

const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
const DEVICE: [&str; 4] = [
    "--registration-id",
    "toaster-1",
    "--group-key-file",
    "group.key",
];
const TWO_FILES: [&str; 4] = [
    "--new-key",
    "issued.key",
    "--certificate-out",
    "certificates/issued.pem",
];

/// An emulator that issues certificates. The directory `certificates` disappears while it does, if there is a file `fails`.
async fn toasters() -> World {
    toasters_with(|world| {
        let (certificates, fails) = (world.path("certificates"), world.path("fails"));
        move || {
            if Path::new(&fails).exists() {
                let _ = fs::remove_dir_all(&certificates);
            }
        }
    })
    .await
}

/// An emulator that issues certificates, and does something before each of them.
async fn toasters_with<A: Fn() + Send + 'static>(action: impl FnOnce(&World) -> A) -> World {
    let authority = "contoso/factory-1/toasters=30".parse().unwrap();
    let world = World::start_with(|builder| builder.certificate_authority(authority)).await;
    fs::create_dir(world.path("certificates")).unwrap();
    let hub = r#"{"iotHubHostName":"127.0.0.1"}"#;
    let url = webhook::answer_after(hub, action(&world));
    let url = url.await;
    world.file("group.key", GROUP_KEY);
    let create = "enrollment-group create toasters --hub 127.0.0.1 --primary-key-file group.key --secondary-key-file group.key \
                  --certificate-authority contoso/factory-1/toasters --allocation-policy custom \
                  --webhook-api-version 2021-10-01 --webhook-url";
    let create: Vec<_> = create.split_whitespace().chain([url.as_str()]).collect();
    let created = world.run(&create).await;
    assert_eq!(created.code, 0, "{created:?}");
    world
}

/// Runs the command while the directory disappears, and makes it again.
async fn fails(world: &World, command: &[&str], options: &[&str]) -> Ran {
    world.file("fails", "");
    let ran = world.run(&[command, &DEVICE, options].concat()).await;
    fs::remove_file(world.path("fails")).unwrap();
    fs::create_dir(world.path("certificates")).unwrap();
    assert_eq!(ran.code, 1, "{ran:?}");
    let message = "the certificate was issued, but cannot be stored: ";
    assert!(ran.stderr.contains(message), "{ran:?}");
    assert!(!ran.stderr.contains("PRIVATE KEY"), "{ran:?}");
    ran
}

async fn subject(world: &World, file: &str) -> Value {
    let chain = world.json(&["certificate", "inspect", file]).await;
    assert_eq!(chain.as_array().unwrap().len(), 3);
    chain[0]["subject"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_printed_certificates_are_used_by_the_next_renewal() {
    for command in [&["register"][..], &["renew", "--now"]] {
        let world = toasters().await;
        let failed = fails(&world, command, &TWO_FILES).await;
        let hint = "hint: the private key is in issued.key.next: write the certificates below to certificates/issued.pem.next, and run \
                    `dps renew` with the same options, which puts them into use\n";
        let (_, certificates) = failed.stderr.split_once(hint).unwrap();
        world.file("certificates/issued.pem.next", certificates);
        let key = world.read("issued.key.next");

        let renew = [&["renew"], &DEVICE[..], &TWO_FILES].concat();
        let kept = world.json(&renew).await;
        assert_eq!(kept["renewed"], false, "{kept}");
        assert_eq!(world.read("issued.key"), key);
        assert_eq!(world.read("certificates/issued.pem"), certificates);
        assert_eq!(
            subject(&world, "certificates/issued.pem").await,
            "CN=toaster-1"
        );
        let connect = "--hub-host localhost --cache assignment.json --once";
        let connect: Vec<_> = connect.split_whitespace().collect();
        world
            .json(&[&["connect"], &DEVICE[..], &TWO_FILES, &connect].concat())
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_failure_in_json_has_the_certificates() {
    let world = toasters().await;
    let csr = ["certificate", "csr", "toaster-1"];
    assert_eq!(world.run(&csr).await.code, 0);
    let request = "--csr toaster-1.csr --certificate-out certificates/issued.pem -o json";
    let request: Vec<_> = request.split_whitespace().collect();
    world.file("fails", "");
    let failed = world
        .run(&[&["register"], &DEVICE[..], &request].concat())
        .await;
    assert_eq!(failed.stdout, "", "{failed:?}");
    let failure: Value = serde_json::from_str(&failed.stderr).unwrap();
    assert_eq!(failure["exitCode"], json!(failed.code));
    let hint = "write the certificates below to certificates/issued.pem";
    assert_eq!(failure["hint"], hint);
    world.file("printed.pem", failure["certificates"].as_str().unwrap());
    assert_eq!(subject(&world, "printed.pem").await, "CN=toaster-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_whose_key_is_lost_as_well_is_not_printed() {
    let world = toasters().await;
    let file = "certificates/issued.pem";
    let one_file = ["--new-key", file, "--certificate-out", file];
    let failed = fails(&world, &["renew", "--now"], &one_file).await;
    let hint = "the private key is not stored either";
    assert!(failed.stderr.contains(hint), "{failed:?}");
    assert!(!failed.stderr.contains("BEGIN"), "{failed:?}");
    let renewed = world
        .json(&[&["renew"], &DEVICE[..], &one_file].concat())
        .await;
    assert_eq!(renewed["renewed"], true, "{renewed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_is_refused_leaves_no_files() {
    let world = toasters().await;
    let disable = ["enrollment-group", "disable", "toasters"];
    assert_eq!(world.run(&disable).await.code, 0);
    let refused = world
        .run(&[&["renew"], &DEVICE[..], &TWO_FILES].concat())
        .await;
    assert_eq!(refused.code, 4, "{refused:?}");
    for file in ["issued.key", "issued.key.next"] {
        assert!(!Path::new(&world.path(file)).exists(), "{file}");
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_prints_a_certificate_that_it_could_not_store() {
    use std::process::Stdio;

    use tokio::io::{AsyncBufReadExt, BufReader};

    let world = toasters().await;
    world.file("fails", "");
    let watch = [&["renew", "--watch"], &DEVICE[..], &TWO_FILES].concat();
    let mut daemon = world.spawn(&watch, Stdio::null());
    let mut errors = BufReader::new(daemon.stderr.take().unwrap()).lines();
    let mut printed: Vec<String> = Vec::new();
    while let Some(line) = errors.next_line().await.unwrap() {
        if line.contains("the next attempt is in") {
            assert!(!printed.concat().contains("BEGIN"), "{printed:?}");
            printed.clear();
            common::terminate(&daemon);
        }
        printed.push(line);
    }
    assert_eq!(daemon.wait().await.unwrap().code(), Some(1), "{printed:?}");
    let first = printed.iter().position(|line| line.contains("BEGIN"));
    let (words, certificates) = printed.split_at(first.unwrap());
    assert!(words.concat().contains("dps was stopped"), "{words:?}");
    assert!(words.concat().contains("issued.key.next"), "{words:?}");
    world.file("printed.pem", certificates.join("\n") + "\n");
    assert_eq!(subject(&world, "printed.pem").await, "CN=toaster-1");
}

#[cfg(feature = "tpm")]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_tpm_is_used_with_the_printed_certificates() {
    let world = toasters().await;
    let swtpm = dps_hardware::Swtpm::start();
    let tcti = swtpm.tcti();
    let file = "certificates/issued.pem";
    let place = ["--new-key-tpm", &tcti, "--certificate-out", file];
    let failed = fails(&world, &["register"], &place).await;
    let hint = "the private key is tpm:0x81000111: write the certificates below to certificates/issued.pem\n";
    let (_, certificates) = failed.stderr.split_once(hint).unwrap();
    world.file(file, certificates);
    let kept = world
        .json(&[&["renew"], &DEVICE[..], &place].concat())
        .await;
    assert_eq!(kept["renewed"], false, "{kept}");
    assert_eq!(kept["certificate"]["key"], "tpm:0x81000111");
}

#[cfg(feature = "tpm")]
#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_ends_if_another_program_has_replaced_its_new_key() {
    use std::process::{Command, Stdio};
    use std::time::Duration;

    let swtpm = dps_hardware::Swtpm::start();
    let tcti = swtpm.tcti();
    let of_tpm = tcti.clone();
    let world = toasters_with(|_| {
        move || {
            let mut other = Command::new(assert_cmd::cargo::cargo_bin("dps"));
            let generate = ["key", "generate", "--overwrite", "--tpm", &of_tpm];
            other.args(generate).args(["--handle", "0x81000111"]);
            assert!(other.output().unwrap().status.success());
        }
    });
    let world = world.await;
    let file = "certificates/issued.pem";
    for more in [&[][..], &["--certificate-out", file]] {
        let place = [&["--new-key-tpm", tcti.as_str()], more].concat();
        let watch = [&["renew", "--watch", "--overwrite"], &DEVICE[..], &place].concat();
        let daemon = world.spawn(&watch, Stdio::null()).wait_with_output();
        let ended = tokio::time::timeout(Duration::from_secs(50), daemon).await;
        let ended = ended.expect("the daemon ends").unwrap();
        let stderr = String::from_utf8_lossy(&ended.stderr);
        assert_eq!(ended.status.code(), Some(5), "{stderr}");
        assert!(stderr.contains("has replaced the key"), "{stderr}");
        assert!(!stderr.contains("BEGIN"), "{stderr}");
        assert!(!Path::new(&world.path(file)).exists());
    }
}
