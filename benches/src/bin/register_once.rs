//! One registration as a whole process, and what it took: `CPU-microseconds peak-KiB allocations allocated-bytes` on stdout.
//!
//! usage: register_once MODE CARRIER PORT ID_SCOPE REGISTRATION_ID KEY CA_FILE
//!
//! `idle` starts the runtime and reads the CA file: what any such program takes. `given` trusts the CA in the file alone,
//! `system` the roots of the system as well.

use std::alloc::System;
use std::error::Error;

use dps_benches::{Carrier, cpu_time};
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
    let [mode, carrier, port, id_scope, registration_id, key, ca_file] = arguments else {
        return Err("usage: MODE CARRIER PORT ID_SCOPE REGISTRATION_ID KEY CA_FILE".into());
    };
    let given = Roots::from_pem_file(ca_file)?;
    let roots = match mode.as_str() {
        "given" => given,
        "system" => given.and(Roots::system()),
        _ => return Ok(()),
    };
    let key = SymmetricKey::from_base64(key)?;
    let who = SymmetricKeyAttestation::new(registration_id.parse()?, key);
    let carrier = Carrier::named(carrier).ok_or("no such carrier")?;
    let client = carrier.client(port.parse()?, id_scope.parse()?, who);
    client.with_roots(roots).register().await?;
    Ok(())
}

/// In KiB: the most memory that was resident at once, the program's own text included.
fn peak_memory() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.ok_or("the system does not tell the peak memory")?;
    Ok(peak.trim().trim_end_matches(" kB").trim().parse()?)
}
