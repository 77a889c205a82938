//! `dps man`: one man page for each command.

use std::fs;
use std::path::PathBuf;

use clap::Args;

use crate::cli;
use crate::failure::{Failure, Result};

/// For example: dps man ~/.local/share/man/man1
#[derive(Args)]
pub(crate) struct Man {
    /// Directory; it is created if it does not exist
    dir: PathBuf,
}

pub(crate) fn run(man: &Man) -> Result {
    let about =
        |error| Failure::usage(format!("{} cannot be written", man.dir.display())).because(&error);
    fs::create_dir_all(&man.dir).map_err(about)?;
    clap_mangen::generate_to(cli::command(), &man.dir).map_err(about)
}
