//! The certificate in a webhook request, as the policies read it: any bytes, as base64 of DER, lead to an allocation or to a rejection.
#![no_main]

mod ready;

use dps_allocation::AllocationPolicy;
use dps_allocation::policies::{ByCertificate, Fixed};
use dps_types::{AllocationRequest, HubHostname};
use libfuzzer_sys::fuzz_target;
use ready::now;
use serde_json::json;

fuzz_target!(|bytes: &[u8]| {
    let hub: HubHostname = "hub-a.azure-devices.net".parse().expect("a host name");
    let request = json!({
        "enrollmentGroup": { "enrollmentGroupId": "g", "attestation": { "type": "x509" } },
        "deviceRuntimeContext": {
            "registrationId": "dev-1",
            "x509": { "clientCertificate": data_encoding::BASE64.encode(bytes) },
        },
        "linkedHubs": [hub],
    });
    let request: AllocationRequest = serde_json::from_value(request).expect("a request");
    let extension = ByCertificate::extension("1.3.6.1.4.1.311.1").expect("an OID");
    for policy in [
        ByCertificate::subject_common_name(),
        ByCertificate::subject_organization(),
        ByCertificate::issuer_organization(),
        ByCertificate::uri(),
        ByCertificate::dns_name(),
        ByCertificate::email(),
        ByCertificate::ip_address(),
        extension,
    ] {
        let policy = policy.otherwise(Fixed::to(hub.clone()));
        match now(policy.allocate(&request)) {
            Ok(allocation) => assert_eq!(*allocation.hub(), hub),
            Err(rejection) => assert!(rejection.message().len() < 8192, "{rejection}"),
        }
    }
});
