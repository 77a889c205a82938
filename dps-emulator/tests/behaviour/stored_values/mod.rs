//! Every document that the API accepts and stores can be read, listed, written back and deleted: for any JSON that a client may send, and for
//! any id, in memory and on disk.

mod devices;
mod enrollments;
mod instances;
mod json_text;

use std::cell::Cell;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::common::{Answer, Dps, Wire};

/// The number of documents of each kind for each store.
const CASES: u32 = 24;

/// Runs a check with generated values, in an emulator with each store. The check returns true if the emulator has accepted a document: at
/// least one must be accepted.
fn for_each_store<S: Strategy>(values: S, check: impl AsyncFn(&Dps, S::Value) -> bool) {
    let runtime = Runtime::new().expect("a runtime");
    let dir = TempDir::new().expect("a directory");
    for on_disk in [false, true] {
        let dps = runtime.block_on(Dps::start_with(|builder| match on_disk {
            true => builder.data_dir(dir.path()),
            false => builder,
        }));
        let config = Config {
            cases: CASES,
            max_shrink_iters: 200,
            failure_persistence: None,
            ..Config::default()
        };
        let accepted = Cell::new(0);
        let outcome = TestRunner::new(config).run(&values, |value| {
            if runtime.block_on(check(&dps, value)) {
                accepted.set(accepted.get() + 1);
            }
            Ok(())
        });
        println!(
            "on disk: {on_disk}: {} of {CASES} were accepted",
            accepted.get()
        );
        if let Err(failure) = outcome {
            panic!("on disk: {on_disk}: {failure}");
        }
        assert!(
            accepted.get() > 0,
            "on disk: {on_disk}: nothing was accepted"
        );
        runtime.block_on(dps.emulator.shutdown());
    }
}

/// Sends a document as its text, which may be JSON that no library writes.
async fn put_text(request: reqwest::RequestBuilder, text: String) -> Answer {
    let request = request.header("Content-Type", "application/json");
    Answer::to(request.body(text)).await
}

/// Whether the request was accepted. A refusal must name the client's fault.
#[track_caller]
fn is_accepted(answer: &Answer) -> bool {
    assert!((200..500).contains(&answer.status), "{answer:?}");
    answer.status < 300
}

/// All items of a query, read in small pages.
async fn listed(wire: &Wire, path: &str) -> Vec<Value> {
    let mut all = Vec::new();
    let mut continuation: Option<String> = None;
    loop {
        let mut request = wire
            .service("POST", path)
            .header("x-ms-max-item-count", "2")
            .json(&json!({ "query": "SELECT *" }));
        if let Some(token) = &continuation {
            request = request.header("x-ms-continuation", token);
        }
        let answer = Answer::to(request).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let items = answer.json();
        all.extend(items.as_array().expect("a list").iter().cloned());
        continuation = answer.header("x-ms-continuation").map(str::to_owned);
        if continuation.is_none() {
            return all;
        }
    }
}
