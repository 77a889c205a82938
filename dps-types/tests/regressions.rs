//! Bugs that users of other SDKs reported, or that are in their code, each as a test.
//!
//! | test | where | the bug |
//! | --- | --- | --- |
//! | `azure_cli_30610` | azure-cli#30610, #31673 | metadata keys of twins added or lost: twins corrupted |
//! | `csharp_3478` | azure-iot-sdk-csharp#3478 | `registrationState` only in the answer to a get |
//! | `node_disabled` | Node `polling_state_machine.ts` | status `disabled` or `unassigned` is a SyntaxError |
//! | `python_disabled` | Python `pipeline_stages_provisioning.py` | status `disabled` is an invalid registration status |
//! | `dp_rs_status` | dp-rs `provision.rs` | MQTT status read as `u8`: 401 and 429 fail |
//! | `ais_unassigned` | iot-identity-service `schema.rs` | `unassigned` and `disabled` cannot be read |
//! | `ais_aliases` | iot-identity-service `schema.rs` | `code` or `errorCode`, `message` or `errorMessage` |
//! | `java_registration_id` | Java | a rule for registration ids that is stricter than the service's |
//! | `csharp_547` | csharp#547, c#405, azure-docs#52813 | registration ids in lower case only |
//! | `csharp_3061` | csharp#3061 | an id with `:` fails over HTTP: path and signature encode it differently |
//! | `python_355` | azure-iot-sdk-python#355, java#432, c#2612 | how to derive a device key |
//! | `azure_docs_93932` | azure-docs#93932 | the group's key used in place of the device's |
//! | `node_893` | azure-iot-sdk-node#893 | `Desired` for `desired`: the casing of twins |
//! | `azc_retry` | azure-sdk-for-c `az_iot_common.h` | 502, 503, 504 are not retriable |
//! | `c_retry_after` | C `prov_transport.h` | Retry-After beyond 300 s becomes 1 s, a date is not read |
//! | `csharp_3076` | csharp#3076, azure-sdk-for-python#35187 | ETags in quotes are invalid |
//! | `csharp_3479` | csharp#3479 | the error of an IoT hub in place of DPS's |
//! | `java_289` | azure-iot-sdk-java#289 | "JSON does not contain Operation Id" hides the error |
//! | `python_35368` | azure-sdk-for-python#35368 | `Hashed` with a capital |
//! | `docs_hub_spelling` | azure-docs | `iotHubHostName` and `iotHubHostname`, `currentIoTHubHostName` |

use std::time::{Duration, UNIX_EPOCH};

use dps_types::enrollment::{AllocationPolicyKind, IndividualEnrollment, InitialTwin};
use dps_types::protocol::device::{self, DeviceAction, DeviceRoute};
use dps_types::protocol::mqtt::ResponseTopic;
use dps_types::protocol::{IfMatch, parse_retry_after};
use dps_types::sas::SasTokenBuilder;
use dps_types::{
    AllocationResponse, DeviceRuntimeContext, ErrorCode, ErrorDetails, IdScope, RegistrationId,
    RegistrationOperationStatus, RegistrationStatus, SymmetricKey,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn read<T: DeserializeOwned>(document: Value) -> T {
    serde_json::from_value(document).expect("readable")
}

#[test]
fn azure_cli_30610() {
    let text = r#"{"tags":{"version":1,"count":2,"metadata":{"lastUpdated":"0001-01-01T00:00:00Z"},"$version":3,"z":0,"a":null},"properties":{"desired":{"metadata":null,"count":{"$lastUpdated":1},"additionalProperties":{}}}}"#;
    let twin: InitialTwin = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_string(&twin).unwrap(), text);
    let plain = InitialTwin::desired([("k", 1)]);
    let text = r#"{"properties":{"desired":{"k":1}}}"#;
    assert_eq!(serde_json::to_string(&plain).unwrap(), text);
}

#[test]
fn csharp_3478() {
    let without = json!({"registrationId": "d", "attestation": {"type": "symmetricKey"}});
    let enrollment: IndividualEnrollment = read(without.clone());
    assert_eq!(enrollment.registration_state, None);
    assert_eq!(serde_json::to_value(&enrollment).unwrap(), without);
    let mut with = without;
    with["registrationState"] = json!({"registrationId": "d", "status": "unassigned"});
    let enrollment: IndividualEnrollment = read(with);
    let state = enrollment.registration_state.expect("a state");
    assert_eq!(state.status, Some(RegistrationStatus::Unassigned));
    assert_eq!(state.assigned_hub, None);
}

fn status(word: &str) -> RegistrationStatus {
    read::<RegistrationOperationStatus>(json!({"operationId": "", "status": word})).status
}

#[test]
fn node_disabled() {
    assert_eq!(status("disabled"), RegistrationStatus::Disabled);
    assert_eq!(status("unassigned"), RegistrationStatus::Unassigned);
}

#[test]
fn python_disabled() {
    let answer: RegistrationOperationStatus = read(json!({"operationId": "", "status": "disabled",
        "registrationState": {"registrationId": "d", "status": "disabled"}}));
    assert_eq!(answer.operation_id, None);
    let state = answer.registration_state.expect("a state");
    assert_eq!(state.status, Some(RegistrationStatus::Disabled));
}

#[test]
fn dp_rs_status() {
    for number in [200, 202, 401, 429, 500, 503] {
        let topic = format!("$dps/registrations/res/{number}/?$rid=1");
        assert_eq!(topic.parse::<ResponseTopic>().unwrap().status, number);
    }
}

#[test]
fn ais_unassigned() {
    for (word, expected) in [
        ("unassigned", RegistrationStatus::Unassigned),
        ("assigning", RegistrationStatus::Assigning),
        ("assigned", RegistrationStatus::Assigned),
        ("failed", RegistrationStatus::Failed),
        ("disabled", RegistrationStatus::Disabled),
        ("paused", RegistrationStatus::Unknown("paused".into())),
    ] {
        assert_eq!(status(word), expected);
    }
}

#[test]
fn ais_aliases() {
    let expected = ErrorDetails::new(ErrorCode::ARGUMENT_INVALID, "Bad.");
    for document in [
        json!({"errorCode": 400_004, "message": "Bad."}),
        json!({"code": 400_004, "errorMessage": "Bad."}),
        json!({"Code": 400_004, "Message": "Bad."}),
    ] {
        assert_eq!(read::<ErrorDetails>(document), expected);
    }
}

#[test]
fn java_registration_id() {
    for id in [
        "-",
        "-a-",
        ".a",
        "_a",
        ":a",
        "a..b",
        "A",
        "dev:00:1A-",
        &"a".repeat(128),
    ] {
        assert!(RegistrationId::new(id).is_ok(), "{id}");
    }
}

#[test]
fn csharp_547() {
    let id: RegistrationId = "MyDevice-A1".parse().unwrap();
    let scope: IdScope = "0ne1".parse().unwrap();
    assert_eq!(id.to_string(), "MyDevice-A1");
    assert_eq!(
        device::resource(&scope, &id),
        "0ne1/registrations/MyDevice-A1"
    );
    let route = DeviceRoute::new(scope, id, DeviceAction::Lookup);
    assert_eq!(route.path(), "/0ne1/registrations/MyDevice-A1");
}

#[test]
fn csharp_3061() {
    let (scope, id): (IdScope, RegistrationId) =
        ("0ne1".parse().unwrap(), "a:b.c_d-e".parse().unwrap());
    let key = SymmetricKey::from_bytes([7; 32]).unwrap();
    let token = SasTokenBuilder::new(&device::resource(&scope, &id), 1)
        .sign_with(&key)
        .reveal();
    assert!(
        token.contains("sr=0ne1%2Fregistrations%2Fa%3Ab.c_d-e&"),
        "{}",
        *token
    );
    let route = DeviceRoute::new(scope, id, DeviceAction::Register);
    assert_eq!(route.path(), "/0ne1/registrations/a%3Ab.c_d-e/register");
}

const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
const DEVICE_KEY: &str = "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=";

#[test]
fn python_355() {
    let group = SymmetricKey::from_base64(GROUP_KEY).unwrap();
    let id = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6".parse().unwrap();
    assert_eq!(*group.derive_device_key(&id).to_base64(), DEVICE_KEY);
}

#[test]
fn azure_docs_93932() {
    let group = SymmetricKey::from_base64(GROUP_KEY).unwrap();
    let device = SymmetricKey::from_base64(DEVICE_KEY).unwrap();
    let token = SasTokenBuilder::new("0ne1/registrations/sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6", 1);
    assert!(!token.clone().sign_with(&group).verify(&device));
    assert!(token.sign_with(&device).verify(&device));
}

/// Keys within a twin belong to the user, fields around them to the service.
#[test]
fn node_893() {
    let twin: InitialTwin =
        read(json!({"Tags": {"Desired": 1}, "Properties": {"Desired": {"Desired": 2}}}));
    assert_eq!(
        serde_json::to_value(&twin).unwrap(),
        json!({"tags": {"Desired": 1}, "properties": {"desired": {"Desired": 2}}})
    );
}

/// The clients decide which statuses are retried. Here each status must be read as its own value.
#[test]
fn azc_retry() {
    for status in [500, 502, 503, 504] {
        let code = ErrorCode::new(u32::from(status) * 1000 + 1);
        assert_eq!(code.http_status(), status);
        let topic = format!("$dps/registrations/res/{status}/?$rid=1&retry-after=5");
        let topic: ResponseTopic = topic.parse().unwrap();
        assert_eq!(
            (topic.status, topic.retry_after.as_deref()),
            (status, Some("5"))
        );
    }
}

#[test]
fn c_retry_after() {
    let wait = |text| parse_retry_after(text, UNIX_EPOCH);
    assert_eq!(wait("600"), Some(Duration::from_secs(600)));
    assert_eq!(wait("0"), Some(Duration::ZERO));
    assert_eq!(
        wait("Thu, 01 Jan 1970 00:10:00 GMT"),
        Some(Duration::from_secs(600))
    );
}

#[test]
fn csharp_3076() {
    let quoted: IfMatch = "\"IjBhMDBiNzQyLTAwMDAi\"".parse().unwrap();
    assert!(quoted.matches(&"IjBhMDBiNzQyLTAwMDAi".parse().unwrap()));
    assert_eq!("\"*\"".parse(), Ok(IfMatch::Any));
}

#[test]
fn csharp_3479() {
    let problem: ErrorDetails = read(json!({
        "Message": "ErrorCode:ArgumentInvalid;Unknown api version", "ExceptionMessage": "Tracking ID:1"}));
    assert_eq!(
        problem.to_string(),
        "ErrorCode:ArgumentInvalid;Unknown api version"
    );
}

#[test]
fn java_289() {
    let body = json!({"errorCode": 401_002, "trackingId": "8ad0", "message": "Unauthorized"});
    let error = serde_json::from_value::<RegistrationOperationStatus>(body.clone());
    assert_eq!(
        error.expect_err("no status").to_string(),
        "status is missing"
    );
    assert_eq!(
        read::<ErrorDetails>(body).error_code,
        Some(ErrorCode::UNAUTHORIZED)
    );
}

#[test]
fn python_35368() {
    let enrollment: IndividualEnrollment = read(json!({"registrationId": "d",
        "attestation": {"type": "symmetricKey"}, "allocationPolicy": "Hashed"}));
    assert_eq!(
        enrollment.allocation_policy,
        Some(AllocationPolicyKind::Hashed)
    );
    assert_eq!(
        serde_json::to_value(&enrollment).unwrap()["allocationPolicy"],
        "hashed"
    );
}

#[test]
fn docs_hub_spelling() {
    for name in ["iotHubHostName", "iotHubHostname", "IotHubHostName"] {
        let answer: AllocationResponse = read(json!({name: "hub"}));
        assert_eq!(
            serde_json::to_value(&answer).unwrap(),
            json!({"iotHubHostName": "hub"})
        );
    }
    for name in [
        "currentIotHubHostName",
        "currentIoTHubHostName",
        "currentIoTHubHostname",
    ] {
        let context: DeviceRuntimeContext = read(json!({"registrationId": "d", name: "hub"}));
        assert_eq!(context.current_iot_hub_host_name.unwrap().as_str(), "hub");
    }
}

/// Doubles in a twin are unchanged: a read, a change and a write alter nothing else.
#[test]
fn twin_numbers_survive_a_read_and_a_write() {
    let text = r#"{"tags":{"n":0.22931038504253454}}"#;
    let twin: dps_types::enrollment::InitialTwin = serde_json::from_str(text).expect("valid");
    assert_eq!(serde_json::to_string(&twin).expect("writes"), text);
}

/// .NET's readers match names without regard to case, and the last member with a name counts.
#[test]
fn of_two_spellings_of_a_member_the_last_counts() {
    let text =
        r#"{"errorCode":401002,"TrackingId":"first","trackingId":"last","TrackingID2":"kept"}"#;
    let details: ErrorDetails = serde_json::from_str(text).expect("an error body");
    assert_eq!(details.tracking_id.as_deref(), Some("last"));
    let written = serde_json::to_string(&details).expect("JSON");
    assert_eq!(
        written,
        r#"{"errorCode":401002,"trackingId":"last","TrackingID2":"kept"}"#
    );
}
