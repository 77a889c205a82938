//! Revokes or expires the certificates of a device: in its registration record and at its hub, in one change.

use dps_types::RegistrationId;

use super::Credential;
use crate::hub::AssignmentChange;
use crate::instance::Instance;
use crate::service_error::ServiceError;

/// The maximum number of write attempts if other requests change the record at the same time.
const ATTEMPTS: usize = 10;

/// Changes the credential of a device, and ends its connection to its hub.
pub(super) async fn change(
    instance: &Instance,
    registration_id: &RegistrationId,
    change: impl Fn(&mut Credential),
) -> Result<(), ServiceError> {
    for _ in 0..ATTEMPTS {
        let stored = instance
            .state
            .required_registration(registration_id)
            .await?;
        let mut record = stored.record.clone();
        let credential = record.credential.as_mut().ok_or_else(|| {
            ServiceError::invalid(format!(
                "The device '{registration_id}' has no issued certificate."
            ))
        })?;
        change(credential);
        let credential = credential.clone();
        let at_hub = match record.hub.as_ref().zip(record.device_id.as_ref()) {
            Some((hub, device_id)) => {
                instance
                    .hubs
                    .plan_credential(hub, device_id, credential)
                    .await?
            }
            None => None,
        };
        let changes = at_hub.as_ref().map(AssignmentChange::changes);
        let written = instance
            .state
            .write_registration_with(Some(&stored), record, changes.unwrap_or_default())
            .await?;
        if written.is_some() {
            if let Some(change) = &at_hub {
                instance.hubs.disconnect_changed(change);
            }
            return Ok(());
        }
    }
    Err(ServiceError::conflict())
}
