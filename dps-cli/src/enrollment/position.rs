//! The position of an import in its file, from which an interrupted run continues.

use std::error::Error as StdError;
use std::path::Path;

use dps_types::json;
use dps_types::sealed::{VERSION, seal, verify};
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Result};
use crate::files::{self, Access};
use crate::input;

#[derive(Serialize, Deserialize)]
struct Document {
    version: u64,
    /// The rows that are done.
    rows: usize,
}

/// Returns the number of rows that an earlier run has finished; 0 without a file.
pub(super) fn read(file: Option<&Path>) -> Result<usize> {
    let Some(file) = file.filter(|file| file.exists()) else {
        return Ok(0);
    };
    parse(&input::read_text(&file.into())?).map_err(|error| {
        let what = format!("{} does not contain a position", file.display());
        Failure::usage(what)
            .because(&*error)
            .with_hint("remove the file to start again")
    })
}

/// Replaces the file.
pub(super) fn save(file: Option<&Path>, rows: usize) -> Result {
    match file {
        Some(file) => Ok(files::create(file, &text(rows)?, true, Access::Everyone)?),
        None => Ok(()),
    }
}

fn text(rows: usize) -> Result<String> {
    let mut document = serde_json::to_vec(&Document {
        version: VERSION,
        rows,
    })?;
    seal(&mut document);
    document.push(b'\n');
    Ok(String::from_utf8_lossy(&document).into_owned())
}

fn parse(text: &str) -> Result<usize, Box<dyn StdError>> {
    // A file of version 1 is the number.
    if let Ok(rows) = text.trim().parse() {
        return Ok(rows);
    }
    let document: Document = json::from_str(text)?;
    verify(text.as_bytes(), document.version)?;
    Ok(document.rows)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The digits are those of `printf '{"version":2,"rows":2' | sha256sum`.
    const TWO: &str = "{\"version\":2,\"rows\":2,\"checksum\":\"f5d63f900a50fb53\"}\n";

    #[test]
    fn the_format_is_stable() {
        assert_eq!(text(2).unwrap(), TWO);
        assert_eq!(parse(TWO).unwrap(), 2);
    }

    #[test]
    fn a_file_of_version_1_is_read() {
        for (text, rows) in [("2\n", 2), ("0", 0), (" 300\r\n", 300)] {
            assert_eq!(parse(text).unwrap(), rows);
        }
    }

    #[test]
    fn other_files_are_refused() {
        for text in [
            "",
            "-1",
            "2 3",
            "{}",
            "{\"version\":2,\"rows\":2}",
            "{\"version\":3,\"rows\":2,\"checksum\":\"f5d63f900a50fb53\"}",
            &TWO.replace("\"rows\":2", "\"rows\":3"),
            &TWO[..TWO.len() - 3],
            &TWO.repeat(2),
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_position_is_read_again(rows in any::<usize>()) {
            prop_assert_eq!(parse(&text(rows).unwrap()).unwrap(), rows);
        }

        #[test]
        fn any_text_is_a_position_or_refused(text in ".{0,80}") {
            let _ = parse(&text);
        }
    }
}
