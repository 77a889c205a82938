//! What a command prints on stdout: a table, JSON, or one JSON document per line.

mod events;

use std::io::{self, BufWriter, StdoutLock, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use serde_json::{Map, Value};

pub(crate) use events::Events;

use crate::failure::Result;
use crate::format::Format;

/// A column of a table: its title, and the JSON pointer of its value.
pub(crate) type Column = (&'static str, &'static str);

/// Prints results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(crate) fn format(self) -> Format {
        self.format
    }

    /// Prints one document: as a table, each field is a line.
    pub(crate) fn item(self, document: impl Serialize) -> Result {
        let document = serde_json::to_value(document)?;
        let mut out = io::stdout().lock();
        match self.format {
            Format::Table => {
                let mut table = table();
                for (name, value) in flatten(&document) {
                    table.add_row([name, value]);
                }
                print_table(&mut out, &table)?;
            }
            Format::Json => writeln!(out, "{document:#}")?,
            Format::Ndjson => writeln!(out, "{document}")?,
        }
        Ok(())
    }

    /// Starts a list. JSON is written while the list grows; a table needs all its rows first.
    pub(crate) fn list(self, columns: &'static [Column]) -> List {
        List {
            format: self.format,
            columns,
            table: table(),
            count: 0,
            out: BufWriter::new(io::stdout().lock()),
        }
    }

    /// Prints a sentence for people on stderr. Programs that read JSON do not need it.
    pub(crate) fn note(self, text: impl std::fmt::Display) {
        if self.format == Format::Table {
            eprintln!("{text}");
        }
    }
}

/// A list that is printed.
pub(crate) struct List {
    format: Format,
    columns: &'static [Column],
    table: Table,
    count: usize,
    out: BufWriter<StdoutLock<'static>>,
}

impl List {
    pub(crate) fn push(&mut self, document: impl Serialize) -> Result {
        let document = serde_json::to_value(document)?;
        match self.format {
            Format::Table => {
                let cell = |(_, pointer): &Column| {
                    document.pointer(pointer).map_or_else(String::new, text)
                };
                self.table.add_row(self.columns.iter().map(cell));
            }
            Format::Json => {
                let separator = if self.count == 0 { "[\n" } else { ",\n" };
                write!(self.out, "{separator}{document:#}")?;
            }
            Format::Ndjson => {
                writeln!(self.out, "{document}")?;
                self.out.flush()?;
            }
        }
        self.count += 1;
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result {
        match self.format {
            Format::Table => {
                self.table
                    .set_header(self.columns.iter().map(|(title, _)| *title));
                let table = std::mem::take(&mut self.table);
                print_table(&mut self.out, &table)?;
            }
            Format::Json if self.count == 0 => writeln!(self.out, "[]")?,
            Format::Json => writeln!(self.out, "\n]")?,
            Format::Ndjson => {}
        }
        self.out.flush()?;
        Ok(())
    }
}

/// Replaces the keys of a document, so that it can be printed.
pub(crate) fn mask_keys(document: &mut Value) {
    const SECRETS: [&str; 4] = [
        "primaryKey",
        "secondaryKey",
        "authenticationKey",
        "privateKey",
    ];
    match document {
        Value::Object(members) => {
            for (name, value) in members {
                if SECRETS.contains(&name.as_str()) && value.is_string() {
                    *value = Value::from("***");
                } else if name == "webhookUrl" {
                    if let Some(url) = value.as_str() {
                        *value = Value::from(dps_types::mask_url(url));
                    }
                } else {
                    mask_keys(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(mask_keys),
        _ => {}
    }
}

/// The leaves of a document with their paths, such as `attestation.type`. Nulls are left out.
fn flatten(document: &Value) -> Vec<(String, String)> {
    fn walk(path: &str, value: &Value, leaves: &mut Vec<(String, String)>) {
        let nested = |members: &Map<String, Value>, leaves: &mut Vec<(String, String)>| {
            for (name, value) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                walk(&path, value, leaves);
            }
        };
        match value {
            Value::Object(members) if !members.is_empty() => nested(members, leaves),
            Value::Null => {}
            leaf => leaves.push((path.to_owned(), text(leaf))),
        }
    }
    let mut leaves = Vec::new();
    walk("", document, &mut leaves);
    leaves
}

/// A value as the cell of a table. Control characters could change the terminal.
fn text(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items)
            if items
                .iter()
                .all(|item| item.is_string() || item.is_number()) =>
        {
            items.iter().map(text).collect::<Vec<_>>().join(", ")
        }
        other => other.to_string(),
    };
    text.chars()
        .map(|c| {
            if c.is_control() && c != '\n' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

fn table() -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// Prints a table without the spaces at its margins.
fn print_table(out: &mut impl Write, table: &Table) -> io::Result<()> {
    for line in table.to_string().lines() {
        writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(line).trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_and_function_keys_are_masked_at_any_depth() {
        let mut document = json!({
            "attestation": {"symmetricKey": {"primaryKey": "c2VjcmV0", "secondaryKey": null}},
            "list": [{"secondaryKey": "c2VjcmV0"}],
            "customAllocationDefinition": {"webhookUrl": "https://f.example/api?code=c2VjcmV0"},
        });
        mask_keys(&mut document);
        let text = document.to_string();
        assert!(!text.contains("c2VjcmV0"), "{text}");
        assert_eq!(
            document["attestation"]["symmetricKey"]["secondaryKey"],
            Value::Null
        );
    }

    #[test]
    fn a_table_shows_paths_and_no_control_characters() {
        let document = json!({"a": {"b": "x\u{1b}[31m"}, "c": ["d", "e"], "n": null});
        let leaves = flatten(&document);
        assert_eq!(leaves[0], ("a.b".to_owned(), "x\u{fffd}[31m".to_owned()));
        assert_eq!(leaves[1], ("c".to_owned(), "d, e".to_owned()));
        assert_eq!(leaves.len(), 2);
    }
}
