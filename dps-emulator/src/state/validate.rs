//! Validates enrollment documents. An error is 400004, with the service's message where it is known.

use dps_types::HubHostname;
use dps_types::enrollment::{AllocationPolicyKind, ProvisioningStatus};
use serde_json::Value;

use super::{Document, Terms, attestation, sentence};
use crate::service_error::ServiceError;

/// Reads the document of an enrollment.
pub(crate) fn document<D: Document>(json: Value) -> Result<D, ServiceError> {
    let is_attestation = |(name, value): (&String, &Value)| {
        name.eq_ignore_ascii_case("attestation") && !value.is_null()
    };
    if json
        .as_object()
        .is_some_and(|fields| !fields.iter().any(is_attestation))
    {
        return Err(attestation::required());
    }
    dps_types::json::check_depth(&json)?;
    serde_json::from_value(json).map_err(|error| {
        ServiceError::invalid(sentence(format!("The enrollment is not valid: {error}")))
    })
}

/// Validates everything but the attestation.
pub(super) fn terms<D: Document>(document: &D, linked: &[HubHostname]) -> Result<(), ServiceError> {
    let terms = document.terms();
    if let Some(ProvisioningStatus::Unknown(status)) = terms.provisioning_status {
        return Err(ServiceError::invalid(format!(
            "'{status}' is not a valid provisioningStatus; use enabled or disabled."
        )));
    }
    allocation(&terms, linked)
}

fn allocation(terms: &Terms<'_>, linked: &[HubHostname]) -> Result<(), ServiceError> {
    match terms.allocation_policy {
        None if terms.iot_hubs.is_some() => {
            return Err(ServiceError::invalid(
                "Enrollment allocationPolicy must be specified when iotHubs are specified.",
            ));
        }
        Some(AllocationPolicyKind::Custom) => custom(terms)?,
        Some(AllocationPolicyKind::Static) if terms.iot_hubs.is_some_and(|hubs| hubs.len() > 1) => {
            return Err(ServiceError::invalid(
                "The allocation policy 'Static' requires one hub in iotHubs.",
            ));
        }
        Some(AllocationPolicyKind::Unknown(policy)) => {
            return Err(ServiceError::invalid(format!(
                "'{policy}' is not a valid allocationPolicy; use hashed, geoLatency, static or custom."
            )));
        }
        _ => {}
    }
    let named = terms
        .iot_hubs
        .unwrap_or_default()
        .iter()
        .chain(terms.iot_hub_host_name);
    match named.into_iter().find(|hub| !linked.contains(hub)) {
        Some(hub) => Err(ServiceError::invalid(format!(
            "The IoT hub '{hub}' is not linked to this instance."
        ))),
        None => Ok(()),
    }
}

/// Validates the webhook URL without a request. Plain http is allowed for webhooks on this machine.
fn custom(terms: &Terms<'_>) -> Result<(), ServiceError> {
    let definition = terms.custom_allocation_definition.ok_or_else(|| {
        ServiceError::invalid("A CustomAllocationDefinition is required when the allocation policy is set to 'Custom'")
    })?;
    match dps_allocation::webhook_url::check(&definition.webhook_url) {
        Ok(()) => Ok(()),
        Err(error) => Err(ServiceError::invalid(sentence(format!(
            "The webhookUrl is not valid: {error}"
        )))),
    }
}
