//! JSON documents: writing and reading are inverse, and no field is lost.
#![no_main]

use std::fmt::Debug;

use dps_types::enrollment::{
    AttestationMechanism, EnrollmentGroup, IndividualEnrollment, InitialTwin,
};
use dps_types::{
    AllocationRequest, AllocationResponse, BulkEnrollmentGroupOperation, BulkEnrollmentOperation,
    BulkOperationResult, DeviceRegistrationResult, DeviceRegistrationState, ErrorDetails,
    QuerySpecification, RegistrationOperationStatus, RegistrationRequest, TpmChallenge,
};
use libfuzzer_sys::fuzz_target;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

fuzz_target!(|bytes: &[u8]| {
    let Ok(document) = serde_json::from_slice::<Value>(bytes) else {
        return;
    };
    check::<IndividualEnrollment>(&document);
    check::<EnrollmentGroup>(&document);
    check::<AttestationMechanism>(&document);
    check::<InitialTwin>(&document);
    check::<RegistrationRequest>(&document);
    check::<RegistrationOperationStatus>(&document);
    check::<DeviceRegistrationResult>(&document);
    check::<DeviceRegistrationState>(&document);
    check::<TpmChallenge>(&document);
    check::<AllocationRequest>(&document);
    check::<AllocationResponse>(&document);
    check::<BulkEnrollmentOperation>(&document);
    check::<BulkEnrollmentGroupOperation>(&document);
    check::<BulkOperationResult>(&document);
    check::<ErrorDetails>(&document);
    let _ = serde_json::from_value::<QuerySpecification>(document);
});

fn check<T: DeserializeOwned + Serialize + PartialEq + Debug>(document: &Value) {
    let Ok(read) = serde_json::from_value::<T>(document.clone()) else {
        return;
    };
    let _ = format!("{read:?}");
    let written = serde_json::to_value(&read).expect("an accepted value can be written");
    let again: T = serde_json::from_value(written.clone()).expect("a written value can be read");
    assert_eq!(again, read);
    assert_eq!(serde_json::to_value(&again).expect("writable"), written);
    // The spelling of a name may change (aliases, case); the number of fields does not.
    let fields = |value: &Value| value.as_object().map(serde_json::Map::len);
    assert!(
        fields(&written) >= fields(document),
        "{document} -> {written}"
    );
}
