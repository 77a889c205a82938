//! The program `dps-emulator`: options in, one line when it is ready, logs on stderr, an orderly stop.

mod cli;

use std::error::Error as StdError;
use std::io::IsTerminal;
use std::process::ExitCode;

use tracing_subscriber::EnvFilter;

use cli::{Command, Settings};

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let done = match cli::read() {
        Ok(Command::Run(settings)) => run(*settings).await,
        Ok(Command::PrintSchema) => cli::print_schema(),
        Ok(Command::CheckHealth(url)) => cli::check_health(&url).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dps-emulator: {}", cli::with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(settings: Settings) -> Result<(), Box<dyn StdError>> {
    let stopped = cli::stop_signal()?;
    let emulator = cli::builder(&settings)?.start().await?;
    // The directory exists until the end.
    let _scratch = cli::announce(&emulator, &settings)?;
    stopped.await;
    tracing::info!("stopping");
    emulator.shutdown().await;
    Ok(())
}
