//! Distribution over hubs: in proportion, always the same, and with as few moves as possible.

use std::collections::HashMap;

use dps_allocation::AllocationPolicy as _;
use dps_allocation::policies::EvenlyWeighted;
use dps_types::ErrorCode;
use futures_util::FutureExt as _;
use proptest::prelude::*;

use crate::common::request;

fn hub(policy: &EvenlyWeighted, registration_id: &str, hubs: &[&str]) -> String {
    let request = request(registration_id, hubs);
    let answer = policy.allocate(&request).now_or_never();
    answer
        .expect("does not wait")
        .expect("a hub")
        .hub()
        .to_string()
}

fn weighted(weights: &[(&str, u32)]) -> EvenlyWeighted {
    weights
        .iter()
        .fold(EvenlyWeighted::new(), |policy, (hub, weight)| {
            policy.with_weight(hub.parse().expect("a hub"), *weight)
        })
}

/// The expected hubs were computed independently of this crate. Devices would move if they changed.
#[test]
fn the_choice_never_changes() {
    let hubs = [
        "hub-a.azure-devices.net",
        "hub-b.azure-devices.net",
        "hub-c.azure-devices.net",
    ];
    let even = EvenlyWeighted::new();
    let weighted = weighted(&[(hubs[1], 10)]);
    for (registration_id, evenly, heavy_b) in VECTORS {
        assert_eq!(
            hub(&even, registration_id, &hubs),
            hubs[*evenly],
            "{registration_id}"
        );
        assert_eq!(
            hub(&weighted, registration_id, &hubs),
            hubs[*heavy_b],
            "{registration_id}"
        );
    }
}

const VECTORS: &[(&str, usize, usize)] = &[
    ("dev-007", 1, 1),
    ("toaster-1", 1, 1),
    ("toaster-2", 0, 1),
    ("sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6", 0, 1),
    ("HeatPump.17", 1, 1),
    ("Line:4-", 2, 1),
    ("x", 2, 1),
    ("sensor-12345", 0, 1),
];

#[tokio::test]
async fn a_request_without_linked_hubs_is_rejected() {
    let rejection = EvenlyWeighted::new()
        .allocate(&request("dev-1", &[]))
        .await
        .unwrap_err();
    assert_eq!(rejection.error_code(), Some(ErrorCode::HUB_NOT_SPECIFIED));
    assert_eq!(rejection.status(), 400);
}

#[test]
fn weights_are_clamped_to_the_range_of_dps() {
    // 0 is clamped to 1, and 5000 to 1000.
    let outside = weighted(&[("hub-a", 0), ("hub-b", 5000)]);
    let nearest = weighted(&[("hub-a", 1), ("hub-b", 1000)]);
    let mut seen = HashMap::new();
    for device in 0..5000 {
        let id = format!("dev-{device}");
        let chosen = hub(&outside, &id, &["hub-a", "hub-b"]);
        assert_eq!(chosen, hub(&nearest, &id, &["hub-a", "hub-b"]));
        *seen.entry(chosen).or_insert(0) += 1;
    }
    assert!(seen["hub-a"] > 0, "a weight of 0 would never be chosen");
}

#[test]
fn devices_are_distributed_in_proportion() {
    const DEVICES: u32 = 20_000;
    for weights in [
        &[("hub-a", 1), ("hub-b", 1), ("hub-c", 1)][..],
        &[("hub-a", 1), ("hub-b", 2), ("hub-c", 7)],
        &[
            ("hub-a", 1000),
            ("hub-b", 500),
            ("hub-c", 250),
            ("hub-d", 250),
        ],
    ] {
        let policy = weighted(weights);
        let hubs: Vec<_> = weights.iter().map(|(hub, _)| *hub).collect();
        let mut seen: HashMap<String, u32> = HashMap::new();
        for device in 0..DEVICES {
            *seen
                .entry(hub(&policy, &format!("sensor-{device}"), &hubs))
                .or_default() += 1;
        }
        let total: u32 = weights.iter().map(|(_, weight)| weight).sum();
        for (name, weight) in weights {
            let share = f64::from(*weight) / f64::from(total);
            let expected = f64::from(DEVICES) * share;
            // Five standard deviations of a binomial distribution. The ids are fixed, so the result is always the same.
            let bound = 5.0 * (expected * (1.0 - share)).sqrt();
            let count = f64::from(seen[*name]);
            assert!(
                (count - expected).abs() < bound,
                "{name}: {count} of {expected}"
            );
        }
    }
}

fn hubs() -> impl Strategy<Value = Vec<(String, u32)>> {
    prop::collection::btree_map("[a-z]{1,8}", 1..=1000_u32, 2..12)
        .prop_map(|hubs| hubs.into_iter().collect())
}

fn registration_id() -> impl Strategy<Value = String> {
    "[A-Za-z0-9._:-]{0,40}[A-Za-z0-9-]"
}

proptest! {
    #[test]
    fn unlinking_a_hub_moves_only_its_own_devices(
        hubs in hubs(),
        ids in prop::collection::vec(registration_id(), 1..40),
        gone in any::<prop::sample::Index>(),
    ) {
        let weights: Vec<_> = hubs.iter().map(|(hub, weight)| (hub.as_str(), *weight)).collect();
        let policy = weighted(&weights);
        let before: Vec<_> = weights.iter().map(|(hub, _)| *hub).collect();
        let mut after = before.clone();
        let gone = after.remove(gone.index(before.len()));
        for id in &ids {
            let old = hub(&policy, id, &before);
            let new = hub(&policy, id, &after);
            prop_assert!(new == old || old == gone, "{id} moved from {old} to {new} when {gone} was unlinked");
            prop_assert_ne!(new, gone);
        }
    }

    #[test]
    fn a_greater_weight_moves_devices_only_to_that_hub(
        hubs in hubs(),
        ids in prop::collection::vec(registration_id(), 1..40),
    ) {
        let weights: Vec<_> = hubs.iter().map(|(hub, weight)| (hub.as_str(), *weight)).collect();
        let names: Vec<_> = weights.iter().map(|(hub, _)| *hub).collect();
        let before = weighted(&weights);
        let after = before.clone().with_weight(names[0].parse().expect("a hub"), 1000);
        for id in &ids {
            let old = hub(&before, id, &names);
            let new = hub(&after, id, &names);
            prop_assert!(new == old || new == names[0], "{id} moved from {old} to {new}");
        }
    }

    #[test]
    fn the_case_of_ids_and_the_order_of_hubs_do_not_matter(
        hubs in hubs(),
        id in registration_id(),
        shuffled in any::<prop::sample::Index>(),
    ) {
        let policy = EvenlyWeighted::new();
        let names: Vec<_> = hubs.iter().map(|(hub, _)| hub.as_str()).collect();
        let chosen = hub(&policy, &id, &names);
        prop_assert_eq!(&chosen, &hub(&policy, &id.to_uppercase(), &names));
        prop_assert_eq!(&chosen, &hub(&policy, &id.to_lowercase(), &names));

        let mut turned = names.clone();
        turned.rotate_left(shuffled.index(names.len()));
        prop_assert_eq!(&chosen, &hub(&policy, &id, &turned));
        turned.push(names[0]);
        prop_assert_eq!(&chosen, &hub(&policy, &id, &turned), "a hub that is listed twice has the same weight");

        let upper: Vec<_> = names.iter().map(|name| name.to_uppercase()).collect();
        let upper: Vec<_> = upper.iter().map(String::as_str).collect();
        prop_assert_eq!(chosen.to_uppercase(), hub(&policy, &id, &upper));
    }
}
