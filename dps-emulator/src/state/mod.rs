//! The state of an instance: enrollments and registration records, with their rules and indexes, in a store.

mod attestation;
mod codec;
mod decoded_groups;
mod document;
mod enrollments;
#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod members;
mod message;
mod operations;
mod page;
mod quota;
mod record;
mod registrations;
pub(crate) mod store;
#[cfg(feature = "control")]
mod transfer;
mod unique;
mod validate;
mod version;
mod views;

use std::sync::Arc;
use std::time::SystemTime;

use dps_types::{ETag, Timestamp};
use uuid::Uuid;

use crate::limits::Limits;
use crate::random::Random;
use decoded_groups::DecodedGroups;
use dps_types::Clock;
use quota::Quota;
use store::Store;

pub(crate) use codec::{decode, decode_or_skip, encode};
pub(crate) use document::{Document, Terms};
pub(crate) use message::sentence;
pub(crate) use operations::InProgress;
pub(crate) use page::Page;
pub(crate) use quota::Turn;
pub(crate) use record::{Outcome, Pending, Record, issues_certificates};
pub(crate) use registrations::Stored;
pub(crate) use validate::document as read_document;
pub(crate) use version::storage_form;
pub(crate) use views::{for_webhook, of_version, with_secrets, without_secrets};

/// Typed access to the store of an instance.
#[derive(Debug, Clone)]
pub(crate) struct State {
    store: Arc<dyn Store>,
    /// The store with the data of all instances. Its counts are upper limits, at a constant cost.
    whole: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    quota: Arc<Quota>,
    decoded_groups: Arc<DecodedGroups>,
    random: Arc<Random>,
    /// The id of this emulator among those that share the store.
    replica: Arc<str>,
    /// Whether other emulators can share the store.
    is_shared: bool,
}

impl State {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self {
            is_shared: store.notifications().is_some(),
            whole: Arc::clone(&store),
            store,
            clock,
            quota: Arc::new(Quota::new(limits)),
            decoded_groups: Arc::default(),
            random: Arc::default(),
            replica: Uuid::new_v4().to_string().into(),
        }
    }

    /// Whether other emulators can share the store.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// States that the store is a part of another one.
    pub(crate) fn within(mut self, whole: Arc<dyn Store>) -> Self {
        self.whole = whole;
        self
    }

    /// Sets the id of this emulator among those that share the store.
    pub(crate) fn at_replica(mut self, replica: Arc<str>) -> Self {
        self.replica = replica;
        self
    }

    /// Makes ids and ETags repeatable.
    pub(crate) fn with_seed(mut self, seed: Option<u64>) -> Self {
        self.random = Arc::new(Random::new(seed));
        self
    }

    /// The source of ids.
    pub(crate) fn random(&self) -> &Random {
        &self.random
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.moment().into()
    }

    pub(crate) fn moment(&self) -> SystemTime {
        self.clock.now()
    }

    pub(crate) fn new_version(&self) -> ETag {
        version::new_version(self.now(), &self.random)
    }
}
