//! An emulator as a separate process, so that its memory can be measured. It prints its address on one line and shuts down when
//! its standard input is closed.
//!
//! usage: `emulator_host [DATA_DIR]`

use std::error::Error;
use std::io::Read;

use dps_emulator::Emulator;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = Emulator::builder();
    let builder = match std::env::args_os().nth(1) {
        Some(dir) => builder.data_dir(dir),
        None => builder,
    };
    let emulator = builder.start().await?;
    let ca = tempfile::NamedTempFile::new()?;
    std::fs::write(ca.path(), emulator.ca_pem())?;
    let connection = emulator.service_connection_string();
    println!("{} {}", connection.as_str(), ca.path().display());

    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    emulator.shutdown().await;
    Ok(())
}
