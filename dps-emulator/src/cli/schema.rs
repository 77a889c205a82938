//! The JSON Schema of the configuration file, made from the options.

use std::any::TypeId;
use std::error::Error as StdError;
use std::io::Write;

use clap::builder::PossibleValue;
use clap::{Arg, ArgAction};
use serde_json::{Map, Value, json};

use super::config_file::LISTS;
use super::options::FLAGS_ONLY;
use super::sources::command;

/// Prints the schema on stdout.
pub(crate) fn print_schema() -> Result<(), Box<dyn StdError>> {
    let text = serde_json::to_string_pretty(&schema())?;
    writeln!(std::io::stdout(), "{text}")?;
    Ok(())
}

fn schema() -> Value {
    let mut properties = Map::new();
    properties.insert("$schema".to_owned(), json!({ "type": "string" }));
    let command = command();
    for arg in command.get_arguments() {
        if let Some(name) = arg.get_long()
            && !FLAGS_ONLY.contains(&arg.get_id().as_str())
        {
            properties.insert(name.to_owned(), property(arg));
        }
    }
    for (name, description) in LISTS {
        let items = json!({ "type": "object" });
        let list = json!({ "description": description, "type": "array", "items": items });
        properties.insert(name.to_owned(), list);
    }
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of dps-emulator",
        "type": "object",
        "additionalProperties": false,
        "properties": properties,
    })
}

fn property(arg: &Arg) -> Value {
    let mut property = Map::new();
    if let Some(help) = arg.get_help() {
        property.insert("description".to_owned(), help.to_string().into());
    }
    let one = value(arg);
    match arg.get_action() {
        ArgAction::Append => {
            let list = json!({ "type": "array", "items": one });
            property.insert("anyOf".to_owned(), json!([one, list]));
        }
        _ => property.extend(one),
    }
    if let [default] = arg.get_default_values()
        && arg.get_action().takes_values()
    {
        let text = default.to_string_lossy();
        let default = match text.parse::<u64>() {
            Ok(number) if is_number(arg) => number.into(),
            _ => Value::from(text.into_owned()),
        };
        property.insert("default".to_owned(), default);
    }
    property.into()
}

/// The schema of one value.
fn value(arg: &Arg) -> Map<String, Value> {
    let mut value = Map::new();
    let mut put = |name: &str, it: Value| drop(value.insert(name.to_owned(), it));
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        put("type", "boolean".into());
    } else if is_number(arg) {
        put("type", "integer".into());
        put("minimum", 0.into());
        if is::<u16>(arg) {
            put("maximum", u16::MAX.into());
        }
    } else {
        put("type", "string".into());
        let choices = arg.get_possible_values();
        if !choices.is_empty() {
            let choices = choices.iter().map(PossibleValue::get_name);
            put("enum", choices.collect());
        }
    }
    value
}

fn is_number(arg: &Arg) -> bool {
    is::<u16>(arg) || is::<u64>(arg) || is::<usize>(arg)
}

fn is<T: 'static>(arg: &Arg) -> bool {
    arg.get_value_parser().type_id() == TypeId::of::<T>()
}
