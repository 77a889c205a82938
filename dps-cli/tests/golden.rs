//! The text of every help page, and the tables and JSON of sessions against the emulator.
//!
//! `TRYCMD=overwrite cargo test -p dps-cli --test golden` writes what the program prints now. Afterwards, replace what differs
//! from run to run by `[..]`, also the spaces of a column whose width differs.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::World;
use common::webhook;

#[test]
fn the_help_pages_are_as_documented() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .case("tests/help/*.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_an_operator_is_as_documented() {
    session("operate", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_a_device_is_as_documented() {
    session("device", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn import_and_export_are_as_documented() {
    session("fleet", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_their_registrations_are_as_documented() {
    session("group", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_as_documented() {
    session("certificate", &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn webhooks_and_policies_are_as_documented() {
    let good = r#"{"iotHubHostName":"hub-a.azure-devices.net","initialTwin":{"tags":{"year":2026}},"payload":{"a":1}}"#;
    let twice = r#""{\"iotHubHostName\":\"hub-a.azure-devices.net\"}""#;
    let urls = [
        ("good.url", webhook::answer_always(good).await),
        ("twice.url", webhook::answer_always(twice).await),
        ("closed.url", webhook::closed().await),
    ];
    session("webhook", &urls).await;
}

/// Runs the commands of a file of `tests/golden` with an emulator of their own. They run in a copy of the folder with the same
/// name and the extension `in`, to which `files` are added.
async fn session(name: &str, files: &[(&str, String)]) {
    let world = World::start().await;
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let (session, folder) = (format!("{name}.md"), format!("{name}.in"));
    let (copy, working) = (world.path(&session), PathBuf::from(world.path(&folder)));
    fs::copy(golden.join(&session), &copy).unwrap();
    fs::create_dir(&working).unwrap();
    for entry in fs::read_dir(golden.join(&folder)).into_iter().flatten() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), working.join(entry.file_name())).unwrap();
    }
    for (file, content) in files {
        fs::write(working.join(file), content).unwrap();
    }
    let (variables, case) = (world.variables(), copy.clone());
    let run = move || {
        let cases = trycmd::TestCases::new();
        for (name, value) in variables {
            cases.env(name, value);
        }
        cases.case(case);
    };
    let ran = tokio::task::spawn_blocking(run).await;
    if std::env::var_os("TRYCMD").is_some_and(|action| action == "overwrite") {
        fs::copy(copy, golden.join(session)).unwrap();
    }
    ran.expect("the output is as in the file");
}
