//! One registration as a whole process, and what it took: `CPU-microseconds peak-KiB` on stdout.
//!
//! usage: register_once MODE PORT ID_SCOPE REGISTRATION_ID KEY CA_FILE
//!
//! `idle` starts the runtime and does nothing: what any such program takes. `given` trusts the CA in the file alone,
//! `system` the roots of the system as well.

use std::error::Error;
use std::time::Duration;

use dps_benches::cpu_time;
use dps_device::{Http, ProvisioningClient, Roots, SymmetricKey, SymmetricKeyAttestation};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(run(&arguments))?;
    println!("{} {}", cpu_time().as_micros(), peak_memory()?);
    Ok(())
}

async fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let [mode, port, id_scope, registration_id, key, ca_file] = arguments else {
        return Err("usage: MODE PORT ID_SCOPE REGISTRATION_ID KEY CA_FILE".into());
    };
    let given = Roots::from_pem_file(ca_file)?;
    let roots = match mode.as_str() {
        "given" => given,
        "system" => given.and(Roots::system()),
        _ => return Ok(()),
    };
    let key = SymmetricKey::from_base64(key)?;
    let who = SymmetricKeyAttestation::new(registration_id.parse()?, key);
    let transport = Http::default().with_port(port.parse()?);
    ProvisioningClient::new(id_scope.parse()?, who, transport)
        .with_host("localhost")
        .with_roots(roots)
        .with_min_poll_interval(Duration::ZERO)
        .register()
        .await?;
    Ok(())
}

/// In KiB: the most memory that was resident at once, the program's own text included.
fn peak_memory() -> Result<u64, Box<dyn Error>> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak = peak.ok_or("the system does not tell the peak memory")?;
    Ok(peak.trim().trim_end_matches(" kB").trim().parse()?)
}
