//! CPU time, peak memory and heap allocations of a process that registers once, over each transport, against an emulator
//! in this process.

use std::error::Error;
use std::process::Command;

use dps_benches::{Service, TransportKind};
use tokio::runtime::Runtime;

const RUNS: usize = 20;

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
    // `cargo bench` passes `--bench`; `cargo test` does not, and then only checks that it runs.
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
        "{:44}{:>9}{:>9}{:>10}{:>13}{:>11}",
        "", "CPU ms", "CPU ms", "peak MiB", "allocations", "KiB asked"
    );
    println!(
        "{:44}{:>9}{:>9}{:>10}{:>13}{:>11}",
        "", "median", "most", "most", "median", "median"
    );
    let measure = |caption: &str, mode, transport| {
        let took = (0..runs).map(|_| register_once(mode, transport, &service, &ca));
        let took = took.collect::<Result<Vec<_>, _>>()?;
        let cpu = Sorted::new(took.iter().map(|took| took.cpu_ms));
        let peak = Sorted::new(took.iter().map(|took| took.peak_mib));
        let allocations = Sorted::new(took.iter().map(|took| took.allocations));
        let asked = Sorted::new(took.iter().map(|took| took.asked_kib));
        println!(
            "{caption:44}{:>9.2}{:>9.2}{:>10.2}{:>13.0}{:>11.0}",
            cpu.median(),
            cpu.most(),
            peak.most(),
            allocations.median(),
            asked.median(),
        );
        Ok::<_, Box<dyn Error>>(())
    };
    measure("a runtime, no registration", "idle", TransportKind::Http)?;
    for transport in TransportKind::ALL {
        let name = transport.name();
        measure(&format!("{name}, one root given"), "given", transport)?;
        measure(&format!("{name}, the system's roots"), "system", transport)?;
    }
    Ok(())
}

struct Took {
    cpu_ms: f64,
    peak_mib: f64,
    allocations: f64,
    asked_kib: f64,
}

struct Sorted(Vec<f64>);

impl Sorted {
    fn new(numbers: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.collect();
        sorted.sort_by(f64::total_cmp);
        Self(sorted)
    }

    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }

    fn most(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

fn register_once(
    mode: &str,
    transport: TransportKind,
    service: &Service,
    ca: &tempfile::NamedTempFile,
) -> Result<Took, Box<dyn Error>> {
    let name = "footprint-1";
    let key = service.group_key().derive_device_key(&name.parse()?);
    let id_scope = service.emulator().id_scope();
    let output = Command::new(env!("CARGO_BIN_EXE_register_once"))
        .args([mode, transport.name(), &service.port(transport).to_string()])
        .args([id_scope.as_str(), name, &key.to_base64()])
        .arg(ca.path())
        .output()?;
    let told = String::from_utf8(output.stdout)?;
    let numbers = told.split_whitespace().map(str::parse);
    match numbers.collect::<Result<Vec<f64>, _>>()?[..] {
        [cpu_us, peak_kib, allocations, bytes] if output.status.success() => Ok(Took {
            cpu_ms: cpu_us / 1000.0,
            peak_mib: peak_kib / 1024.0,
            allocations,
            asked_kib: bytes / 1024.0,
        }),
        _ => Err(String::from_utf8_lossy(&output.stderr).into()),
    }
}
