//! Runs the commands of docs/key-provisioning.md, with SoftHSM and swtpm.
#![cfg(all(feature = "tpm", feature = "pkcs11"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::Path;

use assert_cmd::cargo::cargo_bin;
use common::{Ran, World};
use dps_hardware::{SoftHsm, Swtpm};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/key-provisioning.md");

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_token_is_provisioned_and_replaced_as_documented() {
    let module = SoftHsm::module();
    let commands = commands("A key in a PKCS#11 token")
        .replace("/usr/lib/softhsm/libsofthsm2.so", module.to_str().unwrap());
    let ran = run(&commands).await;
    let registered = ran.stdout.matches("assigned").count();
    assert!(registered >= 2, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_issued_certificates_are_in_a_token_as_documented() {
    let module = SoftHsm::module();
    let commands = commands("Keys of certificates that DPS issues, in a token")
        .replace("/usr/lib/softhsm/libsofthsm2.so", module.to_str().unwrap());
    let ran = run(&commands).await;
    let (_, list) = ran.stdout.rsplit_once("KEY").unwrap();
    assert!(list.contains("object=issued-2"), "{ran:?}");
    assert!(!list.contains("object=issued-1"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_keys_of_issued_certificates_are_in_a_tpm_as_documented() {
    let ran = run_with_tpm("Keys of certificates that DPS issues, in a TPM").await;
    let (_, list) = ran.stdout.rsplit_once("KEY").unwrap();
    assert!(list.contains("tpm:0x81000112"), "{ran:?}");
    assert!(!list.contains("tpm:0x81000111"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_tpm_is_provisioned_as_documented() {
    let ran = run_with_tpm("A key in a TPM").await;
    assert!(ran.stdout.contains("assigned"), "{ran:?}");
    assert!(ran.stdout.contains("tpm:0x81000101"), "{ran:?}");
}

/// Runs the commands of a section that starts swtpm.
async fn run_with_tpm(title: &str) -> Ran {
    // The ports of this one are free again when the commands start theirs.
    let mut swtpm = Swtpm::start();
    swtpm.stop();
    let (port, control) = (swtpm.port().to_string(), (swtpm.port() + 1).to_string());
    let commands = commands(title)
        .replace("2322", &control)
        .replace("2321", &port);
    run(&format!(
        "trap 'kill \"$(cat swtpm.pid)\"' EXIT\n{commands}"
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_file_is_provisioned_as_documented() {
    let ran = run(&commands("A key in a file")).await;
    assert!(ran.stdout.contains("assigned"), "{ran:?}");
}

/// The `sh` blocks of the section with this title.
fn commands(title: &str) -> String {
    let text = fs::read_to_string(DOCUMENT).unwrap();
    let (_, section) = text.split_once(&format!("\n## {title}\n")).unwrap();
    let section = section.split("\n## ").next().unwrap();
    let blocks = section.split("```sh\n").skip(1);
    let blocks: Vec<_> = blocks
        .filter_map(|block| block.split("```").next())
        .collect();
    assert!(!blocks.is_empty(), "{title}");
    blocks.concat()
}

/// Runs the commands in one shell. It ends at the first command that fails.
async fn run(commands: &str) -> Ran {
    let authority = "contoso/factory-1/toasters=30".parse().unwrap();
    let world = World::start_with(|builder| builder.certificate_authority(authority)).await;
    let programs = cargo_bin("dps").parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap();
    let mut command = assert_cmd::Command::new("sh");
    command
        .args(["-eu", "-c", commands])
        .current_dir(Path::new(&world.path("")))
        .envs(world.variables())
        .env("PATH", format!("{programs}:{path}"));
    let ran = Ran::of(command).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran
}
