//! By the pattern of the device's name.

use std::fmt;

use async_trait::async_trait;
use dps_types::AllocationRequest;
use regex_lite::{Regex, RegexBuilder};

use crate::{Allocation, AllocationPolicy, Error, ErrorKind, Rejection};

/// Chooses among policies by a regular expression on the registration id, without regard to case.
///
/// The first pattern that fits counts. It fits a part of the id, unless it is anchored with `^` and `$`. The syntax is that of the
/// crate `regex-lite`; the time to match grows with the length of pattern and id only.
///
/// ```
/// use dps_allocation::policies::{ByRegistrationId, EvenlyWeighted, Fixed};
///
/// let policy = ByRegistrationId::new()
///     .when("^toaster-[0-9]+$", Fixed::to("toasters.azure-devices.net".parse()?))?
///     .otherwise(EvenlyWeighted::new());
/// # let _ = policy;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct ByRegistrationId {
    patterns: Vec<(Regex, Box<dyn AllocationPolicy>)>,
    otherwise: Option<Box<dyn AllocationPolicy>>,
}

impl ByRegistrationId {
    /// No pattern yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The policy for ids that fit this pattern.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidPattern`].
    pub fn when(
        mut self,
        pattern: &str,
        policy: impl AllocationPolicy + 'static,
    ) -> Result<Self, Error> {
        let regex = RegexBuilder::new(pattern).case_insensitive(true).build();
        let regex = regex.map_err(|error| {
            let what = format!("{pattern:?} is not a regular expression");
            Error::new(ErrorKind::InvalidPattern, what).with_source(error)
        })?;
        self.patterns.push((regex, Box::new(policy)));
        Ok(self)
    }

    /// The policy for all other ids. Without it they are rejected.
    #[must_use]
    pub fn otherwise(mut self, policy: impl AllocationPolicy + 'static) -> Self {
        self.otherwise = Some(Box::new(policy));
        self
    }
}

#[async_trait]
impl AllocationPolicy for ByRegistrationId {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let id = request.registration_id().as_str();
        let fitting = self
            .patterns
            .iter()
            .find(|(pattern, _)| pattern.is_match(id));
        let policy = fitting
            .map(|(_, policy)| policy)
            .or(self.otherwise.as_ref());
        let policy = policy
            .ok_or_else(|| Rejection::new(format!("no pattern fits the registration id {id:?}")))?;
        policy.allocate(request).await
    }
}

impl fmt::Debug for ByRegistrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.patterns.iter().map(|(pattern, _)| pattern.as_str()))
            .entries(self.otherwise.iter().map(|_| format_args!("otherwise")))
            .finish()
    }
}
