//! Which hub? The enrollment's policy or the instance's, with the ready-made policies of `dps-allocation`.
//!
//! Source: azure-docs `iot-dps/how-to-use-allocation-policies.md`.

mod latency;
mod linked_hub;

use std::sync::Arc;

use dps_allocation::policies::{EvenlyWeighted, Fixed, LatencyTable, LowestLatency};
use dps_allocation::{AllocationPolicy, WebhookClient};
use dps_types::enrollment::{AllocationPolicyKind, InitialTwin};
use dps_types::{
    AllocationRequest, AllocationResponse, DeviceRuntimeContext, Enrollment, ErrorCode, HubHostname,
};
use serde_json::Value;

pub(crate) use latency::Latency;
pub(crate) use linked_hub::LinkedHub;

use crate::service_error::ServiceFailure;
use crate::state::{Document, Terms, for_webhook};

/// Where a device goes, and what goes along.
#[derive(Debug)]
pub(crate) struct Placement {
    pub(crate) hub: HubHostname,
    /// The webhook's twin to start with. Without it, the enrollment's.
    pub(crate) initial_twin: Option<InitialTwin>,
    pub(crate) payload: Option<Value>,
}

/// Allocates among the linked hubs.
#[derive(Debug)]
pub(crate) struct Allocator {
    hubs: Vec<LinkedHub>,
    /// For enrollments without a policy.
    default_policy: AllocationPolicyKind,
    latencies: Arc<LatencyTable>,
    webhooks: WebhookClient,
}

impl Allocator {
    pub(crate) fn new(
        hubs: Vec<LinkedHub>,
        default_policy: AllocationPolicyKind,
        latencies: LatencyTable,
        webhooks: WebhookClient,
    ) -> Self {
        Self {
            hubs,
            default_policy,
            latencies: Arc::new(latencies),
            webhooks,
        }
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
    ) -> Result<Placement, ServiceFailure> {
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
                return Err(not_specified("The enrollment is of an unknown kind."));
            }
        };
        let kind = self.kind(&terms);
        let candidates = match keep {
            Some(hub) => vec![hub.clone()],
            None => self.candidates(&terms, kind),
        };
        if candidates.is_empty() {
            return Err(not_specified(
                "No IoT hub is linked that the enrollment may use.",
            ));
        }
        let policy = self.policy(kind, &terms, &candidates)?;
        let request = AllocationRequest::new(shown, device, candidates);
        let allocation = policy.allocate(&request).await.map_err(|rejection| {
            ServiceFailure::new(
                rejection
                    .error_code()
                    .unwrap_or(ErrorCode::CUSTOM_ALLOCATION_FAILED),
                rejection.message().to_owned(),
            )
        })?;
        let answer = AllocationResponse::from(allocation);
        let chosen = request.linked_hubs.into_iter();
        match chosen
            .into_iter()
            .find(|hub| *hub == answer.iot_hub_host_name)
        {
            // As it was linked, however the webhook spells it.
            Some(hub) => Ok(Placement {
                hub,
                initial_twin: answer.initial_twin,
                payload: answer.payload,
            }),
            None => Err(ServiceFailure::new(
                ErrorCode::CUSTOM_ALLOCATION_FAILED,
                "Custom allocation failed: the hub in the answer is not one of the linked hubs.",
            )),
        }
    }

    /// The enrollment's policy, or the instance's. One hub in the manner of the oldest api-versions is static.
    fn kind<'a>(&'a self, terms: &Terms<'a>) -> &'a AllocationPolicyKind {
        match (terms.allocation_policy, terms.iot_hub_host_name) {
            (Some(policy), _) => policy,
            (None, Some(_)) => &AllocationPolicyKind::Static,
            (None, None) => &self.default_policy,
        }
    }

    /// The hubs that the enrollment names, in its order, or all. One that is not linked any more does not count, and one
    /// that no policy is applied to counts where the operator names hubs, or a webhook does.
    fn candidates(&self, terms: &Terms<'_>, kind: &AllocationPolicyKind) -> Vec<HubHostname> {
        let linked = |name: &HubHostname| self.hubs.iter().find(|hub| hub.hostname == *name);
        let hubs: Vec<&LinkedHub> = match (terms.iot_hubs, terms.iot_hub_host_name) {
            (Some(hubs), _) => hubs.iter().filter_map(linked).collect(),
            (None, Some(only)) => linked(only).into_iter().collect(),
            (None, None) => self.hubs.iter().collect(),
        };
        let chosen_by_name = matches!(
            kind,
            AllocationPolicyKind::Static | AllocationPolicyKind::Custom
        );
        hubs.into_iter()
            .filter(|hub| hub.applies_policy || chosen_by_name)
            .map(|hub| hub.hostname.clone())
            .collect()
    }

    fn policy(
        &self,
        kind: &AllocationPolicyKind,
        terms: &Terms<'_>,
        candidates: &[HubHostname],
    ) -> Result<Box<dyn AllocationPolicy>, ServiceFailure> {
        match (kind, candidates) {
            (AllocationPolicyKind::Custom, _) => {
                let definition = terms
                    .custom_allocation_definition
                    .ok_or_else(|| webhook_failed("no webhook is defined"))?;
                let caller = self
                    .webhooks
                    .caller(&definition.webhook_url)
                    .map_err(|error| webhook_failed(&error.to_string()))?;
                Ok(Box::new(caller))
            }
            (AllocationPolicyKind::Static, [only]) => Ok(Box::new(Fixed::to(only.clone()))),
            (AllocationPolicyKind::Static, [first, ..]) if terms.iot_hubs.is_some() => {
                Ok(Box::new(Fixed::to(first.clone())))
            }
            (AllocationPolicyKind::Static, _) => Err(not_specified(
                "The static allocation policy needs one IoT hub, and several are linked.",
            )),
            (AllocationPolicyKind::GeoLatency, _) => Ok(Box::new(
                LowestLatency::by(Arc::clone(&self.latencies)).among_equals(self.evenly_weighted()),
            )),
            _ => Ok(Box::new(self.evenly_weighted())),
        }
    }

    fn evenly_weighted(&self) -> EvenlyWeighted {
        self.hubs.iter().fold(EvenlyWeighted::new(), |policy, hub| {
            policy.with_weight(hub.hostname.clone(), hub.weight)
        })
    }
}

fn not_specified(message: &str) -> ServiceFailure {
    ServiceFailure::new(ErrorCode::HUB_NOT_SPECIFIED, message)
}

fn webhook_failed(reason: &str) -> ServiceFailure {
    let message = format!("Custom allocation failed: {reason}.");
    ServiceFailure::new(ErrorCode::CUSTOM_ALLOCATION_FAILED, message)
}
