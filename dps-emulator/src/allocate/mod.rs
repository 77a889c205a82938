//! Allocation: selects the hub of a device by the policy of its enrollment or of the instance.
//!
//! Source: azure-docs `iot-dps/how-to-use-allocation-policies.md`.

mod default_allocation;
mod latency;
mod linked_hub;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use dps_allocation::policies::{EvenlyWeighted, Fixed, LatencyTable, LowestLatency};
use dps_allocation::{AllocationPolicy, WebhookClient};
use dps_types::enrollment::{AllocationPolicyKind, InitialTwin};
use dps_types::{
    AllocationRequest, AllocationResponse, DeviceRuntimeContext, ErrorCode, HubHostname, json,
};
use serde_json::Value;

pub use default_allocation::DefaultAllocation;
pub use latency::Latency;
pub use linked_hub::LinkedHub;

use crate::attest::DeviceEnrollment;
use crate::current::Current;
use crate::service_error::ServiceFailure;
use crate::state::{Terms, sentence};

/// The result of an allocation.
#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) hub: HubHostname,
    /// The initial twin from the webhook. Without it, the enrollment's applies.
    pub(crate) initial_twin: Option<InitialTwin>,
    pub(crate) payload: Option<Value>,
}

/// Allocates among the linked hubs.
#[derive(Debug)]
pub(crate) struct Allocator {
    linked: Current<Linked>,
    latencies: Arc<LatencyTable>,
    webhooks: WebhookClient,
    /// The calls of webhooks that allocated a hub, and those that did not.
    webhook_calls: [AtomicU64; 2],
}

/// The linked hubs, and the policy for enrollments without one.
#[derive(Debug)]
struct Linked {
    hubs: Vec<LinkedHub>,
    default_policy: AllocationPolicyKind,
}

impl Allocator {
    pub(crate) fn new(
        hubs: Vec<LinkedHub>,
        default_policy: AllocationPolicyKind,
        latencies: LatencyTable,
        webhooks: WebhookClient,
    ) -> Self {
        Self {
            linked: Current::new(Linked {
                hubs,
                default_policy,
            }),
            latencies: Arc::new(latencies),
            webhooks,
            webhook_calls: Default::default(),
        }
    }

    /// Replaces the linked hubs and the policy for enrollments without one.
    pub(crate) fn link(&self, hubs: Vec<LinkedHub>, default_policy: AllocationPolicyKind) {
        self.linked.set(Linked {
            hubs,
            default_policy,
        });
    }

    /// The number of calls of webhooks that allocated a hub, and of those that did not.
    #[cfg(feature = "control")]
    pub(crate) fn webhook_calls(&self) -> (u64, u64) {
        let [allocated, failed] = &self.webhook_calls;
        (
            allocated.load(Ordering::Relaxed),
            failed.load(Ordering::Relaxed),
        )
    }

    /// The linked hubs, and the policy for enrollments without one.
    pub(crate) fn linked_hubs(&self) -> (Vec<LinkedHub>, AllocationPolicyKind) {
        let linked = self.linked.get();
        (linked.hubs.clone(), linked.default_policy.clone())
    }

    pub(crate) fn hub_names(&self) -> Vec<HubHostname> {
        let linked = self.linked.get();
        let hubs = linked.hubs.iter().map(|hub| hub.hostname.clone());
        hubs.collect()
    }

    /// Selects a hub. `keep` is the only candidate for a device that must stay at its hub; a webhook is called even then.
    pub(crate) async fn allocate(
        &self,
        enrollment: &DeviceEnrollment,
        device: DeviceRuntimeContext,
        keep: Option<&HubHostname>,
    ) -> Result<Allocation, ServiceFailure> {
        let terms = enrollment.terms();
        let linked = self.linked.get();
        let kind = linked.kind(&terms);
        let candidates = match keep {
            Some(hub) => vec![hub.clone()],
            None => linked.candidates(&terms, kind),
        };
        if candidates.is_empty() {
            return Err(not_specified(
                "None of the linked IoT hubs is allowed by the enrollment.",
            ));
        }
        let policy = self.policy(&linked, kind, &terms, &candidates)?;
        let shown = match kind {
            AllocationPolicyKind::Custom => enrollment.for_webhook(),
            _ => enrollment.named(),
        };
        let request = AllocationRequest::new(shown, device, candidates);
        let allocation = policy.allocate(&request).await;
        if *kind == AllocationPolicyKind::Custom {
            let [allocated, failed] = &self.webhook_calls;
            let calls = if allocation.is_ok() {
                allocated
            } else {
                failed
            };
            calls.fetch_add(1, Ordering::Relaxed);
        }
        let allocation = allocation.map_err(|rejection| {
            ServiceFailure::new(
                rejection
                    .error_code()
                    .unwrap_or(ErrorCode::CUSTOM_ALLOCATION_FAILED),
                rejection.message().to_owned(),
            )
        })?;
        let answer = AllocationResponse::from(allocation);
        if let Some(payload) = &answer.payload {
            json::check_depth(payload)
                .map_err(|error| webhook_failed(&format!("the payload in the answer: {error}")))?;
        }
        let chosen = request.linked_hubs.into_iter();
        match chosen
            .into_iter()
            .find(|hub| *hub == answer.iot_hub_host_name)
        {
            // The name as it was linked, because the webhook may return it in another case.
            Some(hub) => Ok(Allocation {
                hub,
                initial_twin: answer.initial_twin,
                payload: answer.payload,
            }),
            None => Err(webhook_failed(
                "the hub in the answer is not one of the linked hubs",
            )),
        }
    }

    fn policy(
        &self,
        linked: &Linked,
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
                "The static allocation policy requires one IoT hub, but several are linked.",
            )),
            (AllocationPolicyKind::GeoLatency, _) => Ok(Box::new(
                LowestLatency::by(Arc::clone(&self.latencies))
                    .among_equals(linked.evenly_weighted()),
            )),
            _ => Ok(Box::new(linked.evenly_weighted())),
        }
    }
}

impl Linked {
    /// The policy of the enrollment or of the instance. A hub in `iotHubHostName`, the field of the oldest api-versions, means
    /// static allocation.
    fn kind<'a>(&'a self, terms: &Terms<'a>) -> &'a AllocationPolicyKind {
        match (terms.allocation_policy, terms.iot_hub_host_name) {
            (Some(policy), _) => policy,
            (None, Some(_)) => &AllocationPolicyKind::Static,
            (None, None) => &self.default_policy,
        }
    }

    /// The hubs that the enrollment names, in its order, or all linked hubs. A hub that is not linked any more is left out. A
    /// hub without `applyAllocationPolicy` is left out unless the policy is static or custom.
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
    let message = sentence(format!("Custom allocation failed: {reason}"));
    ServiceFailure::new(ErrorCode::CUSTOM_ALLOCATION_FAILED, message)
}
