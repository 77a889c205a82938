//! One decision of each ready-made policy, for the documented request with fifty more linked hubs.

#![allow(clippy::unwrap_used, reason = "a benchmark fails by panicking")]

use std::hint::black_box;
use std::time::Duration;

use async_trait::async_trait;
use criterion::{Criterion, criterion_group, criterion_main};
use dps_allocation::policies::{
    ByPayload, ByRegistrationId, CapacityAware, DeviceCounter, EvenlyWeighted, Fallback, Fixed,
    LatencyTable, LowestLatency, RollOut, Sticky,
};
use dps_allocation::{AllocationPolicy, Rejection};
use dps_benches::ALLOCATION_REQUEST;
use dps_types::{AllocationRequest, HubHostname};

fn policies(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let mut request: AllocationRequest = serde_json::from_str(ALLOCATION_REQUEST).unwrap();
    let first = request.linked_hubs[0].clone();
    let fixed = || Fixed::to(first.clone());
    let more = (0..50).map(|n| format!("hub-{n:02}.azure-devices.net").parse().unwrap());
    request.linked_hubs.extend(more);
    let hubs = request.linked_hubs.clone();
    let table = hubs
        .iter()
        .zip(10..)
        .fold(LatencyTable::new(), |table, (hub, ms)| {
            table.with("", hub.clone(), Duration::from_millis(ms))
        });
    let capacity = CapacityAware::new(Empty, fixed());
    let capacity = hubs
        .iter()
        .fold(capacity, |policy, hub| policy.with_capacity(hub.clone(), 1));
    let policies: [(&str, Box<dyn AllocationPolicy>); 9] = [
        ("fixed", Box::new(fixed())),
        ("evenly_weighted", Box::new(EvenlyWeighted::new())),
        ("lowest_latency", Box::new(LowestLatency::by(table))),
        (
            "by_payload",
            Box::new(
                ByPayload::field("model")
                    .when("toaster", fixed())
                    .otherwise(fixed()),
            ),
        ),
        (
            "by_registration_id",
            Box::new(
                ByRegistrationId::new()
                    .when("^toaster-[0-9]+$", fixed())
                    .unwrap()
                    .otherwise(fixed()),
            ),
        ),
        ("sticky", Box::new(Sticky::or(fixed()))),
        (
            "roll_out",
            Box::new(RollOut::percent(50.0, first.clone()).otherwise(fixed())),
        ),
        ("capacity_aware", Box::new(capacity)),
        (
            "fallback",
            Box::new(Fallback::new(fixed()).or(EvenlyWeighted::new())),
        ),
    ];
    let mut group = criterion.benchmark_group("policies");
    for (name, policy) in &policies {
        runtime.block_on(policy.allocate(&request)).unwrap();
        group.bench_function(*name, |bencher| {
            bencher
                .to_async(&runtime)
                .iter(|| policy.allocate(black_box(&request)));
        });
    }
    group.finish();
}

/// Every hub has capacity.
struct Empty;

#[async_trait]
impl DeviceCounter for Empty {
    async fn devices(&self, _hub: &HubHostname) -> Result<u64, Rejection> {
        Ok(0)
    }
}

criterion_group!(benches, policies);
criterion_main!(benches);
