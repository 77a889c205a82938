//! The progress and the live view in a real terminal, and their absence elsewhere.
#![cfg(target_os = "linux")]

mod common;

use assert_cmd::Command;
use common::{Ran, World};

/// Runs a command line in a pseudo-terminal: `script` of util-linux, which every Linux distribution has.
async fn in_terminal(world: &World, line: &str) -> Ran {
    let mut command = Command::new("script");
    command
        .args(["-qec", line, "/dev/null"])
        .current_dir(&world.dir)
        .envs(world.variables());
    command.env("TERM", "xterm-256color").env("COLUMNS", "100");
    Ran::of(command).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_import_shows_its_progress_on_a_terminal_only() {
    let world = World::start().await;
    let lines: String = (0..3000).map(|n| format!("t-{n}\n")).collect();
    let fleet = world.file("fleet.csv", format!("registrationId\n{lines}"));
    let dps = env!("CARGO_BIN_EXE_dps");
    let shown = in_terminal(&world, &format!("{dps} enrollment import {fleet}")).await;
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.stdout.contains("enrollments, ") && shown.stdout.contains("/s"),
        "{}",
        shown.stdout
    );
    assert!(shown.stdout.contains("3000"), "{}", shown.stdout);
    let piped = world
        .run(&["enrollment", "import", &fleet, "--mode", "delete"])
        .await;
    assert_eq!(piped.code, 0, "{piped:?}");
    assert!(
        !piped.stderr.contains('\u{1b}') && !piped.stderr.contains("enrollments, "),
        "{}",
        piped.stderr
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_simulation_shows_the_state_of_its_fleet() {
    let world = World::start().await;
    let key = world.file(
        "group.key",
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==",
    );
    let create = [
        "enrollment-group",
        "create",
        "keys",
        "--primary-key-file",
        &key,
        "--secondary-key-file",
        &key,
    ];
    assert_eq!(world.run(&create).await.code, 0);
    let dps = env!("CARGO_BIN_EXE_dps");
    let shown = in_terminal(
        &world,
        &format!("{dps} simulate --devices 30 --rate 600 --group-key-file {key}"),
    )
    .await;
    assert_eq!(shown.code, 0, "{shown:?}");
    for words in [
        "assigned, ",
        "active, ",
        "/min, median",
        "/30",
        "Simulation of a fleet",
    ] {
        assert!(shown.stdout.contains(words), "{words}: {}", shown.stdout);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_have_colours_on_a_terminal_only() {
    let world = World::start().await;
    let dps = env!("CARGO_BIN_EXE_dps");
    let shown = in_terminal(&world, &format!("{dps} enrollment show toaster-9")).await;
    assert!(shown.stdout.contains("\u{1b}[1;31merror:"), "{shown:?}");
    let plain = in_terminal(
        &world,
        &format!("{dps} enrollment show toaster-9 --color never"),
    )
    .await;
    assert!(!plain.stdout.contains('\u{1b}'), "{plain:?}");
    let piped = world.run(&["enrollment", "show", "toaster-9"]).await;
    assert!(piped.stderr.starts_with("error: "), "{piped:?}");
}
