//! An assignment, as the hubs see it: a device settles in one, and leaves another.
//!
//! Source: azure-docs `iot-dps/concepts-device-reprovision.md`.

use dps_types::{DeviceId, HubHostname};

use super::{Authentication, Device, Hubs, Twin, key, write};
use crate::service_error::ServiceError;
use crate::state::store::{Change, Expected, Table};

/// A device that is assigned to a hub.
#[derive(Debug)]
pub(crate) struct Arrival<'a> {
    pub(crate) hub: &'a HubHostname,
    pub(crate) device_id: &'a DeviceId,
    pub(crate) authentication: Authentication,
    pub(crate) iot_edge: bool,
    /// The twin of a device that has none yet.
    pub(crate) initial: &'a Twin,
    /// Where it was, if it was assigned before.
    pub(crate) previous: Option<(&'a HubHostname, &'a DeviceId)>,
    /// What becomes of its twin when the hub is another one.
    pub(crate) carry: Carry,
}

/// What becomes of the twin when a device moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carry {
    /// It moves along.
    Migrate,
    /// It starts afresh.
    Reset,
}

/// What is to be written for an arrival, if nobody else has written meanwhile.
#[derive(Debug)]
pub(crate) struct Settlement {
    key: String,
    before: Option<Vec<u8>>,
    after: Vec<u8>,
    left: Option<Left>,
}

#[derive(Debug)]
struct Left {
    key: String,
    before: Option<Vec<u8>>,
}

impl Hubs {
    /// Works out what an arrival changes. A device that is in the hub already keeps its twin, whoever put it there; one
    /// that comes from another hub leaves that, and brings its twin along or gets a new one.
    pub(crate) async fn settle(&self, arrival: Arrival<'_>) -> Result<Settlement, ServiceError> {
        let Arrival { hub, device_id, .. } = arrival;
        let here = self.device(hub, device_id).await?;
        let moved_from = arrival.previous.filter(|(previous, _)| *previous != hub);
        let mut left = None;
        let mut brought = None;
        if let Some((old_hub, old_id)) = moved_from {
            let (device, before) = self.device(old_hub, old_id).await?.unzip();
            let key = key(old_hub, old_id);
            brought = device.map(|device: Device| device.twin);
            left = Some(Left { key, before });
        }
        let (before, bytes) = here.unzip();
        let stays = before.as_ref().map(|device: &Device| device.twin.clone());
        let twin = match (moved_from, arrival.carry) {
            (Some(_), Carry::Reset) => None,
            (Some(_), Carry::Migrate) => brought.or(stays),
            (None, _) => stays,
        };
        let twin = twin.unwrap_or_else(|| arrival.initial.clone());
        let after = match before {
            Some(mut device) => {
                device.refresh(arrival.authentication, arrival.iot_edge);
                Device { twin, ..device }
            }
            None => Device::new(
                device_id.clone(),
                arrival.authentication,
                arrival.iot_edge,
                twin,
                self.now(),
            ),
        };
        Ok(Settlement {
            key: key(hub, device_id),
            before: bytes,
            after: write(&after)?,
            left,
        })
    }

    /// The settlement is written: a connection to the hub that was left has nobody to belong to.
    pub(crate) fn settled(&self, settlement: &Settlement) {
        if let Some(left) = &settlement.left {
            self.live.end(&left.key);
        }
    }
}

impl Settlement {
    pub(crate) fn changes(&self) -> Vec<Change<'_>> {
        let put = Change::put(
            Table::Hubs,
            &self.key,
            expected(self.before.as_deref()),
            self.after.clone(),
        );
        let left = self.left.iter().map(|left| {
            let before = expected(left.before.as_deref());
            Change::delete(Table::Hubs, &left.key, before)
        });
        std::iter::once(put).chain(left).collect()
    }
}

fn expected(before: Option<&[u8]>) -> Expected<'_> {
    before.map_or(Expected::Absent, Expected::Exactly)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dps_types::SymmetricKey;
    use serde_json::json;

    use super::super::TwinPatch;
    use super::*;
    use crate::state::store::MemoryStore;
    use dps_types::SystemClock;

    fn hub(name: &str) -> HubHostname {
        name.parse().expect("a host name")
    }

    fn hubs() -> Hubs {
        Hubs::new(
            Arc::new(MemoryStore::new()),
            Arc::new(SystemClock),
            vec![hub("hub-a"), hub("hub-b")],
            &SymmetricKey::generate(),
            "localhost",
        )
        .expect("a host")
    }

    /// Settles the device in a hub, from another, unless somebody writes at the same time.
    async fn arrive(
        hubs: &Hubs,
        to: &str,
        from: Option<&str>,
        meanwhile: impl AsyncFnOnce(),
    ) -> bool {
        let device_id: DeviceId = "dev-1".parse().expect("an id");
        let (to, from) = (hub(to), from.map(hub));
        let arrival = Arrival {
            hub: &to,
            device_id: &device_id,
            authentication: Authentication::Sas {
                primary: (&SymmetricKey::generate()).into(),
                secondary: None,
            },
            iot_edge: false,
            initial: &Twin::new(None, hubs.now()).expect("valid"),
            previous: from.as_ref().map(|from| (from, &device_id)),
            carry: Carry::Migrate,
        };
        let settlement = hubs.settle(arrival).await.expect("settled");
        meanwhile().await;
        let applied = hubs.store.apply(&settlement.changes()).await;
        applied.expect("the store is there")
    }

    #[tokio::test]
    async fn what_is_changed_while_a_device_moves_is_not_lost() {
        let hubs = hubs();
        let (here, id) = (hub("hub-a"), "dev-1".parse().expect("an id"));
        assert!(arrive(&hubs, "hub-a", None, async || {}).await);
        let patch = TwinPatch::of_desired(json!({ "x": 1 }));
        let patched = async || {
            let patched = hubs.update_twin(&here, &id, &patch, false, None).await;
            patched.expect("patched");
        };
        assert!(!arrive(&hubs, "hub-b", Some("hub-a"), patched).await);
        assert!(arrive(&hubs, "hub-b", Some("hub-a"), async || {}).await);
        let there = hubs.twin_for_device(&hub("hub-b"), &id).await;
        assert_eq!(there.expect("moved")["desired"]["x"], 1);
        assert!(hubs.device(&here, &id).await.expect("read").is_none());
    }

    #[tokio::test]
    async fn a_device_is_in_one_hub_though_it_is_sent_to_two() {
        let hubs = hubs();
        assert!(arrive(&hubs, "hub-a", None, async || {}).await);
        let overtaken = async || assert!(arrive(&hubs, "hub-b", Some("hub-a"), async || {}).await);
        assert!(!arrive(&hubs, "hub-b", Some("hub-a"), overtaken).await);
        let devices = hubs.devices(&hub("hub-b"), 10).await.expect("read");
        assert_eq!(devices.len(), 1);
    }
}
