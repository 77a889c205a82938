//! The figures of a run, and the faults that it found.

use std::fmt;

use super::Result;

/// The most faults that are printed.
const SHOWN: usize = 20;

/// The result of one kind of torture.
#[derive(Debug, Default)]
pub(crate) struct Report {
    figures: Vec<(String, String)>,
    faults: Vec<String>,
}

impl Report {
    pub(crate) fn figure(&mut self, name: impl Into<String>, value: impl ToString) {
        self.figures.push((name.into(), value.to_string()));
    }

    pub(crate) fn fault(&mut self, what: impl Into<String>) {
        self.faults.push(what.into());
    }

    /// A fault if the condition is false.
    pub(crate) fn check(&mut self, condition: bool, what: impl FnOnce() -> String) {
        if !condition {
            self.faults.push(what());
        }
    }

    /// Adds the figures and faults of a part, whose name is put before them.
    pub(crate) fn part(&mut self, name: &str, part: Self) {
        let figures = part.figures.into_iter();
        self.figures
            .extend(figures.map(|(figure, value)| (format!("{name}: {figure}"), value)));
        let faults = part.faults.into_iter();
        self.faults
            .extend(faults.map(|fault| format!("{name}: {fault}")));
    }

    /// Adds a part, or its error as a fault, so that the parts before it are reported.
    pub(crate) fn part_or_fault(&mut self, name: &str, part: Result<Self>) {
        match part {
            Ok(part) => self.part(name, part),
            Err(error) => self.fault(format!("{name}: {error:#}")),
        }
    }

    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in &self.figures {
            writeln!(f, "  {name:<44} {value}")?;
        }
        write!(f, "  {:<44} {}", "faults", self.faults.len())?;
        for fault in self.faults.iter().take(SHOWN) {
            write!(f, "\n    {fault}")?;
        }
        Ok(())
    }
}
