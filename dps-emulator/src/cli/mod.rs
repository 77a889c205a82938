//! The command line, the environment and the configuration file of the program.

mod config_file;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod health;
mod options;
mod ready;
mod schema;
mod signal;
mod sources;
mod start;
mod store;
mod well_known;

use std::error::Error as StdError;
use std::ffi::OsString;
use std::process::ExitCode;

use config_file::Documents;
use options::Options;

/// The task of the program.
pub(crate) enum Command {
    Run(Box<Settings>),
    PrintSchema,
    /// Asks a running emulator at this URL for its health.
    CheckHealth(String),
}

/// The options from all sources, and the documents of the configuration file.
pub(crate) struct Settings {
    options: Options,
    documents: Documents,
}

/// Runs the program `dps-emulator` in this process, until SIGINT or SIGTERM. For programs that contain the emulator, with all
/// its options. The first argument is the name of the program.
///
/// It prints one line of JSON on stdout when it is ready. An option that is not valid, and `--help`, end the process. The caller
/// chooses the subscriber of [`tracing`].
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let done = match sources::read(arguments.into_iter().collect()) {
        Ok(Command::Run(settings)) => start(*settings).await,
        Ok(Command::PrintSchema) => schema::print_schema(),
        Ok(Command::CheckHealth(url)) => health::check_health(&url).await,
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dps-emulator: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn start(settings: Settings) -> Result<(), Box<dyn StdError>> {
    let stopped = signal::stop_signal()?;
    let mut builder = start::builder(&settings)?;
    if let Some(url) = &settings.options.store {
        builder = builder.store(store::open(url).await?);
    }
    let emulator = builder.start().await?;
    // The directory exists until the end.
    let _scratch = ready::announce(&emulator, &settings)?;
    stopped.await;
    tracing::info!("stopping");
    emulator.shutdown().await;
    Ok(())
}

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn StdError) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
