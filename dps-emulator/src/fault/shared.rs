//! Faults in a store that several emulators share: the count of each is that of all emulators together.
//!
//! The store has an entry for each fault, and one for each time that it was applied, which only one emulator can create.

use std::sync::Arc;

use super::{Fault, Faults, Rule};
use crate::service_error::ServiceError;
use crate::state::store::{Change, Expected, Pages, Store, StoreError, Table};
use crate::state::{decode_or_skip, encode};

const RULE: &str = "rule/";
const USE: &str = "use/";

impl Faults {
    /// Keeps the faults of the control endpoint in a store that other emulators share.
    pub(crate) fn in_store(self, store: Option<Arc<dyn Store>>) -> Self {
        if let Some(store) = store {
            // Nothing else sets it.
            let _ = self.0.store.set(store);
        }
        self
    }

    /// Adds a fault to the queues of all emulators that share the store, and returns its id. Other emulators must
    /// [`reload`](Self::reload).
    pub(crate) async fn share(&self, fault: Fault) -> Result<u64, ServiceError> {
        let Some(store) = self.0.store.get() else {
            return Ok(self.next(fault));
        };
        // Exact in every language's JSON numbers.
        let id = uuid::Uuid::new_v4().as_u64_pair().0 >> 12;
        let document = encode(&fault)?;
        store
            .put(Table::Faults, &rule_key(id), Expected::Absent, document)
            .await?;
        let mut queue = self.queue();
        queue.push_back(Rule {
            id,
            fault,
            uses: Some(0),
        });
        self.count(&queue);
        Ok(id)
    }

    /// Removes a fault at all emulators; false if it is not there.
    pub(crate) async fn unshare(&self, id: u64) -> Result<bool, ServiceError> {
        if let Some(store) = self.0.store.get() {
            let expected = Expected::Anything;
            store.delete(Table::Faults, &rule_key(id), expected).await?;
            clear(&**store, &format!("{USE}{id}/")).await?;
        }
        Ok(self.remove(id))
    }

    /// Empties the queues of all emulators.
    pub(crate) async fn clear_shared(&self) -> Result<(), ServiceError> {
        self.clear();
        if let Some(store) = self.0.store.get() {
            clear(&**store, RULE).await?;
            clear(&**store, USE).await?;
        }
        Ok(())
    }

    /// Reads the shared faults again. Those that were added in this process stay.
    pub(crate) async fn reload(&self) -> Result<(), ServiceError> {
        let Some(store) = self.0.store.get() else {
            return Ok(());
        };
        let mut rules = Vec::new();
        for (key, bytes) in Pages::with_prefix(&**store, Table::Faults, RULE)
            .collect()
            .await?
        {
            let id = key.strip_prefix(RULE).and_then(|id| id.parse().ok());
            let fault = decode_or_skip::<Fault>(&key, &bytes);
            let (Some(id), Some(mut fault)) = (id, fault) else {
                continue;
            };
            let uses = Pages::with_prefix(&**store, Table::Faults, &format!("{USE}{id}/"))
                .collect()
                .await?
                .len();
            if fault.times != usize::MAX {
                fault.times = fault.times.saturating_sub(uses);
            }
            let uses = Some(uses);
            rules.push(Rule { id, fault, uses });
        }
        let mut queue = self.queue();
        queue.retain(|rule| rule.uses.is_none());
        queue.extend(rules.into_iter().filter(|rule| rule.fault.times > 0));
        self.count(&queue);
        Ok(())
    }

    /// Whether this emulator is the one that applies the fault for this time. Only one emulator is.
    pub(super) async fn claim(&self, id: u64, number: usize) -> Result<bool, StoreError> {
        let Some(store) = self.0.store.get() else {
            return Ok(true);
        };
        if store.get(Table::Faults, &rule_key(id)).await?.is_none() {
            self.remove(id);
            return Ok(false);
        }
        let key = format!("{USE}{id}/{number:020}");
        let claimed = store.put(Table::Faults, &key, Expected::Absent, Vec::new());
        let is_claimed = claimed.await?;
        if is_claimed && self.is_used_up(id) {
            // Its entries are not needed any more.
            self.forget(&**store, id).await?;
        }
        Ok(is_claimed)
    }

    /// Whether the fault was applied for the last time.
    fn is_used_up(&self, id: u64) -> bool {
        self.queue().iter().all(|rule| rule.id != id)
    }

    async fn forget(&self, store: &dyn Store, id: u64) -> Result<(), StoreError> {
        let expected = Expected::Anything;
        store.delete(Table::Faults, &rule_key(id), expected).await?;
        clear(store, &format!("{USE}{id}/")).await
    }
}

async fn clear(store: &dyn Store, prefix: &str) -> Result<(), StoreError> {
    let mut pages = Pages::with_prefix(store, Table::Faults, prefix);
    while let Some(page) = pages.next().await? {
        let changes: Vec<Change<'_>> = page
            .iter()
            .map(|(key, _)| Change::delete(Table::Faults, key, Expected::Anything))
            .collect();
        store.apply(&changes).await?;
    }
    Ok(())
}

fn rule_key(id: u64) -> String {
    format!("{RULE}{id:020}")
}
