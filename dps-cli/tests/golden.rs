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
async fn the_tables_and_the_json_are_as_documented() {
    let world = World::start().await;
    let variables = world.variables();
    let run = move || {
        let cases = trycmd::TestCases::new();
        for (name, value) in variables {
            cases.env(name, value);
        }
        cases.case("tests/golden/*.md");
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}
