//! Policies that decide for some devices and call another policy for the rest: by id, by current hub, by percentage, by capacity.

use std::collections::HashMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dps_allocation::policies::{
    ByRegistrationId, CapacityAware, DeviceCounter, EvenlyWeighted, RollOut, Sticky,
};
use dps_allocation::{ErrorKind, Rejection, from_fn};
use dps_types::HubHostname;
use futures_util::FutureExt as _;
use proptest::prelude::*;
use serde_json::json;

use crate::common::{HUB_A, HUB_B, ask, request, request_with, to};

const HUB_C: &str = "hub-c.azure-devices.net";

#[tokio::test]
async fn the_first_pattern_that_matches_the_id_decides() {
    let policy = ByRegistrationId::new()
        .when("^toaster-[0-9]+$", to(HUB_A))
        .unwrap()
        .when("toaster", to(HUB_B))
        .unwrap()
        .otherwise(to(HUB_C));
    for (id, hub) in [
        ("toaster-17", HUB_A),
        ("Toaster-17", HUB_A),
        ("toaster-17b", HUB_B),
        ("my-toaster-1", HUB_B),
        ("kettle", HUB_C),
    ] {
        assert_eq!(
            ask(&policy, &request(id, &[HUB_A, HUB_B, HUB_C]))
                .await
                .unwrap(),
            hub,
            "{id}"
        );
    }
}

#[tokio::test]
async fn an_id_that_matches_no_pattern_is_rejected() {
    let policy = ByRegistrationId::new().when("^a", to(HUB_A)).unwrap();
    let rejected = ask(&policy, &request("b1", &[HUB_A])).await.unwrap_err();
    assert_eq!(rejected, r#"no pattern matches the registration id "b1""#);

    let error = ByRegistrationId::new().when("(", to(HUB_A)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidPattern);
    assert_eq!(
        error.to_string(),
        r#""(" is not a valid regular expression"#
    );
}

#[tokio::test]
async fn a_device_stays_at_its_hub_while_that_hub_is_linked() {
    let policy = Sticky::or(to(HUB_B));
    let at_a =
        json!({ "currentIotHubHostName": "HUB-A.azure-devices.net", "currentDeviceId": "d" });
    let stays = ask(&policy, &request_with("d", &[HUB_A, HUB_B], at_a.clone())).await;
    assert_eq!(stays.unwrap().to_lowercase(), HUB_A);
    let unlinked = ask(&policy, &request_with("d", &[HUB_B, HUB_C], at_a)).await;
    assert_eq!(unlinked.unwrap(), HUB_B);
    assert_eq!(
        ask(&policy, &request("d", &[HUB_A, HUB_B])).await.unwrap(),
        HUB_B
    );
}

fn goes_to_c(percent: f64, id: &str) -> bool {
    let policy = RollOut::percent(percent, HUB_C.parse().expect("a hub")).otherwise(to(HUB_A));
    let request = request(id, &[HUB_A, HUB_C]);
    let hub = ask(&policy, &request).now_or_never();
    hub.expect("does not wait").expect("answers") == HUB_C
}

#[test]
fn a_roll_out_assigns_its_percentage() {
    for percent in [0.0, 1.0, 10.0, 50.0, 99.0, 100.0] {
        let assigned = (0..10_000)
            .filter(|n| goes_to_c(percent, &format!("device-{n}")))
            .count();
        // Six standard deviations of a binomial distribution; exact at 0 and 100 %.
        let spread = 6.0 * (10_000.0 * percent / 100.0 * (1.0 - percent / 100.0)).sqrt();
        let off = (assigned as f64 - percent * 100.0).abs();
        assert!(off <= spread, "{percent} %: {assigned} of 10000");
    }
    for (percent, assigned) in [
        (-1.0, false),
        (f64::NAN, false),
        (1e9, true),
        (f64::INFINITY, true),
    ] {
        assert_eq!(goes_to_c(percent, "device"), assigned, "{percent}");
    }
}

proptest! {
    #[test]
    fn a_larger_percentage_contains_a_smaller_one(id in "[a-z0-9-]{1,40}[a-z0-9]", one in 0.0..100.0, more in 0.0..100.0) {
        let (less, more): (f64, f64) = if one < more { (one, more) } else { (more, one) };
        prop_assert!(!goes_to_c(less, &id) || goes_to_c(more, &id));
        prop_assert_eq!(goes_to_c(less, &id), goes_to_c(less, &id.to_uppercase()));
    }
}

#[tokio::test]
async fn a_roll_out_requires_its_hub_and_a_policy_for_the_other_devices() {
    let policy = RollOut::percent(100.0, HUB_C.parse().unwrap()).otherwise(to(HUB_A));
    assert_eq!(
        ask(&policy, &request("d", &[HUB_A, HUB_B])).await.unwrap(),
        HUB_A
    );
    let policy = RollOut::percent(0.0, HUB_C.parse().unwrap());
    let rejected = ask(&policy, &request("d", &[HUB_A, HUB_C]))
        .await
        .unwrap_err();
    assert_eq!(
        rejected,
        "the device is not among the 0 % that are assigned to hub-c.azure-devices.net"
    );
}

struct Counts(Mutex<HashMap<String, u64>>, AtomicUsize);

#[async_trait]
impl DeviceCounter for Counts {
    async fn devices(&self, hub: &HubHostname) -> Result<u64, Rejection> {
        self.1.fetch_add(1, Ordering::Relaxed);
        let counts = self.0.lock().expect("not poisoned");
        let count = counts.get(hub.as_str()).copied();
        count.ok_or_else(|| Rejection::unavailable("the counter is not reachable"))
    }
}

fn counts(counts: &[(&str, u64)]) -> Counts {
    let counts = counts
        .iter()
        .map(|(hub, count)| ((*hub).to_owned(), *count));
    Counts(Mutex::new(counts.collect()), AtomicUsize::new(0))
}

#[tokio::test]
async fn a_full_hub_gets_no_more_devices() {
    let counter = std::sync::Arc::new(counts(&[(HUB_A, 10), (HUB_B, 9)]));
    let policy = CapacityAware::new(counter.clone(), EvenlyWeighted::new())
        .with_capacity(HUB_A.parse().unwrap(), 10)
        .with_capacity(HUB_B.parse().unwrap(), 10);
    for n in 0..50 {
        let hub = ask(&policy, &request(&format!("d{n}"), &[HUB_A, HUB_B])).await;
        assert_eq!(hub.unwrap(), HUB_B);
    }
    // Both hubs have capacity again, and both are chosen.
    counter.0.lock().unwrap().insert(HUB_A.to_owned(), 0);
    let mut hubs = HashMap::new();
    for n in 0..50 {
        let hub = ask(&policy, &request(&format!("d{n}"), &[HUB_A, HUB_B]))
            .await
            .unwrap();
        *hubs.entry(hub).or_insert(0) += 1;
    }
    assert_eq!(hubs.len(), 2, "{hubs:?}");
}

#[tokio::test]
async fn a_hub_without_a_capacity_is_not_counted_and_never_full() {
    let counter = std::sync::Arc::new(counts(&[]));
    let policy = CapacityAware::new(
        counter.clone(),
        from_fn(|request| {
            Ok(dps_allocation::Allocation::to(
                request.linked_hubs[0].clone(),
            ))
        }),
    );
    assert_eq!(ask(&policy, &request("d", &[HUB_B])).await.unwrap(), HUB_B);
    assert_eq!(counter.1.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_device_can_stay_at_a_full_hub() {
    let policy = CapacityAware::new(counts(&[(HUB_A, 10)]), Sticky::or(to(HUB_B)))
        .with_capacity(HUB_A.parse().unwrap(), 10);
    let at_a = json!({ "currentIotHubHostName": HUB_A, "currentDeviceId": "d" });
    assert_eq!(
        ask(&policy, &request_with("d", &[HUB_A, HUB_B], at_a))
            .await
            .unwrap(),
        HUB_A
    );
}

#[tokio::test]
async fn full_hubs_and_a_failed_counter_are_503() {
    let policy = CapacityAware::new(counts(&[(HUB_A, 11)]), to(HUB_A))
        .with_capacity(HUB_A.parse().unwrap(), 10);
    let request = request("d", &[HUB_A]);
    let full = dps_allocation::AllocationPolicy::allocate(&policy, &request)
        .await
        .unwrap_err();
    assert_eq!(
        (full.status(), full.message()),
        (503, "every linked hub is full")
    );

    let policy =
        CapacityAware::new(counts(&[]), to(HUB_A)).with_capacity(HUB_A.parse().unwrap(), 10);
    let failed = dps_allocation::AllocationPolicy::allocate(&policy, &request)
        .await
        .unwrap_err();
    assert_eq!(
        (failed.status(), failed.message()),
        (503, "the counter is not reachable")
    );
}
