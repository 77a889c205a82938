//! The format of the output: for people or for programs.

use clap::ValueEnum;

/// The format of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Columns for people
    Table,
    /// One JSON document
    Json,
    /// One JSON document per line, as soon as it is known
    Ndjson,
}
