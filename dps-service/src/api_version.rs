//! The fields and operations of each api-version. The service would silently drop a field that its api-version does
//! not have, so such a request is refused before it is sent.
//!
//! Source: `service.json` of api-versions 2017-11-15 to 2026-11-02-preview; for 2019-03-31, which has no published
//! `service.json`, the models of the service SDK for Java.

use dps_types::protocol::ApiVersion;
use dps_types::protocol::service::ServiceRoute;

use crate::error::{Error, ErrorKind};

/// The api-version of requests for which the caller has chosen none, except reads of enrollments.
pub(crate) const DEFAULT: ApiVersion = ApiVersion::V2021_10_01;
/// The stable api-versions after the default, newest first. Enrollments are read with the first one that the service has.
pub(crate) const NEWER: &[ApiVersion] = &[ApiVersion::V2026_11_01];
/// A preview with a field, `credentialPolicyName`, that no later api-version has.
pub(crate) const SEPARATE_PREVIEW: ApiVersion = ApiVersion::V2025_07_01_PREVIEW;

/// A field of an enrollment that not all api-versions have.
#[derive(Debug, Clone, Copy)]
#[allow(unnameable_types)] // Only a hidden method of a sealed trait returns it.
pub struct Field {
    name: &'static str,
    /// The first api-version that has it.
    since: ApiVersion,
    /// The only api-version that has it is `since`.
    only: bool,
    /// The enrollment uses it.
    used: bool,
}

impl Field {
    pub(crate) const fn since(since: ApiVersion, name: &'static str, used: bool) -> Self {
        Self {
            name,
            since,
            only: false,
            used,
        }
    }

    pub(crate) const fn only_in(version: ApiVersion, name: &'static str, used: bool) -> Self {
        Self {
            only: true,
            ..Self::since(version, name, used)
        }
    }

    fn is_in(&self, version: ApiVersion) -> bool {
        match self.only {
            true => self.since == version,
            false => self.since <= version,
        }
    }
}

/// The fields of both kinds of enrollment that not all api-versions have.
macro_rules! fields_of_both {
    ($enrollment:expr, capabilities since $capabilities:expr) => {{
        use crate::api_version::Field;
        use dps_types::enrollment::AttestationType;

        let enrollment = $enrollment;
        let with_keys = enrollment.attestation.kind == AttestationType::SymmetricKey;
        let keys = ApiVersion::V2018_09_01_PREVIEW;
        let certificates = ApiVersion::V2026_11_01;
        let since = Field::since;
        [
            since(
                $capabilities,
                "capabilities",
                enrollment.capabilities.is_some(),
            ),
            since(keys, "symmetricKey", with_keys),
            since(
                keys,
                "reprovisionPolicy",
                enrollment.reprovision_policy.is_some(),
            ),
            since(
                keys,
                "allocationPolicy",
                enrollment.allocation_policy.is_some(),
            ),
            since(keys, "iotHubs", enrollment.iot_hubs.is_some()),
            since(
                keys,
                "customAllocationDefinition",
                enrollment.custom_allocation_definition.is_some(),
            ),
            Field::only_in(
                ApiVersion::V2025_07_01_PREVIEW,
                "credentialPolicyName",
                enrollment.credential_policy_name.is_some(),
            ),
            since(
                certificates,
                "namespaceName",
                enrollment.namespace_name.is_some(),
            ),
            since(
                certificates,
                "certificateAuthorityName",
                enrollment.certificate_authority_name.is_some(),
            ),
            since(
                certificates,
                "certificatePolicyName",
                enrollment.certificate_policy_name.is_some(),
            ),
        ]
    }};
}

pub(crate) use fields_of_both;

/// The api-version for an enrollment with these fields: the caller's choice, which must have all of them, or the default, which
/// is raised to the first that has all of them.
pub(crate) fn for_fields(
    fields: &[Field],
    chosen: Option<ApiVersion>,
) -> Result<ApiVersion, Error> {
    let used = || fields.iter().filter(|field| field.used);
    let version = chosen.unwrap_or_else(|| {
        let needed = used().map(|field| field.since).max();
        needed.map_or(DEFAULT, |needed| needed.max(DEFAULT))
    });
    match used().find(|field| !field.is_in(version)) {
        None => Ok(version),
        Some(field) if field.only => Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "api-version {version} does not have {}: only api-version {} has it",
                field.name, field.since
            ),
        )),
        Some(field) => Err(unsupported(field.name, field.since, version)),
    }
}

/// The field of an enrollment that only this api-version has.
pub(crate) fn own_field(fields: &[Field], version: ApiVersion) -> Option<&'static str> {
    let mut own = fields
        .iter()
        .filter(|field| field.only && field.since == version);
    own.find(|field| field.used).map(|field| field.name)
}

/// The api-version for an enrollment that was read with `read` and then changed: `read`, because an older one would remove fields.
/// If the change uses a field that `read` does not have, and the caller has chosen no api-version, that of [`for_fields`].
pub(crate) fn for_changed_fields(
    fields: &[Field],
    read: ApiVersion,
    chosen: Option<ApiVersion>,
) -> Result<ApiVersion, Error> {
    match for_fields(fields, Some(read)) {
        Err(_) if chosen.is_none() => for_fields(fields, None),
        result => result,
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
