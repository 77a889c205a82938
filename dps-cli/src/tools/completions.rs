//! `dps completions`: completions for a shell.

use clap::Args;
use clap_complete::Shell;

use crate::cli;

/// For example: dps completions bash > /etc/bash_completion.d/dps
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(completions: &Completions) {
    clap_complete::generate(
        completions.shell,
        &mut cli::command(),
        "dps",
        &mut std::io::stdout(),
    );
}
