//! Stores for assignments: one that remembers, one that fails.

use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dps_device::{AssignmentStore, CachedAssignment};
use serde_json::json;

/// What a device remembers.
#[derive(Clone, Default)]
pub(super) struct Memory(pub(super) Arc<Mutex<Option<Vec<u8>>>>);

impl Memory {
    pub(super) fn of(hub: &str) -> Self {
        Self::for_device("my-device", hub)
    }

    pub(super) fn for_device(registration_id: &str, hub: &str) -> Self {
        let json = json!({
            "version": 1,
            "idScope": "0ne00111111",
            "registrationId": registration_id,
            "assignedHub": hub,
            "deviceId": "my-device",
        });
        Self(Arc::new(Mutex::new(Some(json.to_string().into_bytes()))))
    }

    pub(super) fn hub(&self) -> Option<String> {
        let json = self.0.lock().unwrap().clone()?;
        Some(
            CachedAssignment::from_json(&json)
                .unwrap()
                .hub()
                .to_string(),
        )
    }
}

#[async_trait]
impl AssignmentStore for Memory {
    async fn load(&self) -> io::Result<Option<CachedAssignment>> {
        let json = self.0.lock().unwrap().clone();
        json.as_deref().map(CachedAssignment::from_json).transpose()
    }

    async fn save(&self, assignment: &CachedAssignment) -> io::Result<()> {
        *self.0.lock().unwrap() = Some(assignment.to_json());
        Ok(())
    }

    async fn clear(&self) -> io::Result<()> {
        *self.0.lock().unwrap() = None;
        Ok(())
    }
}

/// A disk that is gone.
pub(super) struct Broken;

#[async_trait]
impl AssignmentStore for Broken {
    async fn load(&self) -> io::Result<Option<CachedAssignment>> {
        Err(io::Error::other("the disk is gone"))
    }

    async fn save(&self, _: &CachedAssignment) -> io::Result<()> {
        Err(io::Error::other("the disk is gone"))
    }

    async fn clear(&self) -> io::Result<()> {
        Err(io::Error::other("the disk is gone"))
    }
}
