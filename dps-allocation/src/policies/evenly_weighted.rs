//! A policy that distributes devices over the linked hubs by weight, each device always to the same hub.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use async_trait::async_trait;
use dps_types::{AllocationRequest, ErrorCode, HubHostname, RegistrationId};

use super::draw::draw;
use crate::{Allocation, AllocationPolicy, Rejection};

/// Distributes devices over the request's linked hubs in proportion to the weights of the hubs.
///
/// The choice depends only on the registration id, ignoring case, on the linked hubs and on their weights: every instance
/// of a webhook makes the same choice. When a hub is unlinked, only its own devices move. When a hub is linked, devices of
/// all other hubs move to it, in proportion.
///
/// The algorithm is weighted rendezvous hashing: each hub has a number *u* in (0, 1) from SHA-256 of registration id and
/// hub, and the hub with the greatest -*weight* / ln *u* is chosen. How DPS computes its own *evenly weighted distribution*
/// is not published.
///
/// ```
/// # let (north, south): (dps_types::HubHostname, dps_types::HubHostname) =
/// #     ("north.azure-devices.net".parse()?, "south.azure-devices.net".parse()?);
/// use dps_allocation::policies::EvenlyWeighted;
///
/// let policy = EvenlyWeighted::new().with_weight(north, 3).with_weight(south, 1);
/// # drop(policy);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct EvenlyWeighted {
    weights: BTreeMap<HubHostname, u32>,
}

impl EvenlyWeighted {
    /// The default weight of a hub.
    pub const DEFAULT_WEIGHT: u32 = 1;
    /// The greatest weight that DPS accepts.
    pub const MAX_WEIGHT: u32 = 1000;

    /// Gives all hubs the same weight.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the weight of a hub, from 1 to [`Self::MAX_WEIGHT`]. Values outside are clamped.
    #[must_use]
    pub fn with_weight(mut self, hub: HubHostname, weight: u32) -> Self {
        self.weights.insert(hub, weight.clamp(1, Self::MAX_WEIGHT));
        self
    }

    /// Chooses a hub for this device; `None` if there are no hubs.
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
            .map(|hub| Allocation::to(hub.clone()))
            .ok_or_else(|| {
                Rejection::new("no hub is linked").with_error_code(ErrorCode::HUB_NOT_SPECIFIED)
            })
    }
}

fn by_score_then_name(one: &(f64, &HubHostname), other: &(f64, &HubHostname)) -> Ordering {
    one.0.total_cmp(&other.0).then_with(|| one.1.cmp(other.1))
}
