//! `--verbose`: what the crates log, on stderr. They never log a key, a token or a body that contains one.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Logs what the level selects: 1 shows each request, 2 also the connections, 3 also the packets.
pub(crate) fn start(verbose: u8) {
    let filter = match verbose {
        0 => return,
        1 => "dps_device=debug,dps_service=debug,dps_allocation=debug,dps_emulator=info",
        2 => "debug,hyper=info,rustls=info,reqwest=info",
        _ => "dps_device=trace,dps_service=trace,dps_mqtt=trace,dps_amqp=trace,debug",
    };
    subscribe(filter);
}

/// The emulator logs each refused device.
pub(crate) fn start_emulator() {
    subscribe("info");
}

/// The variable RUST_LOG comes first.
fn subscribe(filter: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter));
    let started = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .try_init();
    if started.is_err() {
        eprintln!("the log was already started: --verbose has no effect");
    }
}
