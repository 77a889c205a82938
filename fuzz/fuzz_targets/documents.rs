//! JSON documents: writing and reading are inverse, and no field is lost. The first byte is the kind of the document.
#![no_main]

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use dps_types::enrollment::{AttestationMechanism, EnrollmentGroup, IndividualEnrollment, InitialTwin};
use dps_types::{
    AllocationRequest, AllocationResponse, BulkEnrollmentGroupOperation, BulkEnrollmentOperation, BulkOperationResult,
    DeviceRegistrationResult, DeviceRegistrationState, ErrorDetails, QuerySpecification, RegistrationOperationStatus,
    RegistrationRequest, TpmChallenge,
};
use libfuzzer_sys::fuzz_target;
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

fuzz_target!(|bytes: &[u8]| {
    let Some((kind, text)) = bytes.split_first() else {
        return;
    };
    match kind {
        b'i' => check::<IndividualEnrollment>(text),
        b'g' => check::<EnrollmentGroup>(text),
        b'm' => check::<AttestationMechanism>(text),
        b't' => check::<InitialTwin>(text),
        b'r' => check::<RegistrationRequest>(text),
        b'o' => check::<RegistrationOperationStatus>(text),
        b'd' => check::<DeviceRegistrationResult>(text),
        b's' => check::<DeviceRegistrationState>(text),
        b'c' => check::<TpmChallenge>(text),
        b'a' => check::<AllocationRequest>(text),
        b'h' => check::<AllocationResponse>(text),
        b'b' => check::<BulkEnrollmentOperation>(text),
        b'B' => check::<BulkEnrollmentGroupOperation>(text),
        b'u' => check::<BulkOperationResult>(text),
        b'e' => check::<ErrorDetails>(text),
        b'q' => drop(serde_json::from_slice::<QuerySpecification>(text)),
        _ => {}
    }
});

fn check<T: DeserializeOwned + Serialize + PartialEq + Debug>(text: &[u8]) {
    let Ok(read) = serde_json::from_slice::<T>(text) else {
        return;
    };
    // It takes as long as everything else, so only some inputs are formatted.
    if text.len().is_multiple_of(8) {
        let _ = format!("{read:?}");
    }
    let written = serde_json::to_vec(&read).expect("an accepted value can be written");
    let again: T = serde_json::from_slice(&written).expect("a written value can be read");
    assert_eq!(again, read);
    // The spelling of a name may change (aliases, case); the number of fields does not. A field with two spellings is one that appears
    // again: the last counts, as for .NET.
    let fields = |text: &[u8]| {
        let names = serde_json::from_slice::<BTreeMap<Cow<'_, str>, IgnoredAny>>(text);
        let names = names.unwrap_or_default().into_keys();
        names.map(|name| name.to_ascii_lowercase()).collect::<BTreeSet<_>>().len()
    };
    assert!(fields(&written) >= fields(text), "{}", String::from_utf8_lossy(text));
}
