//! Which fields and operations each api-version has. The service would silently drop a field that its api-version does
//! not have, so such a request is refused before it is sent.
//!
//! Source: `service.json` of api-versions 2017-11-15 to 2025-07-01-preview; for 2019-03-31, which has no published
//! `service.json`, the models of the service SDK for Java.

use dps_types::protocol::ApiVersion;
use dps_types::protocol::service::ServiceRoute;

use crate::error::{Error, ErrorKind};

/// A field of an enrollment: its name, the first api-version that has it, and whether the enrollment uses it.
pub(crate) type Field = (&'static str, ApiVersion, bool);

/// The fields of both kinds of enrollment that not all api-versions have.
macro_rules! fields_of_both {
    ($enrollment:expr, capabilities since $capabilities:expr) => {{
        use dps_types::enrollment::AttestationType;

        let enrollment = $enrollment;
        let with_keys = enrollment.attestation.kind == AttestationType::SymmetricKey;
        let keys = ApiVersion::V2018_09_01_PREVIEW;
        let certificates = ApiVersion::V2025_07_01_PREVIEW;
        [
            (
                "capabilities",
                $capabilities,
                enrollment.capabilities.is_some(),
            ),
            ("symmetricKey", keys, with_keys),
            (
                "reprovisionPolicy",
                keys,
                enrollment.reprovision_policy.is_some(),
            ),
            (
                "allocationPolicy",
                keys,
                enrollment.allocation_policy.is_some(),
            ),
            ("iotHubs", keys, enrollment.iot_hubs.is_some()),
            (
                "customAllocationDefinition",
                keys,
                enrollment.custom_allocation_definition.is_some(),
            ),
            (
                "credentialPolicyName",
                certificates,
                enrollment.credential_policy_name.is_some(),
            ),
        ]
    }};
}

pub(crate) use fields_of_both;

/// Checks that the api-version has every field that the enrollment uses.
pub(crate) fn check_fields(fields: &[Field], version: ApiVersion) -> Result<(), Error> {
    let unknown = fields
        .iter()
        .find(|(_, since, used)| *used && *since > version);
    match unknown {
        Some((name, since, _)) => Err(unsupported(name, *since, version)),
        None => Ok(()),
    }
}

/// Checks that the api-version has the operation.
pub(crate) fn check_route(route: &ServiceRoute, version: ApiVersion) -> Result<(), Error> {
    let (name, since) = match route {
        ServiceRoute::IndividualAttestation(_) | ServiceRoute::GroupAttestation(_) => {
            let name = "the attestation mechanism operation";
            (name, ApiVersion::V2018_09_01_PREVIEW)
        }
        ServiceRoute::GroupBulk => ("bulk operations on groups", ApiVersion::V2021_10_01),
        _ => return Ok(()),
    };
    match since > version {
        true => Err(unsupported(name, since, version)),
        false => Ok(()),
    }
}

fn unsupported(name: &str, since: ApiVersion, version: ApiVersion) -> Error {
    let message =
        format!("api-version {version} does not have {name}: use api-version {since} or later");
    Error::new(ErrorKind::Unsupported, message)
}
