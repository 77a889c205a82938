//! The progress and the live view in a real terminal, and their absence elsewhere.
#![cfg(target_os = "linux")]

mod common;

use std::fs::File;
use std::io::Write;
use std::process::Command as Process;
use std::time::Duration;

use assert_cmd::Command;
use common::screen::Screen;
use common::{Ran, World};

const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";

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
    let key = with_group(&world).await;
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

/// The file is a pipe, so that the import waits in the middle for as long as the test looks at the screen.
#[tokio::test(flavor = "multi_thread")]
async fn the_progress_of_an_import_stays_on_one_line_and_disappears() {
    let world = World::start().await;
    let pipe = world.path("fleet.pipe");
    let made = Process::new("mkfifo").arg(&pipe).status();
    assert!(made.expect("mkfifo of coreutils").success());
    let dps = env!("CARGO_BIN_EXE_dps");
    let line = format!("{dps} enrollment import - --format csv <{pipe}");
    tokio::task::block_in_place(|| {
        let screen = Screen::start(&world, &line);
        let mut fleet = File::options().write(true).open(&pipe).expect("a reader");
        let rows = |numbers: std::ops::Range<u32>| -> String {
            numbers.map(|n| format!("t-{n}\n")).collect()
        };
        write!(fleet, "registrationId\n{}", rows(0..1500)).expect("read");
        let lines = screen.wait_for("1,500 enrollments, ");
        let bars = lines.iter().filter(|line| line.contains("enrollments, "));
        assert_eq!(bars.count(), 1, "{lines:#?}");
        write!(fleet, "{}", rows(1500..2000)).expect("read");
        drop(fleet);
        let lines = screen.wait_for("[exit 0]");
        assert_eq!(
            lines[..4],
            [
                "succeeded  2000",
                "failed     0",
                "dryRun     false",
                "[exit 0]"
            ],
            "{lines:#?}"
        );
    });
}

/// No assignment ends, so that the view stays until the interruption.
#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_simulation_leaves_its_report_on_the_screen() {
    let world =
        World::start_with(|builder| builder.assign_delay(Duration::from_secs(86_400))).await;
    let key = with_group(&world).await;
    let dps = env!("CARGO_BIN_EXE_dps");
    let line = format!("{dps} simulate --devices 5 --unlimited --group-key-file {key}");
    tokio::task::block_in_place(|| {
        let screen = Screen::start(&world, &line);
        let lines = screen.wait_for("0 assigned, 5 active, 0 failed, 0 throttled, 0/min");
        assert!(lines[0].contains(" 0/5 "), "{lines:#?}");
        assert!(lines[1].starts_with("0 assigned"), "{lines:#?}");
        screen.press("C-c");
        let lines = screen.wait_for("[exit 7]");
        assert!(
            lines.iter().any(|line| line == "Simulation of a fleet"),
            "{lines:#?}"
        );
        assert!(
            !lines.iter().any(|line| line.contains("5 active")),
            "{lines:#?}"
        );
        let unfinished = lines.iter().find(|line| line.starts_with("notFinished"));
        assert!(
            unfinished.is_some_and(|line| line.ends_with(" 5")),
            "{lines:#?}"
        );
    });
}

/// Creates an enrollment group with a symmetric key. Returns the file with the key.
async fn with_group(world: &World) -> String {
    let key = world.file("group.key", GROUP_KEY);
    let keys = ["--primary-key-file", &key, "--secondary-key-file", &key];
    let create = [&["enrollment-group", "create", "keys"][..], &keys].concat();
    assert_eq!(world.run(&create).await.code, 0);
    key
}
