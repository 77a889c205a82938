//! The messages of errors, and the secrets that errors and Debug do not show.

use dps_types::enrollment::{
    AttestationMechanism, CustomAllocationDefinition, IndividualEnrollment,
};
use dps_types::{RegistrationOperationStatus, RegistrationRequest};
use serde_json::{Value, json};

use crate::{read, refusal, write};

#[test]
fn an_error_names_the_field() {
    let individual = refusal::<IndividualEnrollment>;
    assert_eq!(individual(json!({})), "registrationId is missing");
    assert_eq!(
        individual(json!({"registrationId": null})),
        "registrationId is missing"
    );
    assert_eq!(
        individual(json!({"registrationId": "a b"})),
        "registrationId: invalid registration id: the character ' ' at position 2 is not allowed"
    );
    assert_eq!(
        individual(json!({"registrationId": "a"})),
        "attestation is missing"
    );
    assert_eq!(
        individual(json!({"registrationId": "a", "attestation": {}})),
        "attestation: type is missing"
    );
    let with = |field: &str, value: Value| {
        let mut document = json!({"registrationId": "a", "attestation": {"type": "none"}});
        document[field] = value;
        individual(document)
    };
    assert_eq!(
        with("createdDateTimeUtc", json!("yesterday")),
        "createdDateTimeUtc: invalid timestamp: it is not a timestamp of RFC 3339, such as 2022-08-31T22:02:50Z"
    );
    assert_eq!(
        with("reprovisionPolicy", json!({"updateHubAssignment": true})),
        "reprovisionPolicy: migrateDeviceData is missing"
    );
    assert_eq!(
        with("initialTwin", json!({"properties": []})),
        "initialTwin: properties: expected a JSON object"
    );
    assert_eq!(
        with("iotHubs", json!(["hub", "https://hub"])),
        "iotHubs: invalid hub host name: the character ':' at position 6 is not allowed"
    );
    assert_eq!(
        refusal::<RegistrationOperationStatus>(
            json!({"operationId": "a/b", "status": "assigning"})
        ),
        "operationId: invalid operation id: the character '/' at position 2 is not allowed"
    );
    assert_eq!(
        refusal::<RegistrationRequest>(json!([])),
        "invalid type: sequence, expected a JSON object"
    );
}

#[test]
fn neither_errors_nor_debug_show_a_key() {
    const SECRET: &str = "c2VjcmV0IHNlY3JldCBzZWNyZXQ=";
    for (misplaced, words) in [
        (
            json!({"symmetricKey": SECRET}),
            "symmetricKey: expected a JSON object",
        ),
        (
            json!({"symmetricKey": {"primaryKey": [SECRET]}}),
            "symmetricKey: primaryKey: it is not a string",
        ),
    ] {
        let mut document = misplaced;
        document["type"] = "symmetricKey".into();
        assert_eq!(refusal::<AttestationMechanism>(document), words);
    }
    let mechanism: AttestationMechanism =
        read(&json!({"type": "symmetricKey", "symmetricKey": {"primaryKey": SECRET}}));
    let shown = format!("{mechanism:?}");
    assert!(
        shown.contains("EncodedKey(..)") && !shown.contains(SECRET),
        "{shown}"
    );

    for (field, value, words) in [
        ("iotHubs", json!(SECRET), "iotHubs: expected a sequence"),
        (
            "initialTwin",
            json!({"tags": SECRET}),
            "initialTwin: tags: expected a map",
        ),
        (
            "reprovisionPolicy",
            json!({"updateHubAssignment": format!("{SECRET}, expected a key")}),
            "reprovisionPolicy: updateHubAssignment: expected a boolean",
        ),
    ] {
        let mut document = json!({"registrationId": "a", "attestation": {"type": "none"}});
        document[field] = value;
        assert_eq!(refusal::<IndividualEnrollment>(document), words);
    }

    let webhook = CustomAllocationDefinition::new("https://f.test/api?code=sesame");
    let shown = format!("{webhook:?}");
    assert!(
        shown.contains("https://f.test/api?****") && !shown.contains("sesame"),
        "{shown}"
    );
    assert_eq!(
        write(&webhook)["webhookUrl"],
        "https://f.test/api?code=sesame"
    );
}
