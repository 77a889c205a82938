//! Any JSON is read as a document or refused. A document that was read and written is read as the same document.

use std::fmt::Debug;

use dps_types::enrollment::{
    AttestationMechanism, EnrollmentGroup, IndividualEnrollment, InitialTwin, X509Attestation,
};
use dps_types::{
    AllocationRequest, AllocationResponse, BulkEnrollmentGroupOperation, BulkEnrollmentOperation,
    BulkOperationResult, DeviceRegistrationResult, DeviceRegistrationState, DeviceRuntimeContext,
    ErrorDetails, QuerySpecification, RegistrationOperationStatus, RegistrationRequest,
    TpmChallenge,
};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};

/// A field that has another name when it is written.
const RENAMED: [(&str, &str); 3] = [
    ("registrationStatus", "registrationState"),
    ("code", "errorCode"),
    ("errorMessage", "message"),
];

fn check<T: DeserializeOwned + Serialize + PartialEq + Debug>(document: &Value) {
    let Ok(read) = serde_json::from_value::<T>(document.clone()) else {
        return;
    };
    let written = serde_json::to_value(&read).expect("writable");
    let again: T = serde_json::from_value(written.clone()).expect("readable");
    assert_eq!(again, read);
    assert_eq!(serde_json::to_value(&again).expect("writable"), written);
    let fields = written.as_object().expect("an object");
    let there = |name: &str| fields.keys().any(|field| field.eq_ignore_ascii_case(name));
    for name in document.as_object().expect("an object").keys() {
        let renamed = RENAMED
            .iter()
            .find(|(from, _)| name.eq_ignore_ascii_case(from));
        assert!(
            there(name) || renamed.is_some_and(|(_, to)| there(to)),
            "{name} is lost: {document} -> {written}"
        );
    }
}

fn check_all(document: &Value) {
    check::<IndividualEnrollment>(document);
    check::<EnrollmentGroup>(document);
    check::<AttestationMechanism>(document);
    check::<X509Attestation>(document);
    check::<InitialTwin>(document);
    check::<RegistrationRequest>(document);
    check::<RegistrationOperationStatus>(document);
    check::<DeviceRegistrationResult>(document);
    check::<DeviceRegistrationState>(document);
    check::<TpmChallenge>(document);
    check::<AllocationRequest>(document);
    check::<AllocationResponse>(document);
    check::<DeviceRuntimeContext>(document);
    check::<BulkEnrollmentOperation>(document);
    check::<BulkEnrollmentGroupOperation>(document);
    check::<BulkOperationResult>(document);
    check::<ErrorDetails>(document);
    if let Ok(query) = serde_json::from_value::<QuerySpecification>(document.clone()) {
        assert_eq!(document["query"], query.query);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((any::<String>(), inner), 0..4).prop_map(object),
        ]
    })
}

fn object(fields: Vec<(String, Value)>) -> Value {
    Value::Object(Map::from_iter(fields))
}

/// Valid values under their names, so that many of the documents can be read.
fn field() -> impl Strategy<Value = (String, Value)> {
    let attestation =
        json!({"type": "symmetricKey", "symmetricKey": {"primaryKey": "k", "new": 1}});
    let device = json!({"registrationId": "d", "attestation": attestation});
    let group = json!({"enrollmentGroupId": "g", "attestation": attestation, "etag": null});
    let valid = [
        ("registrationId", json!("Dev-1")),
        ("enrollmentGroupId", json!("grp")),
        ("attestation", attestation),
        ("deviceId", json!("Dev#1")),
        ("iotHubHostName", json!("hub")),
        (
            "initialTwin",
            json!({"tags": {"a": 1}, "properties": {"desired": null, "x": 1}}),
        ),
        ("etag", json!("IjY5")),
        ("provisioningStatus", json!("Disabled")),
        ("createdDateTimeUtc", json!("2022-08-31T22:02:50.500Z")),
        ("iotHubs", json!(["a", "b"])),
        ("type", json!("X509")),
        (
            "x509",
            json!({"caReferences": {"primary": "p", "secondary": null}}),
        ),
        ("operationId", json!("4.x")),
        ("operationId", json!("")),
        ("status", json!("assigned")),
        ("status", json!("blacklisted")),
        (
            "registrationState",
            json!({"status": "assigned", "payload": 1, "new": {}}),
        ),
        ("registrationStatus", json!({"errorCode": 400207})),
        ("payload", json!({"a": [null]})),
        ("tpm", json!({"endorsementKey": "e"})),
        ("authenticationKey", json!("ADQA")),
        ("errorCode", json!(401_002)),
        ("errorCode", json!("rubbish")),
        ("code", json!(1)),
        ("message", json!("m")),
        ("errorMessage", json!("m")),
        ("timestampUtc", json!("never")),
        ("info", json!({"k": "v"})),
        ("individualEnrollment", device.clone()),
        ("enrollmentGroup", group.clone()),
        (
            "deviceRuntimeContext",
            json!({"registrationId": "d", "symmetricKey": {}, "x": null}),
        ),
        ("linkedHubs", json!(["a"])),
        ("currentIoTHubHostname", json!("hub")),
        ("enrollments", json!([device])),
        ("enrollmentGroups", json!([group])),
        ("mode", json!("Create")),
        ("isSuccessful", json!(false)),
        (
            "errors",
            json!([{"errorCode": 409_201, "errorStatus": "s"}]),
        ),
        ("query", json!("SELECT *")),
    ];
    let valid = proptest::sample::select(valid.to_vec());
    let name = valid.clone().prop_map(|(name, _)| name.to_owned());
    let spelled = (name.clone(), any::<u8>()).prop_map(|(name, way)| match way % 3 {
        0 => name.to_ascii_lowercase(),
        1 => name.to_ascii_uppercase(),
        _ => name,
    });
    prop_oneof![
        8 => valid.prop_map(|(name, value)| (name.to_owned(), value)),
        1 => name.prop_map(|name| (name, Value::Null)),
        1 => (spelled, any_json()),
        1 => (any::<String>(), any_json()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_document_has_a_stable_form_and_loses_no_field(fields in prop::collection::vec(field(), 0..24)) {
        check_all(&object(fields));
    }

    #[test]
    fn a_value_that_is_not_an_object_is_refused(value in any_json()) {
        if value.is_object() {
            check_all(&value);
        } else {
            prop_assert!(serde_json::from_value::<ErrorDetails>(value.clone()).is_err());
            prop_assert!(serde_json::from_value::<RegistrationRequest>(value).is_err());
        }
    }

    #[test]
    fn a_twin_keeps_any_json_verbatim(tags in any_json(), desired in any_json()) {
        let wrapped = json!({"tags": {"t": tags}, "properties": {"desired": {"d": desired}}});
        let twin: InitialTwin = serde_json::from_value(wrapped.clone()).expect("readable");
        prop_assert_eq!(serde_json::to_value(&twin).expect("writable"), wrapped);
    }
}

/// The generator must produce enough valid documents of each kind, or the other tests check nothing.
#[test]
fn the_generated_documents_are_read_often_enough() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let documents: Vec<Value> = (0..2000)
        .map(|_| {
            let fields = prop::collection::vec(field(), 0..24).new_tree(&mut runner);
            object(fields.expect("a document").current())
        })
        .collect();
    fn share<T: DeserializeOwned>(documents: &[Value]) -> usize {
        let read = |document: &&Value| serde_json::from_value::<T>((*document).clone()).is_ok();
        documents.iter().filter(read).count()
    }
    assert!(share::<IndividualEnrollment>(&documents) > 50);
    assert!(share::<EnrollmentGroup>(&documents) > 50);
    assert!(share::<AttestationMechanism>(&documents) > 50);
    assert!(share::<RegistrationOperationStatus>(&documents) > 50);
    assert!(share::<AllocationRequest>(&documents) > 10);
    assert!(share::<BulkEnrollmentOperation>(&documents) > 50);
}
