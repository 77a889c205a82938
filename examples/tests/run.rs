//! Runs each example and checks its output. `cargo test -p dps-examples` builds them first.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[cfg(unix)]
mod database;

use std::env::consts::EXE_SUFFIX;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

#[test]
fn quickstart_assigns_each_device_to_a_hub() {
    let output = run("quickstart");
    assert_eq!(lines_with(&output, "symmetric key"), 4, "{output}");
    assert_eq!(lines_with(&output, "X.509"), 3, "{output}");
    assert_eq!(lines_with(&output, r#"{"welcome":"toaster"}"#), 4, "{output}");
    assert_eq!(lines_with(&output, r#"{"welcome":"heatpump"}"#), 3, "{output}");
    assert_eq!(lines_with(&output, "now at no hub"), 6, "{output}");
    assert_eq!(lines_with(&output, "now at contoso-toaster-hub"), 1, "{output}");
    for (model, count) in [("toaster", 4), ("heatpump", 3)] {
        let twin = format!(r#"{{"desired":{{"mode":"eco"}},"reported":{{"model":"{model}"}}}}"#);
        assert_eq!(lines_with(&output, &twin), count, "{output}");
    }
}

#[test]
fn quickstart_is_one_page() {
    let source = std::fs::read_to_string(folder().join("quickstart.rs")).unwrap();
    assert!(source.lines().count() < 80);
}

#[test]
fn register_symmetric_key_falls_back_to_the_secondary() {
    let output = run("register_symmetric_key");
    let (before, after) = output.split_once("after the primary key was replaced:").expect(&output);
    for (story, fallbacks) in [(before, 0), (after, 1)] {
        assert_eq!(lines_with(story, "falling back to the secondary key"), fallbacks, "{output}");
        assert_eq!(lines_with(story, "assigning; next poll in"), 1, "{output}");
        assert_eq!(lines_with(story, "toaster-1 is assigned to contoso-toasters"), 1, "{output}");
    }
}

#[test]
fn issued_certificate_is_renewed_and_replaced() {
    let output = run("issued_certificate");
    let expected = [
        "the first certificate:",
        "  registering with the factory key",
        "  issued: 3 certificates, 30 days",
        "  the hub accepted it",
        "after 26 of 30 days:",
        "  renewing at the hub",
        "  issued: 3 certificates, 30 days",
        "  the hub accepted it",
        "after the operator revoked it:",
        "  registering with the factory key",
        "  issued: 3 certificates, 30 days",
        "  the hub accepted it",
        "reported: true",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn register_x509_registers_and_looks_up() {
    let output = run("register_x509");
    let expected = [
        "registered: heatpump-1 is assigned to contoso-heatpumps",
        "enrolled by: group heatpumps",
        "looked up: assigned to contoso-heatpumps",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[cfg(feature = "tpm")]
#[test]
fn register_tpm_registers_and_signs_towards_the_hub() {
    let swtpm = dps_hardware::Swtpm::start();
    let mut command = command("register_tpm");
    command.env("TPM2TOOLS_TCTI", swtpm.tcti());

    let output = run_command(command);
    let [name, registered, token] = output.lines().collect::<Vec<_>>()[..] else { panic!("{output}") };
    let id = name.strip_prefix("the registration id from the TPM is ").expect(&output);
    assert!(id.len() == 52 && id.chars().all(|c| matches!(c, 'a'..='z' | '2'..='7')), "{output}");
    assert_eq!(registered, "registered: boiler-1 is assigned to contoso-boilers");
    assert!(token.starts_with("a token for contoso-boilers/devices/boiler-1 is "), "{output}");
}

#[cfg(feature = "pkcs11")]
#[test]
fn register_pkcs11_registers_with_both_kinds_of_key() {
    use dps_hardware::SoftHsm;

    let hsm = SoftHsm::new().with_token("device");
    let uri = format!("pkcs11:token=device?module-path={}", SoftHsm::module().display());
    let mut command = hsm.command(example("register_pkcs11"));
    command.env("DPS_TOKEN", uri).env("DPS_PIN", SoftHsm::PIN);

    let expected = [
        "with a certificate: heatpump-1 is assigned to contoso-heatpumps",
        "with a symmetric key: heatpump-2 is assigned to contoso-heatpumps",
    ];
    assert_eq!(run_command(command).lines().collect::<Vec<_>>(), expected);
}

#[test]
fn enroll_fleet_reports_the_outcome_of_each_line() {
    let output = run("enroll_fleet");
    assert_eq!(lines_with(&output, " enrolled toaster-"), 11, "{output}");
    assert_eq!(lines_with(&output, "13/14 enrolled heatpump-02"), 1, "{output}");
    assert_eq!(
        lines_with(&output, "line 9: toaster-02: the service refused the item: Enrollment already exists."),
        1,
        "{output}"
    );
    assert_eq!(lines_with(&output, "done: 13 enrolled, 1 failed, 0 to run again"), 1, "{output}");
}

#[test]
fn rotate_keys_locks_out_no_device() {
    let output = run("rotate_keys");
    let expected = |device: &str| {
        [
            format!("introduced: {device} with the old key is assigned"),
            format!("introduced: {device} with the next key is assigned"),
            "retired: with the old key: Unauthorized".to_owned(),
            format!("retired: {device} with the next key is assigned"),
        ]
    };
    let expected = [expected("toaster-1"), expected("heatpump-1")].concat();
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn list_registrations_finds_all_records() {
    let output = run("list_registrations");
    assert_eq!(lines_with(&output, "the first page of the toasters has 2"), 1, "{output}");
    assert_eq!(lines_with(&output, "after it: toaster-"), 1, "{output}");
    assert_eq!(lines_with(&output, "in toasters    toaster-"), 3, "{output}");
    let alone = "individually   heatpump-1   assigned   contoso-heatpumps";
    assert_eq!(lines_with(&output, alone), 1, "{output}");
    assert_eq!(lines_with(&output, "heatpump-2"), 0, "{output}");
}

#[test]
fn device_lifecycle_moves_the_twin_and_resets_it() {
    let output = run("device_lifecycle");
    let expected = [
        "provisioned:",
        "  toaster-1 in contoso-east",
        r#"  desired {"darkness":"medium"}, reported {}"#,
        "after its report:",
        "  toaster-1 in contoso-east",
        r#"  desired {"darkness":"medium"}, reported {"firmware":"1.2.3"}"#,
        "after a restart, with DPS down:",
        "  toaster-1 in contoso-east",
        r#"  desired {"darkness":"medium"}, reported {"firmware":"1.2.3"}"#,
        "moved with its twin:",
        "  toaster-1 in contoso-west",
        r#"  desired {"darkness":"high","move":1}, reported {"firmware":"1.2.3"}"#,
        "  the device exists at the old hub: false",
        "moved with a new twin:",
        "  toaster-1 in contoso-east",
        r#"  desired {"darkness":"medium"}, reported {}"#,
        "  the device exists at the old hub: false",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn telemetry_sends_follows_the_twin_and_stops() {
    let output = run("telemetry");
    for expected in [
        "device: connected to contoso-toasters",
        "device: desired {}",
        r#"back end: received {"temperature":21}"#,
        r#"device: changed {"interval":10}"#,
        "back end: the device responded with 200",
        "device: closed, 0 messages were not sent",
    ] {
        assert_eq!(lines_with(&output, expected), 1, "{expected}: {output}");
    }
}

#[test]
fn telemetry_is_one_page() {
    let source = std::fs::read_to_string(folder().join("telemetry.rs")).unwrap();
    assert!(source.lines().count() < 100);
}

#[test]
fn gateway_sends_the_messages_of_all_devices() {
    let output = run("gateway");
    let expected = ["100 devices are registered", "0 messages were not sent", "the hub has received 1000 messages"];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn own_mqtt_client_sends_over_two_connections() {
    let output = run("own_mqtt_client");
    let expected = [
        "connection 1: the hub has acknowledged a message",
        "connection 2: the hub has acknowledged a message",
        "the hub has received 2 messages",
    ];
    assert_eq!(output.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn azure_functions_answers_with_the_hub_for_toasters() {
    let output = run("azure_functions");
    let answer = output.lines().find(|line| line.starts_with('{')).expect(&output);
    let answer: Value = serde_json::from_str(answer).unwrap();
    assert_eq!(answer["iotHubHostName"], "contoso-toasters.azure-devices.net");
}

/// Source: azure-docs `azure-functions/functions-custom-handlers.md`.
#[test]
fn azure_functions_is_set_up_as_documented() {
    let host = json("azure_functions/host.json");
    assert_eq!(host["version"], "2.0");
    assert_eq!(host["customHandler"]["description"]["defaultExecutablePath"], "handler");
    assert_eq!(host["customHandler"]["enableForwardingHttpRequest"], true);

    let function = json("azure_functions/allocate/function.json");
    let [trigger, answer] = function["bindings"].as_array().unwrap().as_slice() else {
        panic!("a trigger and an answer: {function}");
    };
    assert_eq!((&trigger["type"], &trigger["direction"]), (&"httpTrigger".into(), &"in".into()));
    assert_eq!(trigger["authLevel"], "function");
    assert_eq!(trigger["methods"], serde_json::json!(["post"]));
    assert_eq!((&answer["type"], &answer["direction"]), (&"http".into(), &"out".into()));
}

#[test]
fn check_webhook_finds_the_typing_mistake() {
    let output = run("check_webhook");
    assert_eq!(lines_with(&output, "The device is assigned to hub-a.azure-devices.net."), 1, "{output}");
    assert_eq!(lines_with(&output, "- DPS ignores initalTwin."), 1, "{output}");
    assert!(!output.contains("secret"), "{output}");
}

/// Runs the example, which must succeed, and returns its output.
fn run(name: &str) -> String {
    run_command(command(name))
}

fn run_command(mut command: Command) -> String {
    let output = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{:?}: {}\n{stdout}\n{stderr}", command.get_program(), output.status);
    stdout
}

fn command(name: &str) -> Command {
    let mut command = Command::new(example(name));
    for variable in ["DATABASE_URL", "DPS_ID_SCOPE", "FUNCTIONS_CUSTOMHANDLER_PORT"] {
        command.env_remove(variable);
    }
    command
}

/// The examples are built in a folder next to the one of this test.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.ancestors().nth(2).unwrap().join("examples").join(format!("{name}{EXE_SUFFIX}"));
    assert!(built.exists(), "{} is not built: cargo test -p dps-examples builds it", built.display());
    built
}

fn lines_with(text: &str, part: &str) -> usize {
    text.lines().filter(|line| line.contains(part)).count()
}

fn json(path: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder().join(path)).unwrap()).unwrap()
}

fn folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
