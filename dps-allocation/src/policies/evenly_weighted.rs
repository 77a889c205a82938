//! Devices spread over the linked hubs by weight, each always to the same one.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use async_trait::async_trait;
use dps_types::{AllocationRequest, ErrorCode, HubHostname, RegistrationId};

use super::draw::draw;
use crate::{Allocation, AllocationPolicy, Rejection};

/// Spreads devices over the request's linked hubs in proportion to the hubs' weights.
///
/// The choice depends on the registration id, without regard to case, on the linked hubs and on their weights, and on
/// nothing else: every instance of a webhook makes the same one. When a hub is unlinked only its own devices move, and
/// when one is linked it takes its share from all others.
///
/// Weighted rendezvous hashing: every hub draws *u* in (0, 1) from SHA-256 of registration id and hub, and the greatest
/// -*weight* / ln *u* wins. How DPS itself computes its *evenly weighted distribution* is not published.
#[derive(Debug, Clone, Default)]
pub struct EvenlyWeighted {
    weights: BTreeMap<HubHostname, u32>,
}

impl EvenlyWeighted {
    /// The weight of a hub that was given none.
    pub const DEFAULT_WEIGHT: u32 = 1;
    /// The greatest weight that DPS knows.
    pub const MAX_WEIGHT: u32 = 1000;

    /// All hubs weigh the same.
    pub fn new() -> Self {
        Self::default()
    }

    /// Gives a hub a weight from 1 to [`Self::MAX_WEIGHT`]; what is outside counts as the nearer of the two.
    #[must_use]
    pub fn with_weight(mut self, hub: HubHostname, weight: u32) -> Self {
        self.weights.insert(hub, weight.clamp(1, Self::MAX_WEIGHT));
        self
    }

    /// The hub for this device among these, `None` when there are none.
    pub(super) fn choose<'a>(
        &self,
        registration_id: &RegistrationId,
        hubs: &'a [HubHostname],
    ) -> Option<&'a HubHostname> {
        let registration_id = registration_id.to_lowercase();
        hubs.iter()
            .map(|hub| (self.score(&registration_id, hub), hub))
            .max_by(by_score_then_name)
            .map(|(_, hub)| hub)
    }

    fn score(&self, registration_id: &str, hub: &HubHostname) -> f64 {
        let weight = self
            .weights
            .get(hub)
            .copied()
            .unwrap_or(Self::DEFAULT_WEIGHT);
        -f64::from(weight) / draw(registration_id, &hub.to_lowercase()).ln()
    }
}

#[async_trait]
impl AllocationPolicy for EvenlyWeighted {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        self.choose(request.registration_id(), &request.linked_hubs)
            .map(Allocation::to)
            .ok_or_else(|| {
                Rejection::new("no hub is linked").with_error_code(ErrorCode::HUB_NOT_SPECIFIED)
            })
    }
}

fn by_score_then_name(one: &(f64, &HubHostname), other: &(f64, &HubHostname)) -> Ordering {
    one.0.total_cmp(&other.0).then_with(|| one.1.cmp(other.1))
}
