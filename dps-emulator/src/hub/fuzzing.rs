//! Twins and the names of files, for the targets of `fuzz/`.

use std::path::PathBuf;
use std::time::UNIX_EPOCH;

use dps_types::enrollment::InitialTwin;
use serde_json::Value;

use super::blob_name::BlobName;
use super::twin::{Twin, TwinPatch};
use crate::state::{decode, encode};

/// A twin at a hub. A change that is refused has no effect, as in the store.
#[derive(Debug, Clone)]
pub struct TwinModel(Twin);

impl TwinModel {
    /// The twin of a new device.
    pub fn new(initial: Option<&InitialTwin>) -> Option<Self> {
        Twin::new(initial, UNIX_EPOCH.into()).ok().map(Self)
    }

    /// Patches the twin as a back end. Returns the message to the device.
    pub fn patch(&mut self, document: &Value) -> Option<Option<Value>> {
        self.change(|twin| {
            let update = twin.patch(&TwinPatch::read(document).ok()?, UNIX_EPOCH.into());
            Some(update.ok()?.map(|update| update.document))
        })
    }

    /// Replaces the twin as a back end. Returns the message to the device.
    pub fn replace(&mut self, document: &Value) -> Option<Value> {
        self.change(|twin| {
            let update = twin.replace(&TwinPatch::read(document).ok()?, UNIX_EPOCH.into());
            Some(update.ok()?.document)
        })
    }

    /// Changes the reported properties as a device. Returns their version.
    pub fn report(&mut self, patch: &Value) -> Option<u64> {
        self.change(|twin| twin.report(patch.as_object()?, UNIX_EPOCH.into()).ok())
    }

    /// The twin as the device receives it.
    pub fn for_device(&self) -> Value {
        self.0.for_device()
    }

    /// The properties as a back end receives them.
    pub fn for_back_end(&self) -> Value {
        self.0.properties()
    }

    /// The tags.
    pub fn tags(&self) -> Value {
        self.0.tags.clone().into()
    }

    fn change<T>(&mut self, change: impl FnOnce(&mut Twin) -> Option<T>) -> Option<T> {
        let mut twin = self.0.clone();
        let changed = change(&mut twin)?;
        assert!(twin.is_valid(), "the limits hold");
        let stored = encode(&twin).expect("an accepted twin can be stored");
        let read: Twin = decode(&stored).expect("a stored twin can be read");
        assert!(read == twin, "a stored twin is read unchanged");
        self.0 = twin;
        Some(changed)
    }
}

/// Reads the name of a file that a device uploads. Returns the name and the file, relative to the folder of the hub.
pub fn blob_name(text: &str) -> Option<(String, PathBuf)> {
    let name = BlobName::parse(text).ok()?;
    Some((name.to_string(), name.path()))
}
