//! What the service checks in an enrollment before it takes it: 400004, and its own words where they are known.

use dps_types::HubHostname;
use dps_types::enrollment::{AllocationPolicyKind, ProvisioningStatus};
use serde_json::Value;

use super::{Document, Terms, attestation};
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
    serde_json::from_value(json).map_err(|error| ServiceError::invalid(error.to_string()))
}

/// Checks what an enrollment says about its devices, apart from how they prove who they are.
pub(super) fn terms<D: Document>(document: &D, linked: &[HubHostname]) -> Result<(), ServiceError> {
    let terms = document.terms();
    if let Some(ProvisioningStatus::Unknown(status)) = terms.provisioning_status {
        return Err(ServiceError::invalid(format!(
            "The provisioning status '{status}' is not known."
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
                "The allocation policy 'Static' takes one hub.",
            ));
        }
        Some(AllocationPolicyKind::Unknown(policy)) => {
            return Err(ServiceError::invalid(format!(
                "The allocation policy '{policy}' is not known."
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

/// The webhook is not probed. Plain http is for webhooks on this machine.
fn custom(terms: &Terms<'_>) -> Result<(), ServiceError> {
    let definition = terms.custom_allocation_definition.ok_or_else(|| {
        ServiceError::invalid("A CustomAllocationDefinition is required when the allocation policy is set to 'Custom'")
    })?;
    match dps_allocation::webhook_url::check(&definition.webhook_url) {
        Ok(()) => Ok(()),
        Err(error) => Err(ServiceError::invalid(format!(
            "The webhookUrl cannot be used: {error}."
        ))),
    }
}
