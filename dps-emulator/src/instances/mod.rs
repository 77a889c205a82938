//! The instances of an emulator: the one that it started with, and those that were created since.
//!
//! The store has the instances, so that they survive a restart and every emulator that shares the store finds them. An instance is
//! assembled in memory at its first use, and brought up to date when its stored form has changed.

mod blueprint;
mod change;
mod check;
mod find;
mod first;
mod handle;
mod keys;
mod name;
mod options;
mod record;
mod take_over;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dps_types::IdScope;
use sha2::{Digest, Sha256};

use crate::allocate::Latency;
use crate::endpoint::Gateway;
use crate::error::Error;
use crate::service_error::ServiceError;
use crate::state::store::{Partition, Store, Table};
use crate::state::{decode, decode_or_skip};
use dps_types::{Clock, ETag, ErrorCode};

pub(crate) use blueprint::{Blueprint, Parts};
pub use handle::InstanceHandle;
pub(crate) use keys::Key;
pub use name::InstanceName;
pub use options::InstanceOptions;
pub(crate) use record::{HubRecord, PolicyRecord, Record, Resource, StoredKey};

/// The number of stored instances that are read at once.
const PAGE: usize = 200;

/// The instances of an emulator.
#[derive(Debug)]
pub(crate) struct Instances {
    first: Arc<Gateway>,
    blueprint: Blueprint,
    assembled: Mutex<HashMap<IdScope, Assembled>>,
    /// Held while an instance is assembled, changed or deleted.
    turn: tokio::sync::Mutex<()>,
}

/// An instance in memory.
#[derive(Debug)]
struct Assembled {
    gateway: Arc<Gateway>,
    /// The digest of the stored form that it was made from.
    digest: [u8; 32],
}

impl Instances {
    pub(crate) fn new(first: Arc<Gateway>, blueprint: Blueprint) -> Self {
        Self {
            first,
            blueprint,
            assembled: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The instance that the emulator started with.
    pub(crate) fn first(&self) -> &Arc<Gateway> {
        &self.first
    }

    /// The instance with this id scope, as it is stored now.
    pub(crate) async fn of_id_scope(
        &self,
        id_scope: &IdScope,
    ) -> Result<Option<Arc<Gateway>>, ServiceError> {
        if *id_scope == self.first.instance.id_scope {
            return Ok(Some(Arc::clone(&self.first)));
        }
        let key = Key::IdScope(id_scope).to_string();
        if let Some(bytes) = self.store().get(Table::Instances, &key).await? {
            if let Some(gateway) = self.up_to_date(id_scope, digest(&bytes)) {
                return Ok(Some(gateway));
            }
            if let Some(gateway) = Box::pin(self.assemble(id_scope, None)).await? {
                return Ok(Some(gateway));
            }
        }
        self.forget(id_scope);
        Ok(None)
    }

    /// Assembles an instance, or brings it up to date. Without a clock it has that of the emulator.
    async fn assemble(
        &self,
        id_scope: &IdScope,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Option<Arc<Gateway>>, ServiceError> {
        let _turn = self.turn.lock().await;
        let Some((record, digest)) = self.stored(id_scope).await? else {
            return Ok(None);
        };
        if let Some(gateway) = self.up_to_date(id_scope, digest) {
            return Ok(Some(gateway));
        }
        let known = self
            .assembled()
            .get(id_scope)
            .map(|it| Arc::clone(&it.gateway));
        let gateway = match known {
            Some(gateway) => gateway,
            None => Arc::new(self.assembled_of(&record, clock).await?),
        };
        self.update(&gateway, &record)?;
        let assembled = Assembled {
            gateway: Arc::clone(&gateway),
            digest,
        };
        self.assembled().insert(id_scope.clone(), assembled);
        Ok(Some(gateway))
    }

    async fn assembled_of(
        &self,
        record: &Record,
        clock: Option<Arc<dyn Clock>>,
    ) -> Result<Gateway, ServiceError> {
        let blueprint = &self.blueprint;
        let store = Arc::clone(&blueprint.store);
        let parts = Parts {
            id_scope: record.id_scope.clone(),
            store: Partition::of(store, &record.id_scope),
            clock: clock.unwrap_or_else(|| Arc::clone(&blueprint.clock)),
            access: blueprint.access(Vec::new(), [], false),
            hubs: Vec::new(),
            allocated: Vec::new(),
            default_policy: record.allocation_policy.clone(),
            latencies: Latency::table(Vec::new()),
            verified_cas: Vec::new(),
        };
        blueprint.assemble(parts).await.map_err(not_assembled)
    }

    /// Sets the policies and hubs of an instance to those of its stored form.
    fn update(&self, gateway: &Gateway, record: &Record) -> Result<(), ServiceError> {
        let instance = &gateway.instance;
        let hubs = record.linked_hubs(&self.blueprint.shared.local_host)?;
        let access = self.blueprint.access(
            record.policies(),
            [record.name.host_name()],
            record.local_auth_disabled,
        );
        instance.access.set(access);
        let policy = record.allocation_policy.clone();
        instance.allocator.link(record.allocated_hubs(), policy);
        instance.hubs.link(hubs);
        Ok(())
    }

    /// The stored form of an instance with its digest. `None` if it does not exist, or is being deleted.
    async fn stored(&self, id_scope: &IdScope) -> Result<Option<(Record, [u8; 32])>, ServiceError> {
        let key = Key::IdScope(id_scope).to_string();
        let bytes = self.store().get(Table::Instances, &key).await?;
        let Some(bytes) = bytes else {
            return Ok(None);
        };
        let record: Record = decode(&bytes)?;
        Ok((!record.is_deleted).then(|| (record, digest(&bytes))))
    }

    fn up_to_date(&self, id_scope: &IdScope, digest: [u8; 32]) -> Option<Arc<Gateway>> {
        let assembled = self.assembled();
        let found = assembled.get(id_scope).filter(|it| it.digest == digest)?;
        Some(Arc::clone(&found.gateway))
    }

    /// Removes an instance from memory, and ends its tasks and connections.
    fn forget(&self, id_scope: &IdScope) -> Option<Arc<Gateway>> {
        let Assembled { gateway, .. } = self.assembled().remove(id_scope)?;
        gateway.stop.cancel();
        gateway.instance.hubs.missed();
        Some(gateway)
    }

    /// All instances in memory, the first one first.
    pub(crate) fn in_memory(&self) -> Vec<Arc<Gateway>> {
        let assembled = self.assembled();
        let others = assembled.values().map(|it| Arc::clone(&it.gateway));
        std::iter::once(Arc::clone(&self.first))
            .chain(others)
            .collect()
    }

    /// All created instances, in order of their id scopes.
    pub(crate) async fn list(&self) -> Result<Vec<Record>, ServiceError> {
        let mut records = Vec::new();
        let mut after = Key::SCOPES.to_owned();
        loop {
            let page = self.store().scan(Table::Instances, Some(&after), PAGE);
            let page = page.await?;
            let own = page
                .iter()
                .take_while(|(key, _)| key.starts_with(Key::SCOPES));
            let own: Vec<&(String, Vec<u8>)> = own.collect();
            let is_last = own.len() < PAGE;
            let read = own
                .into_iter()
                .filter_map(|(key, bytes)| decode_or_skip::<Record>(key, bytes));
            records.extend(read.filter(|record| !record.is_deleted));
            match page.into_iter().next_back() {
                Some((key, _)) if !is_last => after = key,
                _ => return Ok(records),
            }
        }
    }

    /// Waits until every allocation has stopped. The stop signal must have been sent before.
    pub(crate) async fn stopped(&self) {
        for gateway in self.in_memory() {
            gateway.engine.stopped().await;
        }
        if let Some(replica) = &self.blueprint.replica {
            replica.leave().await;
        }
    }

    /// A new version of an instance.
    pub(crate) fn new_etag(&self) -> ETag {
        self.first.instance.state.new_version()
    }

    fn store(&self) -> &dyn Store {
        &*self.blueprint.store
    }

    fn assembled(&self) -> MutexGuard<'_, HashMap<IdScope, Assembled>> {
        self.assembled
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn not_assembled(error: Error) -> ServiceError {
    tracing::error!(
        error = &error as &dyn std::error::Error,
        "an instance cannot be used"
    );
    ServiceError::new(
        ErrorCode::SERVER_ERROR,
        "The instance cannot be used. The cause is in the emulator's log.",
    )
}
