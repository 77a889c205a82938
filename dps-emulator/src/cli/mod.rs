//! The command line, the environment and the configuration file of the program.

mod config_file;
mod health;
mod options;
mod ready;
mod schema;
mod signal;
mod sources;
mod start;
mod well_known;

use std::error::Error as StdError;

pub(crate) use health::check_health;
pub(crate) use ready::announce;
pub(crate) use schema::print_schema;
pub(crate) use signal::stop_signal;
pub(crate) use sources::read;
pub(crate) use start::builder;

use config_file::Documents;
use options::Options;

/// What the program was asked to do.
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

/// An error with its causes, in one line.
pub(crate) fn with_causes(error: &dyn StdError) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
