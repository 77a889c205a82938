//! Runs many devices at a hub for a long time, restarts the hub, and reports whether messages were lost and memory has grown.
//!
//! usage: `soak [--devices 2000] [--seconds 600] [--interval-ms 1000] [--token-seconds 60] [--restarts 2] [--cut]
//! [--cut-kib 96]`
//!
//! With `--cut`, a proxy cuts each connection after some bytes. Exit code 1 if a message that was accepted was lost.

use std::error::Error;
use std::process::ExitCode;

use dps_benches::soak::{Soak, host};

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(hosted) = host(&arguments).await {
        hosted?;
        return Ok(ExitCode::SUCCESS);
    }
    let report = Soak::parse(arguments)?.run().await?;
    println!("{report}");
    Ok(match report.is_complete() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}
