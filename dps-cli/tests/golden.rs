//! The text of every help page, and the tables and JSON of a session against the emulator.
//!
//! `TRYCMD=overwrite cargo test -p dps-cli --test golden` writes what the program prints now.

mod common;

use common::World;

#[test]
fn the_help_pages_are_as_documented() {
    trycmd::TestCases::new()
        .env("COLUMNS", "100")
        .case("tests/help/*.md");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_an_operator_is_as_documented() {
    session("tests/golden/operate.md").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_session_of_a_device_is_as_documented() {
    session("tests/golden/device.md").await;
}

/// Runs the commands of a file with an emulator of their own.
async fn session(file: &'static str) {
    let world = World::start().await;
    let variables = world.variables();
    let run = move || {
        let cases = trycmd::TestCases::new();
        for (name, value) in variables {
            cases.env(name, value);
        }
        cases.case(file);
    };
    let ran = tokio::task::spawn_blocking(run).await;
    ran.expect("the output is as in the file");
}
