//! What the emulator remembers: enrollments and registration records, over a store.

mod attestation;
mod document;
mod enrollments;
mod record;
mod registrations;
pub(crate) mod store;
mod validate;
mod version;
mod views;

use std::sync::Arc;

use dps_types::{ETag, Timestamp};

use crate::clock::Clock;
use store::Store;

pub(crate) use document::{Document, Terms};
pub(crate) use record::{EnrollmentRef, Pending, Proof, Record, Verdict};
pub(crate) use registrations::Stored;
pub(crate) use version::storage_form;
pub(crate) use views::{for_webhook, with_secrets, without_secrets};

/// Typed access to the store.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
}

impl Registry {
    pub(crate) fn new(store: Arc<dyn Store>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    pub(crate) fn store(&self) -> &dyn Store {
        &*self.store
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now().into()
    }

    pub(crate) fn new_version(&self) -> ETag {
        version::new_version(self.now())
    }
}
