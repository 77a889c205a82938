//! Reads the options from the command line, the environment and the configuration file, in this order of precedence.

use std::error::Error as StdError;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::{BoolishValueParser, Resettable, ValueParser};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, ArgMatches, CommandFactory, FromArgMatches, Id};

use super::config_file::{ConfigFile, Documents};
use super::options::{FLAGS_ONLY, Options, conflict};
use super::{Command, Settings};

/// Reads what the program was asked to do. Ends the program after `--help` and for an option that is not valid, as clap does.
pub(crate) fn read(mut arguments: Vec<OsString>) -> Result<Command, Box<dyn StdError>> {
    let given = given(&arguments);
    let path = given
        .as_ref()
        .and_then(|it| it.get_one::<PathBuf>("config"));
    let file = path.map(|path| ConfigFile::read(path)).transpose()?;
    if let (Some(file), Some(given)) = (&file, &given) {
        arguments.extend(file.arguments(&command(), |arg| is_set(given, arg))?);
    }
    let command = match &given {
        Some(given) => without_replaced(command(), given),
        None => command(),
    };
    let matches = command.get_matches_from(arguments);
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

/// The options without the variables that a flag replaces because the two conflict: `--ephemeral` replaces
/// `DPS_EMULATOR_DATA_DIR`.
fn without_replaced(command: clap::Command, given: &ArgMatches) -> clap::Command {
    let source = |arg: &Arg| given.value_source(arg.get_id().as_str());
    let flags = |arg: &&Arg| source(arg) == Some(ValueSource::CommandLine);
    let replaced: Vec<Id> = command
        .get_arguments()
        .filter(|arg| source(arg) == Some(ValueSource::EnvVariable))
        .filter(|arg| {
            let mut flags = command.get_arguments().filter(flags);
            flags.any(|flag| conflict(&command, arg, flag))
        })
        .map(|arg| arg.get_id().clone())
        .collect();
    command.mut_args(|arg| match replaced.contains(arg.get_id()) {
        true => arg.env(Resettable::Reset),
        false => arg,
    })
}

/// The options that the command line and the environment set. Errors are reported later, when the file's values are there as well.
fn given(arguments: &[OsString]) -> Option<ArgMatches> {
    let command = command().ignore_errors(true);
    command.try_get_matches_from(arguments).ok()
}

fn is_set(given: &ArgMatches, arg: &Arg) -> bool {
    let source = given.value_source(arg.get_id().as_str());
    matches!(
        source,
        Some(ValueSource::CommandLine | ValueSource::EnvVariable)
    )
}
