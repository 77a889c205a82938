//! What each edition of the API knows: what an older one would drop without a word is refused before it is sent.
//!
//! Source: `service.json` of api-versions 2017-11-15 to 2025-07-01-preview; of 2019-03-31 there is none: the models of the
//! Java service SDK, which speaks it.

use dps_types::protocol::ApiVersion;
use dps_types::protocol::service::ServiceRoute;

use crate::error::{Error, ErrorKind};

/// A field of an enrollment: its name, the first api-version that knows it, and whether it is in use.
pub(crate) type Field = (&'static str, ApiVersion, bool);

/// The fields that both kinds of enrollment have, apart from those of all api-versions.
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

/// Whether the api-version knows every field that is in use.
pub(crate) fn check_fields(fields: &[Field], version: ApiVersion) -> Result<(), Error> {
    let unknown = fields
        .iter()
        .find(|(_, since, used)| *used && *since > version);
    match unknown {
        Some((name, since, _)) => Err(unsupported(name, *since, version)),
        None => Ok(()),
    }
}

/// Whether the api-version knows the operation.
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
    let what = format!("api-version {version} does not know {name}, which came with {since}");
    Error::new(ErrorKind::Unsupported, what)
}
