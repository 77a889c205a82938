//! A database in memory that several emulators share, and the connection of each, which can be interrupted.

use std::sync::Arc;

use async_trait::async_trait;
use dps_emulator::store::{
    Action, Change, MemoryStore, Notifications, Notifier, Store, StoreError, Table,
};
use tokio::sync::watch;

/// The database. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Database {
    tables: Arc<MemoryStore>,
    notifier: Notifier,
}

/// The connection of one emulator.
#[derive(Debug)]
pub(crate) struct DatabaseClient {
    database: Database,
    /// Whether heartbeats are refused, and the results of operations wait.
    is_slow: watch::Sender<bool>,
}

impl Database {
    pub(crate) fn client(&self) -> Arc<DatabaseClient> {
        Arc::new(DatabaseClient {
            database: self.clone(),
            is_slow: watch::Sender::new(false),
        })
    }

    /// Informs all emulators that they may have missed messages.
    pub(crate) fn interrupt(&self) {
        self.notifier.missed();
    }

    pub(crate) async fn count(&self, table: Table) -> u64 {
        self.tables.count(table).await.expect("it is in memory")
    }
}

impl DatabaseClient {
    /// From now on heartbeats are refused, and the results of operations wait.
    pub(crate) fn slow_down(&self) {
        self.is_slow.send_replace(true);
    }

    /// What waited goes on.
    pub(crate) fn speed_up(&self) {
        self.is_slow.send_replace(false);
    }
}

#[async_trait]
impl Store for DatabaseClient {
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.database.tables.get(table, key).await
    }

    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError> {
        let is_heartbeat = |change: &Change<'_>| change.table == Table::Replicas;
        if *self.is_slow.borrow() && changes.iter().any(is_heartbeat) {
            return Err(StoreError::new("the connection is interrupted"));
        }
        let is_result = |change: &Change<'_>| {
            change.table == Table::Operations && change.action == Action::Delete
        };
        if changes.iter().any(is_result) {
            let mut is_slow = self.is_slow.subscribe();
            let waited = is_slow.wait_for(|is_slow| !is_slow).await;
            waited.expect("the sender is in self");
        }
        self.database.tables.apply(changes).await
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.database.tables.scan(table, after, limit).await
    }

    async fn notify(&self, message: &str) -> Result<(), StoreError> {
        self.database.notifier.send(message);
        Ok(())
    }

    fn notifications(&self) -> Option<Notifications> {
        Some(self.database.notifier.subscribe())
    }
}
