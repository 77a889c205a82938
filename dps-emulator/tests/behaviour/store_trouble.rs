//! A store that fails temporarily: a registration that was accepted is still completed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use dps_emulator::store::{Action, Change, MemoryStore, Store, StoreError, Table};
use serde_json::json;

use crate::common::linked;
use crate::common::{Dps, Hook, KEY_1, KEY_2, key_enrollment, with};

/// Fails a number of times when the result of a registration is written.
#[derive(Debug)]
struct Troubled {
    store: MemoryStore,
    failures: AtomicUsize,
}

impl Troubled {
    fn refuses(&self, changes: &[Change<'_>]) -> bool {
        let ends = |change: &Change<'_>| {
            change.table == Table::Operations && change.action == Action::Delete
        };
        changes.iter().any(ends)
            && self
                .failures
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| {
                    left.checked_sub(1)
                })
                .is_ok()
    }
}

#[async_trait]
impl Store for Troubled {
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.store.get(table, key).await
    }

    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError> {
        match self.refuses(changes) {
            true => Err(StoreError::new("the disk is full")),
            false => self.store.apply(changes).await,
        }
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.scan(table, after, limit).await
    }
}

#[tokio::test]
async fn an_assignment_is_recorded_when_the_store_works_again_and_the_webhook_is_called_once() {
    let hook = Hook::saying(200, r#"{"iotHubHostName":"hub-a"}"#).await;
    let store = Arc::new(Troubled {
        store: MemoryStore::new(),
        failures: AtomicUsize::new(2),
    });
    let shared = Arc::clone(&store);
    let dps = Dps::start_with(|builder| builder.link_hub(linked("hub-a")).store(shared)).await;
    let by_webhook = json!({
        "allocationPolicy": "custom",
        "customAllocationDefinition": { "webhookUrl": hook.url, "apiVersion": "2021-10-01" },
    });
    dps.create(
        "/enrollments/d1",
        &with(key_enrollment("d1", KEY_1, KEY_2), by_webhook),
    )
    .await;

    let state = dps.device("d1").key(KEY_1).assigned().await;
    assert_eq!(state["assignedHub"], "hub-a");
    assert_eq!(store.failures.load(Ordering::SeqCst), 0);
    assert_eq!(hook.asked(1).await.len(), 1);
}
