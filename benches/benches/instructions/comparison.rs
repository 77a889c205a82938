//! Compares counts with their budgets: as they are with the tools of the budgets, relative to a reference with others.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Instructions by the name of the operation.
pub(crate) type Counts = BTreeMap<String, u64>;

/// The instructions that are accepted in addition to the relative limit: the state of the heap changes small counts.
const SLACK: f64 = 300.0;

/// The references: the same kinds of work without our code.
pub(crate) const HANDSHAKE: &str = "tls_handshake";
pub(crate) const JSON: &str = "reference/json";
pub(crate) const HMAC: &str = "reference/hmac";

/// The server's answers to the statements of one change arrive in one read or in several, which depends on the load: the count
/// differs by up to 14 %.
const POSTGRES_APPLY: &str = "store/postgres/apply";

/// How counts are compared with budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The budgets were counted with the same tools.
    Direct,
    /// The budgets were counted with other tools or on another processor. A budget changes as much as its reference does.
    Relative,
}

impl Mode {
    /// The growth that is accepted, as a share of the budget.
    pub(crate) fn limit(self) -> f64 {
        match self {
            Self::Direct => 0.03,
            Self::Relative => 0.15,
        }
    }

    /// The same for an operation. Its own limit is higher if its count depends on more than the code.
    fn limit_of(self, name: &str) -> f64 {
        match name {
            POSTGRES_APPLY => Self::Relative.limit(),
            _ => self.limit(),
        }
    }
}

/// The counts next to their budgets.
#[derive(Debug, Default)]
pub(crate) struct Comparison {
    /// A line for each count.
    pub(crate) table: String,
    /// Counts above their budgets, and names that are on one side only.
    pub(crate) errors: Vec<String>,
    /// Whether a count is above its budget.
    pub(crate) is_above: bool,
    /// Counts below their budgets, in a direct comparison.
    pub(crate) lower: Vec<String>,
}

impl Comparison {
    /// Compares. With a `filter`, a budget that was not counted is not an error.
    pub(crate) fn new(counts: &Counts, budgets: &Counts, filter: &str, mode: Mode) -> Self {
        let mut this = Self::default();
        for (name, &count) in counts {
            let Some(&budget) = budgets.get(name) else {
                let _ = writeln!(this.table, "{name:50}{count:12}");
                this.errors.push(format!("{name} has no budget"));
                continue;
            };
            let reference = match (mode, reference_of(name)) {
                (Mode::Direct, _) => Some(1.0),
                (Mode::Relative, Some(reference)) => ratio(counts, budgets, reference),
                // A reference is not compared with itself.
                (Mode::Relative, None) => {
                    let _ = writeln!(this.table, "{name:50}{count:12}  reference");
                    continue;
                }
            };
            let Some(reference) = reference else {
                this.errors
                    .push(format!("{name} has no reference that was counted"));
                continue;
            };
            this.compare(name, count as f64, budget as f64 * reference, mode);
        }
        if filter.is_empty() {
            let unknown = budgets.keys().filter(|name| !counts.contains_key(*name));
            this.errors
                .extend(unknown.map(|name| format!("{name} has a budget and is not counted")));
        }
        this
    }

    fn compare(&mut self, name: &str, count: f64, budget: f64, mode: Mode) {
        let change = (count / budget - 1.0) * 100.0;
        let _ = writeln!(self.table, "{name:50}{count:12}{change:+8.1} %");
        let line =
            format!("{name}: {count} instructions, the budget is {budget:.0} ({change:+.1} %)");
        let accepted = budget * mode.limit_of(name) + SLACK;
        if count - budget > accepted {
            self.errors.push(line);
            self.is_above = true;
        } else if budget - count > accepted && mode == Mode::Direct {
            self.lower.push(line);
        }
    }
}

/// The operation that does the same kind of work; `None` for the references themselves.
fn reference_of(name: &str) -> Option<&'static str> {
    match name.split('/').next()? {
        HANDSHAKE | "reference" => None,
        "registration" => Some(HANDSHAKE),
        "sas" => Some(HMAC),
        _ => Some(JSON),
    }
}

/// Whether an operation is a reference.
pub(crate) fn is_reference(name: &str) -> bool {
    reference_of(name).is_none()
}

/// The count of an operation, relative to its budget.
fn ratio(counts: &Counts, budgets: &Counts, name: &str) -> Option<f64> {
    Some(*counts.get(name)? as f64 / *budgets.get(name)? as f64)
}
