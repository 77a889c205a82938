//! What the doctor found: one line for each check, and what to do about each problem.

use serde::Serialize;

use crate::context::Context;
use crate::failure::Result;
use crate::format::Format;
use crate::output::Column;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    Ok,
    /// It may be the cause, or become one.
    Warning,
    Problem,
    Skipped,
}

/// One line of the report.
#[derive(Debug, Serialize)]
pub(super) struct Finding {
    check: &'static str,
    result: Outcome,
    finding: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

/// The report.
#[derive(Debug, Default)]
pub(super) struct Findings(Vec<Finding>);

const COLUMNS: &[Column] = &[
    ("CHECK", "/check"),
    ("RESULT", "/result"),
    ("FINDING", "/finding"),
];

impl Findings {
    pub(super) fn ok(&mut self, check: &'static str, finding: impl Into<String>) {
        self.add(check, Outcome::Ok, finding, None);
    }

    pub(super) fn skipped(&mut self, check: &'static str, reason: impl Into<String>) {
        self.add(check, Outcome::Skipped, reason, None);
    }

    pub(super) fn warning(
        &mut self,
        check: &'static str,
        finding: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, Outcome::Warning, finding, Some(advice.into()));
    }

    pub(super) fn problem(
        &mut self,
        check: &'static str,
        finding: impl Into<String>,
        advice: impl Into<String>,
    ) {
        self.add(check, Outcome::Problem, finding, Some(advice.into()));
    }

    pub(super) fn has_problems(&self) -> bool {
        self.0
            .iter()
            .any(|finding| finding.result == Outcome::Problem)
    }

    /// Prints the report; in a table the advice follows it, with the problems first.
    pub(super) fn print(&self, context: &Context) -> Result {
        let mut list = context.output.list(COLUMNS);
        for finding in &self.0 {
            list.push(finding)?;
        }
        list.finish()?;
        if context.output.format() != Format::Table {
            return Ok(());
        }
        for (result, title) in [
            (Outcome::Problem, "What to do:"),
            (Outcome::Warning, "Worth a look:"),
        ] {
            let advised: Vec<_> = self
                .0
                .iter()
                .filter(|finding| finding.result == result)
                .collect();
            if !advised.is_empty() {
                println!("\n{title}");
            }
            for finding in advised {
                println!(
                    "  {}: {}",
                    finding.check,
                    finding.advice.as_deref().unwrap_or_default()
                );
            }
        }
        if !self.has_problems() {
            println!("\nNo problem was found.");
        }
        Ok(())
    }

    fn add(
        &mut self,
        check: &'static str,
        result: Outcome,
        finding: impl Into<String>,
        advice: Option<String>,
    ) {
        self.0.push(Finding {
            check,
            result,
            finding: finding.into(),
            advice,
        });
    }
}

/// An error with its sources in one line.
pub(super) fn chain_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
impl Findings {
    /// The only finding, as one line: its result, the finding and the advice.
    pub(super) fn only(&self) -> String {
        assert_eq!(self.0.len(), 1, "{self:?}");
        let finding = &self.0[0];
        let advice = finding.advice.as_deref().unwrap_or_default();
        format!("{:?}: {}: {advice}", finding.result, finding.finding)
    }
}
