//! Every document that was recorded from the service, or that Microsoft documents, is read as its
//! type and written back as it was. The recordings are next to the workspace and not part of it.

use std::fmt::Debug;
use std::path::Path;

use dps_types::enrollment::{AttestationMechanism, EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::service::{Crud, ServiceRoute};
use dps_types::protocol::{ApiVersion, query_parameter};
use dps_types::{
    AllocationRequest, AllocationResponse, BulkEnrollmentGroupOperation, BulkEnrollmentOperation,
    BulkOperationResult, DeviceRegistrationState, DeviceRuntimeContext, QuerySpecification,
    RegistrationOperationStatus, RegistrationRequest,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

#[test]
#[ignore = "needs the folder DPS_SHARED: scripts/test recordings"]
fn documented_messages_of_custom_allocation_are_written_back_unchanged() {
    let documents = recording("custom-allocation.json");
    let documents = documents.as_object().expect("an object");
    let mut checked = 0;
    for (name, document) in documents.iter().filter(|(name, _)| *name != "note") {
        match name.as_str() {
            "allocationRequest" => equal::<AllocationRequest>(document),
            "deviceRuntimeContextOnReprovision" | "deviceRuntimeContextTpm" => {
                equal::<DeviceRuntimeContext>(document);
            }
            "allocationResponse" | "allocationResponseWithPayload" => {
                equal::<AllocationResponse>(document);
            }
            "registrationRequestTpm" => equal::<RegistrationRequest>(document),
            "registrationOperationStatusAssignedTpm" => {
                equal::<RegistrationOperationStatus>(document);
            }
            other => panic!("no type for the document {other}"),
        }
        checked += 1;
    }
    assert_eq!(checked, 7);
}

#[test]
#[ignore = "needs the folder DPS_SHARED: scripts/test recordings"]
fn a_document_of_the_service_is_written_back_unchanged_and_in_its_order() {
    let recording = recording("service-2021-10-01.json");
    let exchanges = recording["exchanges"].as_array().expect("exchanges");
    assert!(exchanges.len() >= 26, "{} exchanges", exchanges.len());
    let mut documents = 0;
    for (index, exchange) in exchanges.iter().enumerate() {
        let request = whole(exchanges, index, "requestBody");
        let response = whole(exchanges, index, "responseBody");
        documents += usize::from(!request.is_null()) + usize::from(!response.is_null());
        check(&route(exchange), &request, &response);
    }
    assert!(documents >= 38, "{documents} documents");
}

fn check(route: &ServiceRoute, request: &Value, response: &Value) {
    use ServiceRoute as Route;
    match route {
        Route::Individual(_, Crud::Get) => same_text::<IndividualEnrollment>(response),
        Route::Individual(_, Crud::Put) => {
            equal::<IndividualEnrollment>(request);
            same_text::<IndividualEnrollment>(response);
        }
        Route::Group(_, Crud::Get) => same_text::<EnrollmentGroup>(response),
        Route::Group(_, Crud::Put) => {
            equal::<EnrollmentGroup>(request);
            same_text::<EnrollmentGroup>(response);
        }
        Route::Registration(_, Crud::Get) => same_text::<DeviceRegistrationState>(response),
        Route::Individual(_, Crud::Delete)
        | Route::Group(_, Crud::Delete)
        | Route::Registration(_, Crud::Delete) => {
            assert!(request.is_null() && response.is_null());
        }
        Route::IndividualAttestation(_) | Route::GroupAttestation(_) => {
            same_text::<AttestationMechanism>(response);
        }
        Route::IndividualQuery => {
            equal::<QuerySpecification>(request);
            same_text::<Vec<IndividualEnrollment>>(response);
        }
        Route::GroupQuery => {
            equal::<QuerySpecification>(request);
            same_text::<Vec<EnrollmentGroup>>(response);
        }
        Route::RegistrationQuery(_) => same_text::<Vec<DeviceRegistrationState>>(response),
        Route::IndividualBulk => {
            equal::<BulkEnrollmentOperation>(request);
            same_text::<BulkOperationResult>(response);
        }
        Route::GroupBulk => {
            equal::<BulkEnrollmentGroupOperation>(request);
            same_text::<BulkOperationResult>(response);
        }
        other => panic!("no types for {other:?}"),
    }
}

fn route(exchange: &Value) -> ServiceRoute {
    let text = |name: &str| exchange[name].as_str().expect("a text");
    let (path, query) = text("path").split_once('?').expect("a query");
    let route = ServiceRoute::parse(text("method"), path).expect(path);
    assert_eq!(route.method(), text("method"));
    assert_eq!(route.path(), path);
    let version = query_parameter(query, ApiVersion::PARAMETER).expect("an api-version");
    assert_eq!(version.parse(), Ok(ApiVersion::V2021_10_01));
    route
}

fn equal<T: DeserializeOwned + Serialize + Debug>(document: &Value) {
    let read: T = serde_json::from_value(document.clone()).expect("readable");
    let written = serde_json::to_value(&read).expect("writable");
    assert_eq!(&written, document, "{read:#?}");
}

/// Not only equal: fields in the service's own order.
fn same_text<T: DeserializeOwned + Serialize + Debug>(document: &Value) {
    let read: T = serde_json::from_value(document.clone()).expect("readable");
    let written = serde_json::to_string(&read).expect("writable");
    assert_eq!(written, document.to_string());
}

/// The body of an exchange, with the parts that the recording abbreviates:
/// `"...": "as above"` is the same body of the exchange before it on the same path, and
/// `"{full IndividualEnrollment some_name}"` is any such enrollment with that kind of attestation.
fn whole(exchanges: &[Value], index: usize, body: &str) -> Value {
    let mut document = exchanges[index][body].clone();
    if let Some(fields) = document.as_object_mut() {
        if fields.shift_remove("...").is_some() {
            let path = &exchanges[index]["path"];
            let before = exchanges[..index].iter().rev().find(|earlier| {
                &earlier["path"] == path && earlier["method"] == exchanges[index]["method"]
            });
            let before = &before.expect("an exchange before it")[body];
            return merged(before.as_object().expect("an object"), fields).into();
        }
        for name in ["enrollments", "enrollmentGroups"] {
            for item in fields
                .get_mut(name)
                .into_iter()
                .flat_map(Value::as_array_mut)
                .flatten()
            {
                if let Some(words) = item.as_str() {
                    *item = enrollment_like(exchanges, words);
                }
            }
        }
    }
    document
}

/// New fields go before `attestation`: the recording's only one does ("between deviceId and attestation").
fn merged(before: &Map<String, Value>, changes: &Map<String, Value>) -> Map<String, Value> {
    let mut whole = Map::new();
    for (name, value) in before {
        if name == "attestation" {
            let added = changes
                .iter()
                .filter(|(name, _)| !before.contains_key(*name));
            whole.extend(added.map(|(name, value)| (name.clone(), value.clone())));
        }
        whole.insert(name.clone(), changes.get(name).unwrap_or(value).clone());
    }
    whole
}

fn enrollment_like(exchanges: &[Value], words: &str) -> Value {
    let words = words.trim_matches(['{', '}']);
    let [_, kind, name] = words.split(' ').collect::<Vec<_>>()[..] else {
        panic!("an unknown placeholder: {words}");
    };
    let id = match kind {
        "IndividualEnrollment" => "registrationId",
        "EnrollmentGroup" => "enrollmentGroupId",
        other => panic!("an unknown kind: {other}"),
    };
    let attestation = ["tpm", "x509", "symmetricKey"]
        .into_iter()
        .find(|kind| name.contains(&kind[..3]))
        .expect("a kind of attestation in the name");
    let mut enrollment = exchanges
        .iter()
        .filter(|exchange| exchange["method"] == "PUT")
        .map(|exchange| &exchange["requestBody"])
        .find(|body| !body[id].is_null() && body["attestation"]["type"] == attestation)
        .expect("an enrollment of that kind")
        .clone();
    enrollment[id] = name.into();
    enrollment
}

fn recording(file: &str) -> Value {
    let folder =
        std::env::var_os("DPS_SHARED").expect("DPS_SHARED names the folder with the recordings");
    let path = Path::new(&folder).join("recordings").join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).expect("JSON")
}
