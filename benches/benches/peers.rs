//! Our programs and others in one run: a process that registers once, the emulator and the webhook under load.
//!
//! `scripts/bench peers` installs Microsoft's clients and runs it in a network namespace, because they use ports 443, 5671 and 8883.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

#[path = "http_clients.rs"]
mod http_clients;
#[path = "peers/process.rs"]
mod process;
#[path = "peers/requests.rs"]
mod requests;

use dps_benches::{Service, TransportKind};
use tokio::runtime::Runtime;

use process::{Client, Cost, Device};

/// The runs of a process. The median is printed.
const RUNS: usize = 9;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments.iter().filter(|it| !it.starts_with('-'));
    // Without the name, `scripts/bench` would run it where the ports and the clients are not available.
    let is_named = filters.next().is_some_and(|name| name == "peers");
    if !is_named || !arguments.iter().any(|it| it == "--bench") {
        return;
    }
    let runtime = Runtime::new().unwrap();
    registrations(&runtime);
    requests::measure(&runtime);
}

fn registrations(runtime: &Runtime) {
    let start =
        Service::start_with(|builder| builder.https_port(443).mqtt_port(8883).amqp_port(5671));
    let service = runtime.block_on(start).unwrap();
    let device = Device::new(&service);
    println!("one registration with a symmetric key as a process, the median of {RUNS} runs");
    println!(
        "{:18}{:36}{:>9}{:>10}{:>10}{:>9}",
        "", "", "CPU ms", "peak MiB", "wall ms", "CPU"
    );
    for transport in TransportKind::ALL {
        let ours = median(|| device.cost(Client::Ours, transport));
        print(transport, Client::Ours, ours, ours);
        for client in [Client::Python, Client::Node] {
            if client.supports(transport) {
                print(
                    transport,
                    client,
                    median(|| device.cost(client, transport)),
                    ours,
                );
            }
        }
    }
}

fn print(transport: TransportKind, client: Client, cost: Cost, ours: Cost) {
    println!(
        "{:18}{:36}{:>9.1}{:>10.1}{:>10.1}{:>9.1}",
        transport.name(),
        client.name(),
        cost.cpu_ms,
        cost.peak_mib,
        cost.wall_ms,
        cost.cpu_ms / ours.cpu_ms
    );
}

/// The median of each figure.
fn median(run: impl Fn() -> Cost) -> Cost {
    let runs: Vec<Cost> = (0..RUNS).map(|_| run()).collect();
    let middle = |figure: fn(&Cost) -> f64| {
        let mut figures: Vec<f64> = runs.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures[figures.len() / 2]
    };
    Cost {
        cpu_ms: middle(|it| it.cpu_ms),
        peak_mib: middle(|it| it.peak_mib),
        wall_ms: middle(|it| it.wall_ms),
    }
}
