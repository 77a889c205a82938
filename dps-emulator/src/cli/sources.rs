//! Reads the options from the command line, the environment and the configuration file, in this order of precedence.

use std::error::Error as StdError;
use std::ffi::OsString;

use clap::builder::{BoolishValueParser, ValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches};

use super::config_file::{ConfigFile, Documents};
use super::options::{FLAGS_ONLY, Options};
use super::{Command, Settings};

/// Reads what the program was asked to do. Ends the program after `--help` and for an option that is not valid, as clap does.
pub(crate) fn read(mut arguments: Vec<OsString>) -> Result<Command, Box<dyn StdError>> {
    let file = match given(&arguments) {
        Some((path, given)) => {
            let file = ConfigFile::read(&path)?;
            arguments.extend(file.arguments(&command(), |arg| is_set(&given, arg))?);
            Some(file)
        }
        None => None,
    };
    let matches = command().get_matches_from(arguments);
    let options = Options::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    if options.print_schema {
        return Ok(Command::PrintSchema);
    }
    if let Some(url) = options.health {
        return Ok(Command::CheckHealth(url));
    }
    let documents = file.map_or_else(Documents::default, |file| file.documents);
    Ok(Command::Run(Box::new(Settings { options, documents })))
}

/// The options with their variables.
pub(super) fn command() -> clap::Command {
    Options::command().mut_args(|arg| {
        let Some(name) = arg.get_long().map(str::to_owned) else {
            return arg;
        };
        if FLAGS_ONLY[1..].contains(&arg.get_id().as_str()) {
            return arg;
        }
        let variable = format!("DPS_EMULATOR_{}", name.to_uppercase().replace('-', "_"));
        let arg = arg.env(variable).hide_env_values(true);
        match arg.get_action() {
            ArgAction::SetTrue => arg.value_parser(ValueParser::from(BoolishValueParser::new())),
            ArgAction::Append => arg.value_delimiter(';'),
            _ => arg,
        }
    })
}

/// The configuration file that the command line or the environment names, and what else they set. Errors are reported later,
/// when the file's values are there as well.
fn given(arguments: &[OsString]) -> Option<(std::path::PathBuf, ArgMatches)> {
    let matches = command()
        .ignore_errors(true)
        .try_get_matches_from(arguments)
        .ok()?;
    let path = matches
        .get_one::<std::path::PathBuf>("config")?
        .to_path_buf();
    Some((path, matches))
}

fn is_set(given: &ArgMatches, arg: &Arg) -> bool {
    let source = given.value_source(arg.get_id().as_str());
    matches!(
        source,
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}
