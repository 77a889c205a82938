//! Registration records of devices that registered with Microsoft's device client.

use crate::{Emulator, Enrollment, HEATPUMPS, Kind, Outcome, Proof, Scenario, ServiceSdk};
use dps_types::{EnrollmentGroupId, SymmetricKey};
use serde_json::{Value, json};

use super::{etag, group, not_found};

pub(crate) async fn a_registered_device(sdk: ServiceSdk) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    let scenario = Scenario::individual_key();
    let Enrollment::Individual(enrolled) = &scenario.enrollment else {
        panic!("an individual enrollment was expected: {scenario:?}");
    };
    let id = scenario.device.as_str();
    let document = serde_json::to_value(enrolled).unwrap();
    operator
        .put(Kind::Enrollments, &document, None)
        .await
        .unwrap();
    let (code, words) = not_found(Kind::Registrations);
    let none = operator.get(Kind::Registrations, id).await;
    operator.assert_refused(none, code, words);

    register(sdk, &emulator, &scenario).await;

    let state = operator.get(Kind::Registrations, id).await.unwrap();
    for (name, value) in [
        ("registrationId", id),
        ("assignedHub", HEATPUMPS),
        ("deviceId", "kitchen"),
        ("status", "assigned"),
        ("substatus", "initialAssignment"),
    ] {
        assert_eq!(state[name], value, "{state}");
    }
    let enrollment = operator.get(Kind::Enrollments, id).await.unwrap();
    assert_eq!(enrollment["registrationState"]["assignedHub"], HEATPUMPS);
    assert_eq!(enrollment["registrationState"]["status"], "assigned");

    let stale = operator
        .delete(Kind::Registrations, id, Some("c3RhbGU="))
        .await;
    operator.assert_refused(stale, 412_001, "Precondition failed.");
    operator
        .delete(Kind::Registrations, id, Some(etag(&state)))
        .await
        .unwrap();
    let none = operator.get(Kind::Registrations, id).await;
    operator.assert_refused(none, code, words);
    let enrollment = operator.get(Kind::Enrollments, id).await.unwrap();
    assert_eq!(enrollment["registrationState"]["status"], "unassigned");
    emulator.stop().await;
}

pub(crate) async fn the_devices_of_a_group(sdk: ServiceSdk) {
    let emulator = Emulator::start().await;
    let mut operator = sdk.owner(&emulator);
    // A group without devices.
    operator
        .put(Kind::EnrollmentGroups, &group("spare", &json!({})), None)
        .await
        .unwrap();
    let (group_id, key) = create_toasters(&mut operator).await;
    let all = ["toaster-1", "toaster-2", "toaster-3"];
    for id in all {
        let mut scenario = Scenario::group_key();
        scenario.device = id.parse().unwrap();
        scenario.proof = Proof::Key(key.derive_device_key(&scenario.device));
        register(sdk, &emulator, &scenario).await;
    }

    let asked = json!({ "group": group_id.as_str(), "pageSize": 2 });
    let found = operator.query(Kind::Registrations, asked).await.unwrap();
    let lengths: Vec<usize> = found.pages.iter().map(Vec::len).collect();
    assert_eq!(lengths, [2, 1]);
    let states: Vec<&Value> = found.pages.iter().flatten().collect();
    let mut ids: Vec<&str> = states
        .iter()
        .filter_map(|state| state["registrationId"].as_str())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, all);
    for state in states {
        let id = state["registrationId"].as_str().unwrap();
        assert_eq!(
            (&state["status"], &state["assignedHub"]),
            (&json!("assigned"), &json!(HEATPUMPS))
        );
        assert_eq!(*state, operator.get(Kind::Registrations, id).await.unwrap());
    }

    operator
        .delete(Kind::Registrations, "toaster-2", None)
        .await
        .unwrap();
    let asked = json!({ "group": group_id.as_str() });
    let left = operator.query(Kind::Registrations, asked).await.unwrap();
    assert_eq!(left.pages.iter().flatten().count(), 2);
    let spare = operator
        .query(Kind::Registrations, json!({ "group": "spare" }))
        .await
        .unwrap();
    assert_eq!(spare.pages.iter().flatten().count(), 0);
    emulator.stop().await;
}

/// Creates a group and returns its id and the primary key that the service generated.
async fn create_toasters(operator: &mut crate::Operator) -> (EnrollmentGroupId, SymmetricKey) {
    let fields = json!({ "allocationPolicy": "static", "iotHubs": [HEATPUMPS] });
    let made = operator
        .put(Kind::EnrollmentGroups, &group("toasters", &fields), None)
        .await
        .unwrap();
    let key = made["attestation"]["symmetricKey"]["primaryKey"]
        .as_str()
        .unwrap();
    (
        "toasters".parse().unwrap(),
        SymmetricKey::from_base64(key).unwrap(),
    )
}

/// Registers with the device client for the same language.
async fn register(sdk: ServiceSdk, emulator: &Emulator, scenario: &Scenario) {
    let outcome = sdk.device_client().register(emulator, scenario).await;
    assert!(matches!(outcome, Outcome::Assigned { .. }), "{outcome:?}");
}
