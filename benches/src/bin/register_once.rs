//! Registers once as a separate process, and prints its cost: `CPU-microseconds peak-KiB allocations allocated-bytes`.
//!
//! usage: register_once MODE TRANSPORT PORT ID_SCOPE REGISTRATION_ID KEY CA_FILE
//!
//! `idle` only starts the runtime and reads the CA file. `given` trusts only the CA in the file; `system` also trusts the roots of
//! the operating system.

use std::alloc::System;
use std::error::Error;

use dps_benches::{TransportKind, cpu_time};
use dps_device::{Roots, SymmetricKey, SymmetricKeyAttestation};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&arguments))?;
    let (cpu, heap) = (cpu_time().as_micros(), ALLOCATOR.stats());
    let allocations = heap.allocations + heap.reallocations;
    let (peak, bytes) = (peak_memory()?, heap.bytes_allocated);
    println!("{cpu} {peak} {allocations} {bytes}");
    Ok(())
}

async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [
        mode,
        transport,
        port,
        id_scope,
        registration_id,
        key,
        ca_file,
    ] = arguments
    else {
        return Err("usage: MODE TRANSPORT PORT ID_SCOPE REGISTRATION_ID KEY CA_FILE".into());
    };
    let given = Roots::from_pem_file(ca_file)?;
    let roots = match mode.as_str() {
        "given" => given,
        "system" => given.and(Roots::system()),
        _ => return Ok(()),
    };
    let key = SymmetricKey::from_base64(key)?;
    let who = SymmetricKeyAttestation::new(registration_id.parse()?, key);
    let transport = TransportKind::named(transport)
        .ok_or("expected http, mqtt, websocket, amqp or amqp-websocket")?;
    let client = transport.client(port.parse()?, id_scope.parse()?, who);
    client.with_roots(roots).register().await?;
    Ok(())
}

/// The peak resident memory in KiB, including the program's code.
fn peak_memory() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.ok_or("the operating system does not report the peak memory")?;
    Ok(peak.trim().trim_end_matches(" kB").trim().parse()?)
}
