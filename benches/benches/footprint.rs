//! CPU time and peak memory of a process that registers once, against an emulator in this process.

use std::error::Error;
use std::process::Command;

use dps_benches::Service;
use tokio::runtime::Runtime;

const RUNS: usize = 20;
const MODES: [(&str, &str); 3] = [
    ("idle", "a runtime, no registration"),
    ("given", "one registration, one root given"),
    ("system", "one registration, the system's roots"),
];

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut filters = arguments
        .iter()
        .filter(|argument| !argument.starts_with('-'));
    if filters
        .next()
        .is_some_and(|name| !"footprint".contains(name.as_str()))
    {
        return Ok(());
    }
    // `cargo bench` says so; `cargo test` only wants to see it run.
    let runs = match arguments.iter().any(|argument| argument == "--bench") {
        true => RUNS,
        false => 1,
    };

    let runtime = Runtime::new()?;
    let service = runtime.block_on(Service::start())?;
    let ca = tempfile::NamedTempFile::new()?;
    std::fs::write(ca.path(), service.emulator().ca_pem())?;

    println!("footprint of a process, {runs} runs each");
    println!(
        "{:40}{:>12}{:>12}{:>12}",
        "", "CPU ms", "CPU ms", "peak MiB"
    );
    println!("{:40}{:>12}{:>12}{:>12}", "", "median", "most", "most");
    for (mode, caption) in MODES {
        let mut took = (0..runs)
            .map(|_| register_once(mode, &service, &ca))
            .collect::<Result<Vec<_>, _>>()?;
        took.sort_by(|a, b| a.cpu_ms.total_cmp(&b.cpu_ms));
        let peak = took.iter().map(|took| took.peak_mib).fold(0.0, f64::max);
        let (median, most) = (took[runs / 2].cpu_ms, took[runs - 1].cpu_ms);
        println!("{caption:40}{median:>12.2}{most:>12.2}{peak:>12.2}");
    }
    Ok(())
}

struct Took {
    cpu_ms: f64,
    peak_mib: f64,
}

fn register_once(
    mode: &str,
    service: &Service,
    ca: &tempfile::NamedTempFile,
) -> Result<Took, Box<dyn Error>> {
    let name = "footprint-1";
    let key = service.group_key().derive_device_key(&name.parse()?);
    let emulator = service.emulator();
    let output = Command::new(env!("CARGO_BIN_EXE_register_once"))
        .args([mode, &emulator.https_port().to_string()])
        .args([emulator.id_scope().as_str(), name, &key.to_base64()])
        .arg(ca.path())
        .output()?;
    let told = String::from_utf8(output.stdout)?;
    match told.split_whitespace().collect::<Vec<_>>()[..] {
        [cpu_microseconds, peak_kib] if output.status.success() => Ok(Took {
            cpu_ms: cpu_microseconds.parse::<f64>()? / 1000.0,
            peak_mib: peak_kib.parse::<f64>()? / 1024.0,
        }),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}
