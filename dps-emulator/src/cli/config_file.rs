//! The configuration file: options by their names, and the documents that exist from the start.

use std::ffi::OsString;
use std::path::Path;

use crate::fault::Fault;
use clap::{Arg, ArgAction, Command};
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::options::{FLAGS_ONLY, conflict};

/// A configuration file.
pub(super) struct ConfigFile {
    name: String,
    options: Map<String, Value>,
    pub(super) documents: Documents,
}

/// The documents of a configuration file.
#[derive(Default)]
pub(super) struct Documents {
    pub(super) enrollments: Vec<IndividualEnrollment>,
    pub(super) enrollment_groups: Vec<EnrollmentGroup>,
    pub(super) faults: Vec<Fault>,
}

/// The lists of documents, with a description of each for the schema.
pub(super) const LISTS: [(&str, &str); 3] = [
    (
        "enrollments",
        "Individual enrollments, as documents of the service API, that are created unless they exist",
    ),
    (
        "enrollment-groups",
        "Enrollment groups, as documents of the service API, that are created unless they exist",
    ),
    (
        "faults",
        "Faults that are active from the start, as documents of the control endpoint",
    ),
];

impl ConfigFile {
    pub(super) fn read(path: &Path) -> Result<Self, String> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| format!("{name}: {error}"))?;
        let is_json = path
            .extension()
            .is_some_and(|it| it.eq_ignore_ascii_case("json"));
        Self::parse(name, &text, is_json)
    }

    /// Reads the text of a file, which is JSON or TOML.
    pub(super) fn parse(name: String, text: &str, is_json: bool) -> Result<Self, String> {
        let options: Result<Map<String, Value>, String> = match is_json {
            true => serde_json::from_str(text).map_err(|error| error.to_string()),
            false => toml::from_str(text).map_err(|error| error.to_string()),
        };
        let mut options = options.map_err(|error| format!("{name}: {error}"))?;
        // For editors.
        options.remove("$schema");
        let documents = Documents {
            enrollments: documents(&name, &mut options, LISTS[0].0)?,
            enrollment_groups: documents(&name, &mut options, LISTS[1].0)?,
            faults: documents(&name, &mut options, LISTS[2].0)?,
        };
        Ok(Self {
            name,
            options,
            documents,
        })
    }

    /// The options as arguments, without those that are set by a source with precedence or that conflict with one.
    pub(super) fn arguments(
        &self,
        command: &Command,
        is_set: impl Fn(&Arg) -> bool,
    ) -> Result<Vec<OsString>, String> {
        let mut arguments = Vec::new();
        for (name, value) in &self.options {
            let arg = self.option(command, name)?;
            let mut others = command.get_arguments().filter(|other| is_set(other));
            if is_set(arg) || others.any(|other| conflict(command, arg, other)) {
                continue;
            }
            let values = match value {
                Value::Array(values) => values.as_slice(),
                value => std::slice::from_ref(value),
            };
            for value in values {
                match (arg.get_action(), value) {
                    (ArgAction::SetTrue, Value::Bool(false)) => {}
                    (ArgAction::SetTrue, Value::Bool(true)) => {
                        arguments.push(format!("--{name}").into());
                    }
                    (ArgAction::SetTrue, _) => {
                        return Err(self.wrong(name, "true or false"));
                    }
                    (_, Value::String(text)) => arguments.push(format!("--{name}={text}").into()),
                    (_, Value::Number(number)) => {
                        arguments.push(format!("--{name}={number}").into());
                    }
                    _ => return Err(self.wrong(name, "a text, a number or a list of them")),
                }
            }
        }
        Ok(arguments)
    }

    fn option<'c>(&self, command: &'c Command, name: &str) -> Result<&'c Arg, String> {
        let is_option = |arg: &&Arg| !FLAGS_ONLY.contains(&arg.get_id().as_str());
        let named = |arg: &&Arg| arg.get_long() == Some(name);
        let mut options = command.get_arguments().filter(is_option);
        options.find(named).ok_or_else(|| {
            let names = command.get_arguments().filter(is_option);
            let names: Vec<&str> = names.filter_map(Arg::get_long).collect();
            format!(
                "{}: '{name}' is not a valid option: it must be one of {}, {}",
                self.name,
                LISTS.map(|(name, _)| name).join(", "),
                names.join(", ")
            )
        })
    }

    fn wrong(&self, name: &str, expected: &str) -> String {
        format!("{}: '{name}' must be {expected}", self.name)
    }
}

fn documents<D: DeserializeOwned>(
    file: &str,
    options: &mut Map<String, Value>,
    name: &str,
) -> Result<Vec<D>, String> {
    let list = match options.remove(name) {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) => list,
        Some(_) => return Err(format!("{file}: '{name}' must be a list of documents")),
    };
    let read = |(index, document)| {
        serde_json::from_value(document)
            .map_err(|error| format!("{file}: {name}[{index}] is not a valid document: {error}"))
    };
    list.into_iter().enumerate().map(read).collect()
}
