//! The assignment of a device to a hub: creates or updates its identity there and removes it from its previous hub.
//!
//! Source: azure-docs `iot-dps/concepts-device-reprovision.md`.

use dps_types::{DeviceId, HubHostname};

use super::{Authentication, Device, Hubs, Identity, Twin};
use crate::issuance::Credential;
use crate::service_error::ServiceError;
use crate::state::encode;
use crate::state::store::{Change, Expected, Table};

/// The input of an assignment.
#[derive(Debug)]
pub(crate) struct NewAssignment<'a> {
    pub(crate) hub: &'a HubHostname,
    pub(crate) device_id: &'a DeviceId,
    pub(crate) authentication: Authentication,
    pub(crate) iot_edge: bool,
    /// The twin for a device that has no twin yet.
    pub(crate) initial_twin: &'a Twin,
    /// The previous assignment.
    pub(crate) previous: Option<(&'a HubHostname, &'a DeviceId)>,
    /// Applies if the hub differs from the previous one.
    pub(crate) twin_transfer: TwinTransfer,
}

/// The treatment of the twin of a device that moves to another hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TwinTransfer {
    /// The twin is copied to the new hub.
    Migrate,
    /// The device receives its initial twin.
    Reset,
}

/// The change that an assignment makes to the devices of the hubs. It applies to the devices as they were read.
#[derive(Debug)]
pub(crate) struct AssignmentChange {
    key: String,
    before: Option<Vec<u8>>,
    after: Vec<u8>,
    removed: Option<Removed>,
}

/// The identity in the previous hub.
#[derive(Debug)]
struct Removed {
    identity: Identity,
    key: String,
    before: Option<Vec<u8>>,
}

impl Hubs {
    /// Plans an assignment. A device that exists in the hub keeps its twin. A device that moves from another hub is removed
    /// there, and its twin is copied or replaced by the initial one.
    pub(crate) async fn plan_assignment(
        &self,
        assignment: NewAssignment<'_>,
    ) -> Result<AssignmentChange, ServiceError> {
        let NewAssignment { hub, device_id, .. } = assignment;
        let (device, before) = self
            .readable_device(&Identity::device(hub, device_id))
            .await?;
        let moved_from = assignment.previous.filter(|(previous, _)| *previous != hub);
        let mut removed = None;
        let mut moved_twin = None;
        if let Some((old_hub, old_id)) = moved_from {
            let identity = Identity::device(old_hub, old_id);
            let (device, before) = self.readable_device(&identity).await?;
            moved_twin = device.map(|device| device.twin);
            removed = Some(Removed {
                key: identity.key(),
                identity,
                before,
            });
        }
        let existing_twin = device.as_ref().map(|device| device.twin.clone());
        let twin = match (moved_from, assignment.twin_transfer) {
            (Some(_), TwinTransfer::Reset) => None,
            (Some(_), TwinTransfer::Migrate) => moved_twin.or(existing_twin),
            (None, _) => existing_twin,
        };
        let twin = twin.unwrap_or_else(|| assignment.initial_twin.clone());
        let after = match device {
            Some(mut device) => {
                device.refresh(assignment.authentication, assignment.iot_edge);
                Device { twin, ..device }
            }
            None => Device::new(
                device_id.clone(),
                assignment.authentication,
                assignment.iot_edge,
                twin,
                self.now(),
            ),
        };
        Ok(AssignmentChange {
            key: Identity::device(hub, device_id).key(),
            before,
            after: encode(&after)?,
            removed,
        })
    }

    /// Plans a change of the credential of a device with an issued certificate. `None` if the hub has no such device.
    pub(crate) async fn plan_credential(
        &self,
        hub: &HubHostname,
        device_id: &DeviceId,
        credential: Credential,
    ) -> Result<Option<AssignmentChange>, ServiceError> {
        let identity = Identity::device(hub, device_id);
        let (Some(mut device), before) = self.readable_device(&identity).await? else {
            return Ok(None);
        };
        let Authentication::CertificateAuthority(_) = device.authentication else {
            return Ok(None);
        };
        device.refresh(
            Authentication::CertificateAuthority(credential),
            device.iot_edge,
        );
        Ok(Some(AssignmentChange {
            key: identity.key(),
            before,
            after: encode(&device)?,
            removed: None,
        }))
    }

    /// Ends the connection of the device that was changed, after the change is written.
    pub(crate) fn disconnect_changed(&self, change: &AssignmentChange) {
        self.end_connection(&change.key);
    }

    /// Ends the connection to the previous hub and removes the device's modules and messages there, after the change is written.
    pub(crate) async fn committed(&self, change: &AssignmentChange) {
        if let Some(removed) = &change.removed {
            self.end_session(&removed.key);
            // The next device with this id does not receive them.
            if let Err(error) = self.forget(&removed.identity).await {
                tracing::warn!(device = %removed.identity, error = error.message(), "modules or messages of a device that moved could not be removed");
            }
        }
    }
}

impl AssignmentChange {
    pub(crate) fn changes(&self) -> Vec<Change<'_>> {
        let put = Change::put(
            Table::Hubs,
            &self.key,
            Expected::unchanged(self.before.as_deref()),
            self.after.clone(),
        );
        let removed = self.removed.iter().map(|removed| {
            let before = Expected::unchanged(removed.before.as_deref());
            Change::delete(Table::Hubs, &removed.key, before)
        });
        std::iter::once(put).chain(removed).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dps_types::SymmetricKey;
    use serde_json::json;

    use super::super::{HubSettings, LinkedHub, TwinPatch};
    use super::*;
    use crate::state::store::MemoryStore;
    use dps_types::SystemClock;

    fn hub(name: &str) -> HubHostname {
        name.parse().expect("a host name")
    }

    fn hubs() -> Hubs {
        let key = SymmetricKey::generate();
        let linked = ["hub-a", "hub-b"]
            .map(|name| LinkedHub::derived(hub(name), &key, "localhost").expect("a host"));
        Hubs::new(
            Arc::new(MemoryStore::new()),
            Arc::new(SystemClock),
            linked.into(),
            HubSettings::default(),
        )
    }

    /// Assigns the device to a hub; false if `meanwhile` changed it.
    async fn assign(
        hubs: &Hubs,
        to: &str,
        from: Option<&str>,
        meanwhile: impl AsyncFnOnce(),
    ) -> bool {
        let device_id: DeviceId = "dev-1".parse().expect("an id");
        let (to, from) = (hub(to), from.map(hub));
        let assignment = NewAssignment {
            hub: &to,
            device_id: &device_id,
            authentication: Authentication::Sas {
                primary: (&SymmetricKey::generate()).into(),
                secondary: None,
            },
            iot_edge: false,
            initial_twin: &Twin::new(None, hubs.now()).expect("valid"),
            previous: from.as_ref().map(|from| (from, &device_id)),
            twin_transfer: TwinTransfer::Migrate,
        };
        let change = hubs.plan_assignment(assignment).await.expect("planned");
        meanwhile().await;
        let applied = hubs.store.apply(&change.changes()).await;
        applied.expect("the store works")
    }

    #[tokio::test]
    async fn a_change_made_while_a_device_moves_is_not_lost() {
        let hubs = hubs();
        let id: DeviceId = "dev-1".parse().expect("an id");
        let here = Identity::device(&hub("hub-a"), &id);
        assert!(assign(&hubs, "hub-a", None, async || {}).await);
        let patch = TwinPatch::of_desired(json!({ "x": 1 }));
        let patched = async || {
            let patched = hubs.update_twin(&here, &patch, false, None).await;
            patched.expect("patched");
        };
        assert!(!assign(&hubs, "hub-b", Some("hub-a"), patched).await);
        assert!(assign(&hubs, "hub-b", Some("hub-a"), async || {}).await);
        let there = hubs
            .twin_for_device(&Identity::device(&hub("hub-b"), &id))
            .await;
        assert_eq!(there.expect("moved")["desired"]["x"], 1);
        assert!(hubs.device(&here).await.expect("read").is_none());
    }

    #[tokio::test]
    async fn of_two_concurrent_assignments_one_is_made() {
        let hubs = hubs();
        assert!(assign(&hubs, "hub-a", None, async || {}).await);
        let overtaken = async || assert!(assign(&hubs, "hub-b", Some("hub-a"), async || {}).await);
        assert!(!assign(&hubs, "hub-b", Some("hub-a"), overtaken).await);
        let devices = hubs.devices(&hub("hub-b"), 10).await.expect("read");
        assert_eq!(devices.len(), 1);
    }
}
