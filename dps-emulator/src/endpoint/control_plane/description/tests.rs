//! A description is refused, or can be stored; and a resource can be written back.

use proptest::prelude::*;

use super::*;
use crate::instances::{InstanceName, Resource};
use crate::state::{decode, encode};

fn empty() -> Record {
    Record {
        name: "suite-1".parse::<InstanceName>().expect("a name"),
        id_scope: "0ne00000002".parse().expect("an id scope"),
        resource: Resource::default(),
        policies: Vec::new(),
        hubs: Vec::new(),
        allocation_policy: AllocationPolicyKind::Hashed,
        local_auth_disabled: false,
        etag: "1".parse().expect("an etag"),
        is_deleted: false,
    }
}

fn read(document: Value, before: Record) -> Result<Record, ServiceError> {
    let description: Result<Description, _> = serde_json::from_value(document);
    let description = description.map_err(|error| ServiceError::invalid(error.to_string()))?;
    description.into_record(before)
}

#[test]
fn a_value_that_is_nested_too_deep_is_refused() {
    let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
    for (levels, is_accepted) in [(64, true), (65, false), (120, false)] {
        for (sku, properties) in [
            (json!({ "name": "S1" }), json!({ "later": nested(levels) })),
            (nested(levels), json!({})),
        ] {
            let document = json!({ "location": "l", "sku": sku, "properties": properties });
            assert_eq!(read(document, empty()).is_ok(), is_accepted, "{levels}");
        }
    }
}

fn records() -> impl Strategy<Value = Record> {
    let hub = ("[a-z]{3,9}", 1..=1000u32, any::<bool>(), any::<bool>());
    let policy = ("[a-z]{1,9}", any::<bool>());
    (
        prop::collection::btree_map("[a-z]{1,3}", "[ -~]{0,9}", 0..3),
        prop::collection::vec(hub, 0..3),
        prop::collection::vec(policy, 1..3),
        0..3usize,
        any::<bool>(),
    )
        .prop_map(|(tags, hubs, policies, policy, disabled)| {
            let mut record = empty();
            record.resource.tags = tags;
            record.resource.sku = json!({ "name": "S1", "capacity": 1 });
            let properties = &mut record.resource.properties;
            properties.insert("enableDataResidency".to_owned(), disabled.into());
            record.local_auth_disabled = disabled;
            record.allocation_policy = [
                AllocationPolicyKind::Hashed,
                AllocationPolicyKind::GeoLatency,
                AllocationPolicyKind::Static,
            ][policy]
                .clone();
            let hubs = hubs.into_iter().enumerate();
            record.hubs = hubs
                .map(
                    |(number, (name, weight, applies_policy, is_here))| HubRecord {
                        hostname: format!("{name}-{number}").parse().expect("a hub"),
                        policy: "iothubowner".to_owned(),
                        key: StoredKey::generate(),
                        weight,
                        applies_policy,
                        location: is_here.then(|| "eastus".to_owned()),
                    },
                )
                .collect();
            let policies = policies.into_iter().enumerate();
            record.policies = policies
                .map(|(number, (name, all))| {
                    let permissions = match all {
                        true => OWNER_PERMISSIONS.to_vec(),
                        false => vec![Permission::EnrollmentRead],
                    };
                    PolicyRecord::new(format!("{name}{number}"), permissions)
                })
                .collect();
            record
        })
}

/// A valid description with another value in one place.
fn damaged() -> impl Strategy<Value = Value> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[ -~]{0,20}".prop_map(Value::from),
        "(HostName|SharedAccessKey|SharedAccessKeyName|=|;|[*]{4}|hub-a){0,12}"
            .prop_map(Value::from),
        Just(json!([])),
        Just(json!({})),
        Just(json!([{}])),
    ];
    let places = [
        "/location",
        "/tags",
        "/tags/a",
        "/sku",
        "/properties",
        "/properties/iotHubs",
        "/properties/iotHubs/0",
        "/properties/iotHubs/0/connectionString",
        "/properties/iotHubs/0/allocationWeight",
        "/properties/iotHubs/0/applyAllocationPolicy",
        "/properties/allocationPolicy",
        "/properties/authorizationPolicies",
        "/properties/authorizationPolicies/0/keyName",
        "/properties/authorizationPolicies/0/rights",
        "/properties/authorizationPolicies/0/primaryKey",
        "/properties/disableLocalAuth",
        "/properties/other",
    ];
    (prop::sample::select(places.to_vec()), value).prop_map(|(place, value)| {
        let mut document = json!({
            "location": "eastus",
            "tags": { "a": "b" },
            "sku": { "name": "S1" },
            "properties": {
                "iotHubs": [{
                    "connectionString": "HostName=hub-a;SharedAccessKeyName=p;SharedAccessKey=QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVpBQkNERUY=",
                    "allocationWeight": 1,
                    "applyAllocationPolicy": true,
                }],
                "allocationPolicy": "Static",
                "authorizationPolicies": [{ "keyName": "p", "rights": "EnrollmentRead", "primaryKey": "" }],
                "disableLocalAuth": true,
                "other": 1,
            },
        });
        *document.pointer_mut(place).expect("a place") = value;
        document
    })
}

proptest! {
    #[test]
    fn a_resource_that_is_written_back_changes_nothing(record in records()) {
        let shown = resource(&record);
        for policy in &record.policies {
            let key = policy.primary.0.to_base64();
            prop_assert!(!shown.to_string().contains(&**key));
        }
        let mut again = read(shown, record.clone()).expect("valid");
        // The tier is the answer's, and is kept.
        prop_assert_eq!(again.resource.sku["tier"].as_str(), Some("Standard"));
        again.resource.sku = record.resource.sku.clone();
        // So is the access over the network.
        again.resource.properties.remove("publicNetworkAccess");
        prop_assert_eq!(again, record);
    }

    #[test]
    fn any_description_is_refused_or_can_be_stored(document in damaged()) {
        match read(document, empty()) {
            Ok(record) => {
                let stored = encode(&record).expect("it can be read again");
                let again: Record = decode(&stored).expect("a record");
                prop_assert_eq!(again, record);
            }
            Err(error) => prop_assert_eq!(error.status(), 400),
        }
    }
}

#[test]
fn a_masked_key_needs_one_known_hub() {
    for text in [
        "HostName=hub-a;SharedAccessKey=****",
        "SharedAccessKey=****",
        "HostName=hub-a;HostName=hub-b;SharedAccessKey=****",
        "HostName=hub-a;SharedAccessKey=****;SharedAccessKey=****",
    ] {
        let error = credentials(text, &[]).expect_err(text);
        assert_eq!(error.status(), 400, "{text}");
    }
}
