//! Documents that are printed while something happens: each one at once, and with JSON as the items of one array.

use std::io::{self, Write};

use serde::Serialize;

use super::{Format, Output};
use crate::failure::Result;

/// Documents of a running command.
#[derive(Debug)]
pub(crate) struct Events {
    output: Output,
    count: usize,
}

impl Events {
    pub(crate) fn new(output: Output) -> Self {
        Self { output, count: 0 }
    }

    pub(crate) fn push(&mut self, document: impl Serialize) -> Result {
        let mut out = io::stdout().lock();
        match self.output.format() {
            Format::Table if self.count == 0 => {}
            Format::Table => writeln!(out)?,
            Format::Json => {
                let document = serde_json::to_value(document)?;
                let separator = if self.count == 0 { "[\n" } else { ",\n" };
                write!(out, "{separator}{document:#}")?;
                out.flush()?;
                self.count += 1;
                return Ok(());
            }
            Format::Ndjson => {}
        }
        drop(out);
        self.count += 1;
        self.output.item(document)
    }

    /// Ends the array.
    pub(crate) fn finish(self) -> Result {
        if self.output.format() == Format::Json {
            let end = if self.count == 0 { "[]" } else { "\n]" };
            writeln!(io::stdout().lock(), "{end}")?;
        }
        Ok(())
    }
}
