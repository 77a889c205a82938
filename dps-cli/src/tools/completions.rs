//! `dps completions`: completions for a shell.

use clap::{Args, Command};
use clap_complete::Shell;

/// For example: dps completions bash > /etc/bash_completion.d/dps
#[derive(Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the completions of this command line.
pub(crate) fn run(completions: &Completions, mut command: Command) {
    clap_complete::generate(
        completions.shell,
        &mut command,
        "dps",
        &mut std::io::stdout(),
    );
}
