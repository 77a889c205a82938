//! Messages a second and bytes of a connection at a hub, compared with rumqttc alone and with Microsoft's Python client. Each client
//! is a separate process; the emulator is in this one.
//!
//! `DPS_BENCH_PYTHON` names a Python with the package azure-iot-device, such as `interop/python/.venv/bin/python`. Its client insists
//! on port 8883, which must be free. Its bytes are resident memory; those of the others are heap.

use std::alloc::System;
use std::error::Error;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use dps_benches::{Service, TransportKind};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::runtime::Runtime;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const RUNS: usize = 5;
const CONNECTIONS: usize = 50;
const MESSAGES: usize = 32_000;
/// The Python client is slower by orders of magnitude.
const PYTHON_MESSAGES: usize = 3_200;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    if filters
        .next()
        .is_some_and(|name| !"hub".contains(name.as_str()))
    {
        return Ok(());
    }
    // `cargo bench` passes `--bench`; `cargo test` does not, and then only checks that it runs.
    let (runs, connections, messages) = match arguments.iter().any(|argument| argument == "--bench")
    {
        true => (RUNS, CONNECTIONS, MESSAGES),
        false => (1, 2, 320),
    };
    let runtime = Runtime::new()?;
    let python = std::env::var("DPS_BENCH_PYTHON").ok();
    let port = if python.is_some() { 8883 } else { 0 };
    let service = runtime.block_on(Service::start_with_mqtt_port(port))?;
    runtime.block_on(register(&service, connections))?;
    let ca = tempfile::NamedTempFile::new()?;
    std::fs::write(ca.path(), service.emulator().ca_pem())?;

    println!("{connections} connections, {messages} messages, the median of {runs} runs");
    println!(
        "{:18}{:>12}{:>18}{:>20}{:>18}",
        "", "messages/s", "CPU us/message", "bytes/connection", "and at the hub"
    );
    let key = service.group_key().to_base64();
    let rust = |client: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_hub_device"));
        command
            .arg(client)
            .arg(service.port(TransportKind::Mqtt).to_string())
            .args(["contoso-hub", &key])
            .arg(ca.path())
            .args([connections.to_string(), messages.to_string()]);
        (client.to_owned(), command)
    };
    let python = python.map(|python| {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/python/hub_device.py");
        let mut command = Command::new(python);
        command
            .env("SSL_CERT_FILE", ca.path())
            .args([script, "contoso-hub", &key, &connections.to_string()])
            .arg(messages.min(PYTHON_MESSAGES).to_string());
        ("azure-iot-device".to_owned(), command)
    });
    let clients = [rust("dps-device"), rust("rumqttc")];
    for (client, mut command) in clients.into_iter().chain(python) {
        let mut figures = [const { Vec::new() }; 4];
        for _ in 0..runs {
            let before = heap();
            command.stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = command.spawn()?;
            let mut line = String::new();
            let output = child.stdout.take().ok_or("stdout is piped")?;
            BufReader::new(output).read_line(&mut line)?;
            // All connections are open until stdin of the client ends.
            let at_hub = (heap() - before) / connections as f64;
            drop(child.stdin.take());
            if !child.wait()?.success() {
                return Err(format!("{client} failed").into());
            }
            let numbers = line.split_whitespace().map(str::parse::<f64>);
            for (column, number) in figures.iter_mut().zip(numbers.chain([Ok(at_hub)])) {
                column.push(number?);
            }
        }
        let [a_second, cpu, bytes, at_hub] = figures.map(|mut column| {
            column.sort_by(f64::total_cmp);
            column[column.len() / 2]
        });
        println!("{client:18}{a_second:>12.0}{cpu:>18.1}{bytes:>20.0}{at_hub:>18.0}");
    }
    Ok(())
}

/// Registers the devices, so that they exist at the hub.
async fn register(service: &Service, devices: usize) -> Result<(), Box<dyn Error>> {
    for number in 0..devices {
        let who = service.with_key(&format!("bench-{number}"))?;
        service.client(TransportKind::Http, who).register().await?;
    }
    Ok(())
}

/// The bytes that this process, which has the hub, has allocated now.
fn heap() -> f64 {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}
