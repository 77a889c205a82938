//! Registers devices at several emulators on one PostgreSQL database behind HAProxy, while emulators are killed and PostgreSQL is
//! restarted, and checks that nothing that was acknowledged is lost.
//!
//! usage: `replicas [--devices 10000] [--replicas 3] [--concurrency 64] [--kill-seconds 5] [--database-restarts 1]`
//!
//! It requires the Debian packages `postgresql` and `haproxy`. Exit code 1 if a device was not assigned, if a write was
//! lost, or if the run was too short for a kill and the restarts.

use std::error::Error;
use std::process::ExitCode;

use dps_benches::replicas::{Replicas, host};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(hosted) = host(&arguments).await {
        hosted?;
        return Ok(ExitCode::SUCCESS);
    }
    let run = Replicas::parse(arguments)?;
    let report = run.run().await?;
    println!("{report}");
    Ok(match report.is_complete(&run) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
