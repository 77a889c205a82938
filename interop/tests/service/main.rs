//! Microsoft's service clients for Node and Python do an operator's work on the emulator.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod access;
mod bulk;
mod documents;
mod lives;
mod queries;
mod registrations;

use dps_interop::{Kind, ServiceSdk, skipped};
use serde_json::{Value, json};

/// A test of each of these with this client.
macro_rules! with_sdk {
    ($sdk:expr; $($module:ident::$name:ident)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                if !super::skipped() {
                    super::$module::$name($sdk).await;
                }
            }
        )*
    };
}

/// The tests that fit every client.
macro_rules! with_every_sdk {
    ($($tests:tt)*) => {
        mod node {
            with_sdk!(super::ServiceSdk::NODE; $($tests)*);
        }
        mod python {
            with_sdk!(super::ServiceSdk::PYTHON; $($tests)*);
        }
    };
}

with_every_sdk! {
    lives::life_of_an_individual_enrollment
    lives::life_of_a_group
    lives::an_id_with_every_sign
    documents::an_individual_key
    documents::an_individual_certificate
    documents::an_individual_tpm
    documents::a_group_key
    documents::a_group_certificate
    documents::a_group_with_a_ca_reference
    documents::all_that_an_enrollment_can_hold
    documents::what_the_service_does_not_take
    queries::every_enrollment_is_seen_once
    queries::every_group_is_seen_once
    queries::a_query_goes_on_where_it_stopped
    queries::a_query_that_the_service_does_not_know
    bulk::individuals_in_every_mode
    bulk::too_many_items
    registrations::a_registered_device
    registrations::the_devices_of_a_group
    access::a_reader_does_not_write
    access::registrations_only
    access::a_bad_signature
    access::an_unknown_policy
    access::an_expired_token
    access::a_token_for_another_host
    access::a_token_of_entra
}

/// The client for Node has no bulk operation for groups, and finds no port but 443.
mod python_alone {
    with_sdk!(
        super::ServiceSdk::PYTHON;
        bulk::groups_in_every_mode
        access::a_connection_string_with_a_port
    );
}

/// An enrollment whose keys the service makes, with more fields.
fn enrollment(id: &str, fields: &Value) -> Value {
    document("registrationId", id, fields)
}

/// A group whose keys the service makes, with more fields.
fn group(id: &str, fields: &Value) -> Value {
    document("enrollmentGroupId", id, fields)
}

fn document(id_field: &str, id: &str, fields: &Value) -> Value {
    let mut document = json!({ id_field: id, "attestation": { "type": "symmetricKey" } });
    for (name, value) in fields.as_object().expect("fields") {
        document[name] = value.clone();
    }
    document
}

fn etag(document: &Value) -> &str {
    document["etag"].as_str().expect("an ETag")
}

/// What the service says of an id that is not there.
fn not_found(kind: Kind) -> (u32, &'static str) {
    match kind {
        Kind::EnrollmentGroups => (404_202, "EnrollmentGroup not found."),
        Kind::Registrations => (404_203, "Registration not found."),
        _ => (404_201, "Enrollment not found."),
    }
}
