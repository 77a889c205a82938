//! A short form of the soak: few devices, a few seconds, with a restart of the hub and cut connections.

use std::process::Command;

fn soak(options: &[&str]) {
    let short = [
        "--devices",
        "20",
        "--seconds",
        "6",
        "--interval-ms",
        "100",
        "--token-seconds",
        "2",
        "--restarts",
        "1",
    ];
    let output = Command::new(env!("CARGO_BIN_EXE_soak"))
        .args(short)
        .args(options)
        .output()
        .expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}{errors}");
    assert!(errors.contains("the hub was restarted"), "{text}{errors}");
}

#[test]
fn no_accepted_message_is_lost_when_the_hub_restarts() {
    soak(&[]);
}

#[test]
fn no_accepted_message_is_lost_when_connections_are_cut() {
    soak(&["--cut", "--cut-kib", "24"]);
}
