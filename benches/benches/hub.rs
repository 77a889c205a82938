//! Messages a second and heap bytes of a connection at a hub, compared with rumqttc alone. Each client is a separate process;
//! the emulator is in this one.

use std::error::Error;
use std::process::Command;

use dps_benches::{Service, TransportKind};
use tokio::runtime::Runtime;

const RUNS: usize = 5;
const CONNECTIONS: usize = 50;
const MESSAGES: usize = 32_000;

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
    let service = runtime.block_on(Service::start())?;
    runtime.block_on(register(&service, connections))?;
    let ca = tempfile::NamedTempFile::new()?;
    std::fs::write(ca.path(), service.emulator().ca_pem())?;

    println!("{connections} connections, {messages} messages, the median of {runs} runs");
    println!(
        "{:14}{:>12}{:>18}{:>20}",
        "", "messages/s", "CPU us/message", "bytes/connection"
    );
    for client in ["dps-device", "rumqttc"] {
        let mut figures = [const { Vec::new() }; 3];
        for _ in 0..runs {
            let output = Command::new(env!("CARGO_BIN_EXE_hub_device"))
                .arg(client)
                .arg(service.port(TransportKind::Mqtt).to_string())
                .args(["contoso-hub", &service.group_key().to_base64()])
                .arg(ca.path())
                .args([connections.to_string(), messages.to_string()])
                .output()?;
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into());
            }
            let told = String::from_utf8(output.stdout)?;
            for (column, number) in figures.iter_mut().zip(told.split_whitespace()) {
                column.push(number.parse::<f64>()?);
            }
        }
        let [a_second, cpu, heap] = figures.map(|mut column| {
            column.sort_by(f64::total_cmp);
            column[column.len() / 2]
        });
        println!("{client:14}{a_second:>12.0}{cpu:>18.1}{heap:>20.0}");
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
