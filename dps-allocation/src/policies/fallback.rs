//! A list of policies, called in order until one chooses a hub.

use std::fmt;

use async_trait::async_trait;
use dps_types::AllocationRequest;

use crate::{Allocation, AllocationPolicy, Rejection, RejectionKind};

/// Calls policies in order, until one chooses a linked hub.
///
/// The next policy is called only if the policies before it [declined](RejectionKind::Declined) the device or chose a hub
/// that is not linked. If a policy is [unavailable](RejectionKind::Unavailable), or a webhook returns an invalid answer, the
/// registration fails: otherwise a database that is down would assign the devices in it to the hub for unknown
/// devices. [`Fallback::on_any_rejection`] calls the next policy in these cases as well.
///
/// When no policy chooses a hub, the rejection has the kind, status, code and source of the last one, and the reasons of
/// all.
///
/// ```
/// use dps_allocation::policies::{EvenlyWeighted, Fallback, Fixed};
///
/// // Every device is assigned to this hub while it is linked.
/// let policy = Fallback::new(Fixed::to("new.azure-devices.net".parse()?)).or(EvenlyWeighted::new());
/// # let _ = policy;
/// # Ok::<(), dps_types::ParseError>(())
/// ```
pub struct Fallback {
    first: Box<dyn AllocationPolicy>,
    others: Vec<Box<dyn AllocationPolicy>>,
    on_any_rejection: bool,
}

impl Fallback {
    /// Calls this policy first.
    pub fn new(first: impl AllocationPolicy + 'static) -> Self {
        Self {
            first: Box::new(first),
            others: Vec::new(),
            on_any_rejection: false,
        }
    }

    /// Adds the policy to call next.
    #[must_use]
    pub fn or(mut self, policy: impl AllocationPolicy + 'static) -> Self {
        self.others.push(Box::new(policy));
        self
    }

    /// Calls the next policy after any rejection, also when a policy is unavailable.
    ///
    /// Use it if assigning every device to some hub matters more than assigning it to the right one.
    #[must_use]
    pub fn on_any_rejection(mut self) -> Self {
        self.on_any_rejection = true;
        self
    }

    fn stops_at(&self, rejection: &Rejection) -> bool {
        !self.on_any_rejection && rejection.kind() != RejectionKind::Declined
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
            if self.stops_at(&rejection) {
                break;
            }
            rejection = match ask(policy, request).await {
                Ok(allocation) => return Ok(allocation),
                Err(next) => {
                    let reasons = format!("{}; {}", rejection.message(), next.message());
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
            .field("on_any_rejection", &self.on_any_rejection)
            .finish_non_exhaustive()
    }
}
