//! A policy for each value of a property, and one for all other values.

use std::fmt;

use crate::{AllocationPolicy, Rejection};

#[derive(Default)]
pub(super) struct Cases {
    cases: Vec<(String, Box<dyn AllocationPolicy>)>,
    otherwise: Option<Box<dyn AllocationPolicy>>,
}

impl Cases {
    pub(super) fn when(&mut self, value: String, policy: impl AllocationPolicy + 'static) {
        self.cases.push((value, Box::new(policy)));
    }

    pub(super) fn otherwise(&mut self, policy: impl AllocationPolicy + 'static) {
        self.otherwise = Some(Box::new(policy));
    }

    /// The policy of the first case that equals one of the values, or the policy for all other values.
    pub(super) fn choose(
        &self,
        property: &dyn fmt::Display,
        values: &[String],
        equal: fn(&str, &str) -> bool,
    ) -> Result<&dyn AllocationPolicy, Rejection> {
        self.cases
            .iter()
            .find(|(case, _)| values.iter().any(|value| equal(case, value)))
            .map(|(_, policy)| policy)
            .or(self.otherwise.as_ref())
            .map(|policy| &**policy)
            .ok_or_else(|| Rejection::new(format!("there is no policy for {property} {values:?}")))
    }
}

impl fmt::Debug for Cases {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.cases.iter().map(|(value, _)| value))
            .entries(self.otherwise.iter().map(|_| format_args!("otherwise")))
            .finish()
    }
}
