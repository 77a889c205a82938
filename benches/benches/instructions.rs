//! Instructions of single operations, counted by callgrind and compared with `benches/budgets.toml`.
//!
//! usage: `scripts/budgets [--bless] [FILTER]`, which starts PostgreSQL and passes its URL in `DPS_BENCH_POSTGRES`
//!
//! A count that is more than 3 % above its budget is an error, with other tools than those of the budgets 15 % relative to a
//! reference. `--bless` writes the counts to the file. This program runs itself under valgrind with `--measure`; FILTER limits it to
//! the operations whose name contains the text, and to the references.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "instructions/budgets.rs"]
mod budgets;
#[path = "instructions/comparison.rs"]
mod comparison;
#[path = "instructions/documents.rs"]
mod documents;
#[path = "registration/handshake.rs"]
#[allow(dead_code, reason = "only the handshake in memory is counted")]
mod handshake;
#[path = "registration/https.rs"]
mod https;
#[path = "instructions/meter.rs"]
mod meter;
#[path = "instructions/references.rs"]
mod references;
#[path = "instructions/registrations.rs"]
mod registrations;
#[path = "instructions/remote_tpm.rs"]
mod remote_tpm;
#[path = "instructions/server.rs"]
mod server;
#[path = "instructions/stores.rs"]
mod stores;
#[path = "instructions/tokens.rs"]
mod tokens;
#[path = "instructions/valgrind.rs"]
mod valgrind;
#[path = "instructions/webhook.rs"]
mod webhook;

use std::process::ExitCode;

use meter::Meter;
use remote_tpm::RemoteTpm;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|it| it == name);
    let filter = arguments.iter().find(|it| !it.starts_with('-'));
    let filter = filter.map_or("", String::as_str);
    // `cargo bench` passes `--bench`; `cargo test` does not, and then only checks that it runs.
    if has("--bench") {
        budgets::check(filter, has("--bless"))
    } else {
        let mut options = arguments.iter();
        let postgres = options.find_map(|it| it.strip_prefix(valgrind::POSTGRES));
        let meter = Meter::new(filter, has("--measure"));
        measure(&meter, postgres);
        ExitCode::SUCCESS
    }
}

/// First what depends on no random key, nonce or other thread: the state of the heap is then the same in each process, and a buffer
/// that grows moves as often.
fn measure(meter: &Meter, postgres: Option<&str>) {
    references::measure(meter);
    documents::measure(meter);
    tokens::measure(meter);
    stores::measure(meter, postgres);
    webhook::measure(meter);
    references::measure_tls(meter);
    registrations::measure(meter, &RemoteTpm::start());
}
