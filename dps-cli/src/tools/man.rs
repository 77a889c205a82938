//! `dps man`: one man page for each command.

use std::fs;
use std::path::PathBuf;

use clap::{Args, Command};

use crate::failure::{Failure, Result};

/// For example: dps man ~/.local/share/man/man1
#[derive(Args)]
pub(crate) struct Man {
    /// Directory; it is created if it does not exist
    dir: PathBuf,
}

/// Writes the pages of this command line.
pub(crate) fn run(man: &Man, command: Command) -> Result {
    let about =
        |error| Failure::usage(format!("{} cannot be written", man.dir.display())).because(&error);
    fs::create_dir_all(&man.dir).map_err(about)?;
    clap_mangen::generate_to(command, &man.dir).map_err(about)
}
