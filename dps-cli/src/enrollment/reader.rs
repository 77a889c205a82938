//! Reads enrollments from a CSV, JSON or NDJSON file of any length, one after the other.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

use clap::ValueEnum;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::document;
use crate::failure::{Failure, Result};
use crate::input::InputFile;

/// The longest enrollment that an export writes, in bytes: the longest answer that the service client reads.
pub(super) const MAX_ENROLLMENT: usize = 4 << 20;
/// The longest line of NDJSON: an enrollment, and the error before it in a failure report.
const MAX_LINE: u64 = (MAX_ENROLLMENT + (64 << 10)) as u64;

/// The format of a file of enrollments.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum FileFormat {
    /// A header with the paths of the fields, then one enrollment per line
    Csv,
    /// One array of documents
    Json,
    /// One document per line
    Ndjson,
}

/// One enrollment of the file: its position, from 1, and its fields, or why it cannot be read.
pub(super) struct Row {
    pub(super) number: usize,
    pub(super) fields: Result<Map<String, Value>>,
}

impl FileFormat {
    /// The format by the extension of the file.
    pub(super) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("csv") => Ok(Self::Csv),
            Some("json") => Ok(Self::Json),
            Some("ndjson" | "jsonl") => Ok(Self::Ndjson),
            _ => Err(
                Failure::usage(format!("the format of {} is unknown", path.display()))
                    .with_hint("use --format csv, json or ndjson"),
            ),
        }
    }
}

/// Reads the rows and passes each of them on. It stops when `pass` returns false.
pub(super) fn read(file: &InputFile, format: FileFormat, pass: impl FnMut(Row) -> bool) -> Result {
    let about = |error: io::Error| {
        Failure::usage(format!("{} cannot be read", file.display())).because(&error)
    };
    let source: Box<dyn Read> = match file.is_stdin() {
        true => Box::new(io::stdin()),
        false => Box::new(File::open(file.path()).map_err(about)?),
    };
    read_from(BufReader::new(source), format, pass).map_err(|failure| failure.about(file.display()))
}

/// Reads the rows of a source, as [`read`] does.
pub(super) fn read_from(
    source: impl BufRead,
    format: FileFormat,
    mut pass: impl FnMut(Row) -> bool,
) -> Result {
    let source = without_byte_order_mark(source)?;
    match format {
        FileFormat::Csv => csv(source, &mut pass),
        FileFormat::Json => json(source, &mut pass),
        FileFormat::Ndjson => ndjson(source, &mut pass),
    }
}

fn csv(source: impl Read, pass: &mut impl FnMut(Row) -> bool) -> Result {
    let mut reader = csv::ReaderBuilder::new()
        .trim(csv::Trim::All)
        .from_reader(source);
    let wrong = |error: csv::Error| Failure::usage("the CSV is not valid").because(&error);
    let header = reader.headers().map_err(wrong)?.clone();
    for (index, record) in reader.records().enumerate() {
        let fields = record.map_err(wrong).and_then(|record| {
            let mut fields = Map::new();
            for (path, text) in header
                .iter()
                .zip(&record)
                .filter(|(_, text)| !text.is_empty())
            {
                document::set(&mut fields, path, document::parse(path, text))?;
            }
            Ok(fields)
        });
        if !pass(Row {
            number: index + 1,
            fields,
        }) {
            break;
        }
    }
    Ok(())
}

fn ndjson(mut source: impl BufRead, pass: &mut impl FnMut(Row) -> bool) -> Result {
    let mut line = Vec::new();
    let mut number = 0;
    loop {
        line.clear();
        if source
            .by_ref()
            .take(MAX_LINE)
            .read_until(b'\n', &mut line)?
            == 0
        {
            return Ok(());
        }
        if line.len() as u64 == MAX_LINE {
            return Err(Failure::usage(format!(
                "a line after enrollment {number} is longer than {MAX_LINE} bytes"
            )));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        number += 1;
        let fields = dps_types::json::from_slice(&line).map_err(Failure::from);
        if !pass(Row { number, fields }) {
            return Ok(());
        }
    }
}

/// Reads an array without holding it in memory. A syntax error ends it: the rest cannot be read.
fn json(source: impl Read, pass: &mut impl FnMut(Row) -> bool) -> Result {
    let mut deserializer = serde_json::Deserializer::from_reader(source);
    Rows(pass).deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(())
}

struct Rows<'p, P>(&'p mut P);

impl<'de, P: FnMut(Row) -> bool> DeserializeSeed<'de> for Rows<'_, P> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, P: FnMut(Row) -> bool> Visitor<'de> for Rows<'_, P> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an array of enrollments")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut rows: A) -> Result<(), A::Error> {
        let mut number = 0;
        while let Some(value) = rows.next_element::<Value>()? {
            number += 1;
            let fields = Map::deserialize(value).map_err(Failure::from);
            if !(self.0)(Row { number, fields }) {
                while rows.next_element::<IgnoredAny>()?.is_some() {}
            }
        }
        Ok(())
    }
}

/// Spreadsheets write a byte order mark, which JSON and the first column of CSV must not contain.
fn without_byte_order_mark(mut source: impl BufRead) -> io::Result<impl BufRead> {
    if source.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        source.consume(3);
    }
    Ok(source)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn rows(name: &str, content: &str) -> Vec<Result<Value, String>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        File::create(&path)
            .unwrap()
            .write_all(content.as_bytes())
            .unwrap();
        let mut rows = Vec::new();
        let pass = |row: Row| {
            assert_eq!(row.number, rows.len() + 1);
            rows.push(
                row.fields
                    .map(Value::Object)
                    .map_err(|failure| failure.to_string()),
            );
            true
        };
        if let Err(failure) = read(&path.as_path().into(), FileFormat::of(&path).unwrap(), pass) {
            rows.push(Err(failure.to_string()));
        }
        rows
    }

    #[test]
    fn the_three_formats_contain_the_same_enrollment() {
        let expected =
            serde_json::json!({"registrationId": "007", "initialTwin": {"tags": {"year": 2026}}});
        for (name, content) in [
            (
                "a.csv",
                "registrationId,initialTwin.tags.year,deviceId\n007,2026,\n",
            ),
            (
                "a.csv",
                "\u{feff}registrationId,initialTwin\n007,\"{\"\"tags\"\":{\"\"year\"\":2026}}\"\n",
            ),
            (
                "a.json",
                "[{\"registrationId\":\"007\",\"initialTwin\":{\"tags\":{\"year\":2026}}}]",
            ),
            (
                "a.ndjson",
                "\n{\"registrationId\":\"007\",\"initialTwin\":{\"tags\":{\"year\":2026}}}\n",
            ),
        ] {
            assert_eq!(rows(name, content), [Ok(expected.clone())], "{content}");
        }
    }

    #[test]
    fn a_row_that_is_not_valid_does_not_hide_the_next_one() {
        for (name, content) in [
            ("a.csv", "registrationId,deviceId\na,b,c\nb,c\n"),
            ("a.ndjson", "{\n{\"registrationId\":\"b\"}\n"),
            ("a.json", "[7,{\"registrationId\":\"b\"}]"),
        ] {
            let rows = rows(name, content);
            assert!(rows[0].is_err(), "{content}");
            assert_eq!(
                rows[1].as_ref().unwrap()["registrationId"],
                "b",
                "{content}"
            );
        }
    }

    #[test]
    fn a_file_that_is_cut_off_is_an_error() {
        let rows = rows("a.json", "[{\"registrationId\":\"a\"}");
        assert!(rows[0].is_ok() && rows[1].is_err(), "{rows:?}");
    }

    #[test]
    fn an_unknown_extension_asks_for_the_format() {
        assert!(FileFormat::of(Path::new("fleet.xlsx")).is_err());
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_rows_or_failures(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            for format in [FileFormat::Csv, FileFormat::Json, FileFormat::Ndjson] {
                let mut expected = 0;
                let mut pass = |row: Row| {
                    expected += 1;
                    assert_eq!(row.number, expected);
                    true
                };
                let _ = read_from(&*bytes, format, &mut pass);
            }
        }
    }
}
