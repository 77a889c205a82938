//! One policy after another, until one answers.

use std::fmt;

use async_trait::async_trait;
use dps_types::AllocationRequest;

use crate::{Allocation, AllocationPolicy, Rejection};

/// The first policy that answers with a linked hub.
///
/// When none does, the rejection has status, code and source of the last one, and names the reasons of all.
///
/// ```
/// use dps_allocation::policies::{EvenlyWeighted, Fallback, Fixed};
///
/// // While this hub is linked, all go there.
/// let policy = Fallback::new(Fixed::to("new.azure-devices.net".parse()?)).or(EvenlyWeighted::new());
/// # let _ = policy;
/// # Ok::<(), dps_types::ParseError>(())
/// ```
pub struct Fallback {
    first: Box<dyn AllocationPolicy>,
    others: Vec<Box<dyn AllocationPolicy>>,
}

impl Fallback {
    /// Asks this policy first.
    pub fn new(first: impl AllocationPolicy + 'static) -> Self {
        Self {
            first: Box::new(first),
            others: Vec::new(),
        }
    }

    /// And this one when those before have no answer.
    #[must_use]
    pub fn or(mut self, policy: impl AllocationPolicy + 'static) -> Self {
        self.others.push(Box::new(policy));
        self
    }
}

#[async_trait]
impl AllocationPolicy for Fallback {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let mut rejection = match ask(&self.first, request).await {
            Ok(allocation) => return Ok(allocation),
            Err(rejection) => rejection,
        };
        for policy in &self.others {
            rejection = match ask(policy, request).await {
                Ok(allocation) => return Ok(allocation),
                Err(next) => {
                    let reasons = format!("{rejection}; {next}");
                    next.with_message(reasons)
                }
            };
        }
        Err(rejection)
    }
}

async fn ask(
    policy: &dyn AllocationPolicy,
    request: &AllocationRequest,
) -> Result<Allocation, Rejection> {
    let allocation = policy.allocate(request).await?;
    match request.links(allocation.hub()) {
        true => Ok(allocation),
        false => Err(Rejection::new(format!(
            "{} is not a linked hub",
            allocation.hub()
        ))),
    }
}

impl fmt::Debug for Fallback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("policies", &(1 + self.others.len()))
            .finish_non_exhaustive()
    }
}
