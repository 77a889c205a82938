//! The options of every command, and what they select.

use clap::{ArgAction, Args, ValueEnum};

use crate::failure::Result;
use crate::format::Format;
use crate::input::InputFile;
use crate::output::Output;
use crate::profile::Profile;

/// The options that every command accepts.
#[derive(Args)]
#[command(next_help_heading = "Common options")]
pub(crate) struct Common {
    /// Format of the output
    #[arg(
        short,
        long,
        global = true,
        value_enum,
        default_value = "table",
        value_name = "FORMAT"
    )]
    pub(crate) output: Format,
    /// Show each request on stderr, without secrets; repeat it for more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
    /// When to use colours
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "auto",
        value_name = "WHEN"
    )]
    pub(crate) color: Color,
    /// Profile of the profile file
    #[arg(long, global = true, env = "DPS_PROFILE", value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Profile file; ~/.config/dps/profiles.toml by default
    #[arg(long, global = true, env = "DPS_CONFIG", value_name = "FILE")]
    pub(crate) config: Option<InputFile>,
}

/// When messages have colours.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless the variable NO_COLOR is set
    Auto,
    Always,
    Never,
}

impl Color {
    pub(crate) fn select(self) {
        match self {
            Self::Auto => anstream::ColorChoice::Auto,
            Self::Always => anstream::ColorChoice::Always,
            Self::Never => anstream::ColorChoice::Never,
        }
        .write_global();
    }
}

/// What the common options select.
pub(crate) struct Context {
    pub(crate) output: Output,
    pub(crate) profile: Profile,
}

impl Context {
    pub(crate) fn new(common: &Common) -> Result<Self> {
        Ok(Self {
            output: Output::new(common.output),
            profile: Profile::load(common.config.as_ref(), common.profile.as_deref())?,
        })
    }
}
