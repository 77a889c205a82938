//! All devices of the hubs: pages of them, and their removal.

#[cfg(feature = "control")]
use dps_types::HubHostname;

use super::Hubs;
#[cfg(feature = "control")]
use super::{Device, HubDevice};
#[cfg(feature = "control")]
use crate::replica::Message;
use crate::service_error::ServiceError;
#[cfg(feature = "control")]
use crate::state::decode_or_skip;
use crate::state::store::{Change, Expected, Table};

/// The number of entries that are removed at once.
const PAGE: usize = 500;

impl Hubs {
    /// At most `limit` devices of a hub in order of their ids, starting after the id `after`, and whether more follow.
    #[cfg(feature = "control")]
    pub(crate) async fn page(
        &self,
        hub: &HubHostname,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<HubDevice>, bool), ServiceError> {
        let prefix = format!("{}/", hub.to_lowercase());
        let start = format!("{prefix}{}", after.unwrap_or_default());
        let entries = self.store.scan(Table::Hubs, Some(&start), limit + 1);
        let entries = entries.await?.into_iter();
        let mut of_hub: Vec<(String, Vec<u8>)> = entries
            .take_while(|(key, _)| key.starts_with(&prefix))
            .collect();
        let has_more = of_hub.len() > limit;
        of_hub.truncate(limit);
        let devices = of_hub
            .iter()
            .filter_map(|(key, bytes)| decode_or_skip::<Device>(key, bytes))
            .map(HubDevice::new)
            .collect();
        Ok((devices, has_more))
    }

    /// Ends the connections of all devices and modules.
    #[cfg(feature = "control")]
    pub(crate) fn disconnect_all(&self) {
        // A hub belongs to one instance, so any of them names it.
        if let Some(hub) = self.linked_hubs().first() {
            let device = format!("{}/", hub.hostname.to_lowercase());
            self.inform(|| Message::DisconnectAll { device });
        }
        self.connections.disconnect_all();
    }

    /// Removes the devices and modules of all hubs, and disconnects them.
    pub(crate) async fn remove_all(&self) -> Result<(), ServiceError> {
        for table in [Table::Hubs, Table::HubModules, Table::HubMessages] {
            loop {
                let page = self.store.scan(table, None, PAGE).await?;
                let changes: Vec<Change<'_>> = page
                    .iter()
                    .map(|(key, _)| Change::delete(table, key, Expected::Anything))
                    .collect();
                self.store.apply(&changes).await?;
                for (key, _) in &page {
                    self.end_session(key);
                }
                if page.len() < PAGE {
                    break;
                }
            }
        }
        Ok(())
    }
}
