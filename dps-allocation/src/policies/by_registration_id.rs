//! A policy that chooses by a pattern of the registration id.

use std::fmt;

use async_trait::async_trait;
use dps_types::AllocationRequest;
use regex_lite::{Regex, RegexBuilder};

use crate::{Allocation, AllocationPolicy, Error, ErrorKind, Rejection};

/// Chooses a policy by a regular expression on the registration id, ignoring case.
///
/// The first pattern that matches decides. A pattern matches a part of the id, unless it is anchored with `^` and `$`. The
/// syntax is that of the crate `regex-lite`, which matches in linear time.
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
    /// Creates a policy without patterns.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the policy for ids that match this pattern.
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
            let message = format!("{pattern:?} is not a valid regular expression");
            Error::new(ErrorKind::InvalidPattern, message).with_source(error)
        })?;
        self.patterns.push((regex, Box::new(policy)));
        Ok(self)
    }

    /// Sets the policy for all other ids. Without it they are rejected.
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
        let matching = self
            .patterns
            .iter()
            .find(|(pattern, _)| pattern.is_match(id));
        let policy = matching
            .map(|(_, policy)| policy)
            .or(self.otherwise.as_ref());
        let policy = policy.ok_or_else(|| {
            Rejection::new(format!("no pattern matches the registration id {id:?}"))
        })?;
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
