//! Which hub? The enrollment's policy, with the ready-made policies of `dps-allocation`.

mod linked_hub;

use dps_allocation::policies::{EvenlyWeighted, Fixed};
use dps_allocation::{AllocationPolicy, WebhookClient};
use dps_types::enrollment::AllocationPolicyKind;
use dps_types::{
    AllocationRequest, AllocationResponse, DeviceRuntimeContext, Enrollment, ErrorCode, HubHostname,
};
use serde_json::Value;

pub(crate) use linked_hub::LinkedHub;

use crate::registry::{Document, Terms, for_webhook};

/// Where a device goes, and what goes along.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) hub: HubHostname,
    pub(crate) payload: Option<Value>,
}

/// Why there is no hub: what the registration's `errorCode` and `errorMessage` say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: ErrorCode,
    pub(crate) message: String,
}

/// Allocates among the linked hubs.
#[derive(Debug)]
pub(crate) struct Allocator {
    hubs: Vec<LinkedHub>,
    webhooks: WebhookClient,
}

impl Allocator {
    pub(crate) fn new(hubs: Vec<LinkedHub>, webhooks: WebhookClient) -> Self {
        Self { hubs, webhooks }
    }

    pub(crate) fn hub_names(&self) -> Vec<HubHostname> {
        self.hubs.iter().map(|hub| hub.hostname.clone()).collect()
    }

    /// Picks a hub. `keep` is the hub that the device must stay with; the webhook is asked all the same.
    pub(crate) async fn allocate(
        &self,
        enrollment: &Enrollment,
        device: DeviceRuntimeContext,
        keep: Option<&HubHostname>,
    ) -> Result<Placement, Failure> {
        let (shown, terms) = match enrollment {
            Enrollment::Individual(one) => (
                Enrollment::Individual(Box::new(for_webhook(&**one))),
                one.terms(),
            ),
            Enrollment::Group(group) => (
                Enrollment::Group(Box::new(for_webhook(&**group))),
                group.terms(),
            ),
            _ => {
                return Err(Failure::not_specified(
                    "The enrollment is of an unknown kind.",
                ));
            }
        };
        let candidates = match keep {
            Some(hub) => vec![hub.clone()],
            None => self.candidates(&terms),
        };
        if candidates.is_empty() {
            return Err(Failure::not_specified(
                "No IoT hub is linked that the enrollment may use.",
            ));
        }
        let policy = self.policy(&terms, &candidates)?;
        let request = AllocationRequest::new(shown, device, candidates);
        let allocation = policy
            .allocate(&request)
            .await
            .map_err(|rejection| Failure {
                code: rejection
                    .error_code()
                    .unwrap_or(ErrorCode::CUSTOM_ALLOCATION_FAILED),
                message: rejection.message().to_owned(),
            })?;
        let answer = AllocationResponse::from(allocation);
        match request.links(&answer.iot_hub_host_name) {
            true => Ok(Placement {
                hub: answer.iot_hub_host_name,
                payload: answer.payload,
            }),
            false => Err(Failure {
                code: ErrorCode::CUSTOM_ALLOCATION_FAILED,
                message:
                    "Custom allocation failed: the hub in the answer is not one of the linked hubs."
                        .to_owned(),
            }),
        }
    }

    /// The hubs that the enrollment names, or all. One that is not linked any more does not count.
    fn candidates(&self, terms: &Terms<'_>) -> Vec<HubHostname> {
        let named = |hub: &&HubHostname| match (terms.iot_hubs, terms.iot_hub_host_name) {
            (Some(hubs), _) => hubs.contains(hub),
            (None, Some(only)) => only == *hub,
            (None, None) => true,
        };
        self.hubs
            .iter()
            .map(|hub| &hub.hostname)
            .filter(named)
            .cloned()
            .collect()
    }

    fn policy(
        &self,
        terms: &Terms<'_>,
        candidates: &[HubHostname],
    ) -> Result<Box<dyn AllocationPolicy>, Failure> {
        match (terms.allocation_policy, candidates) {
            (Some(AllocationPolicyKind::Custom), _) => {
                let definition = terms
                    .custom_allocation_definition
                    .ok_or_else(|| Failure::webhook("no webhook is defined"))?;
                let caller = self
                    .webhooks
                    .caller(&definition.webhook_url)
                    .map_err(|error| Failure::webhook(&error.to_string()))?;
                Ok(Box::new(caller))
            }
            (Some(AllocationPolicyKind::Static), [only]) => Ok(Box::new(Fixed::to(only.clone()))),
            (Some(AllocationPolicyKind::Static), [first, ..]) if terms.iot_hubs.is_some() => {
                Ok(Box::new(Fixed::to(first.clone())))
            }
            (Some(AllocationPolicyKind::Static), _) => Err(Failure::not_specified(
                "The static allocation policy needs one IoT hub, and several are linked.",
            )),
            // Without measured latencies, every hub is as near as any other, and ties go to evenly weighted.
            _ => Ok(Box::new(self.evenly_weighted())),
        }
    }

    fn evenly_weighted(&self) -> EvenlyWeighted {
        self.hubs.iter().fold(EvenlyWeighted::new(), |policy, hub| {
            policy.with_weight(hub.hostname.clone(), hub.weight)
        })
    }
}

impl Failure {
    fn not_specified(message: &str) -> Self {
        Self {
            code: ErrorCode::HUB_NOT_SPECIFIED,
            message: message.to_owned(),
        }
    }

    fn webhook(reason: &str) -> Self {
        Self {
            code: ErrorCode::CUSTOM_ALLOCATION_FAILED,
            message: format!("Custom allocation failed: {reason}."),
        }
    }
}
