//! Assignment stores for the tests: one in memory, and one that always fails.

use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use dps_device::{AssignmentStore, CachedAssignment};
use serde_json::json;

/// Keeps the JSON document of the assignment in memory.
#[derive(Debug, Clone, Default)]
pub(super) struct Memory(pub(super) Arc<Mutex<Option<Vec<u8>>>>);

impl Memory {
    pub(super) fn with_hub(hub: &str) -> Self {
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
        let cached = json.as_deref().map(CachedAssignment::from_json);
        cached.transpose().map_err(io::Error::other)
    }

    async fn save(&self, assignment: &CachedAssignment) -> io::Result<()> {
        *self.0.lock().unwrap() = Some(assignment.to_json().unwrap());
        Ok(())
    }

    async fn clear(&self) -> io::Result<()> {
        *self.0.lock().unwrap() = None;
        Ok(())
    }
}

/// A store on a broken disk.
#[derive(Debug)]
pub(super) struct Broken;

/// A store that never answers.
#[derive(Debug)]
pub(super) struct Stuck;

#[async_trait]
impl AssignmentStore for Broken {
    async fn load(&self) -> io::Result<Option<CachedAssignment>> {
        Err(io::Error::other("the disk failed"))
    }

    async fn save(&self, _: &CachedAssignment) -> io::Result<()> {
        Err(io::Error::other("the disk failed"))
    }

    async fn clear(&self) -> io::Result<()> {
        Err(io::Error::other("the disk failed"))
    }
}

#[async_trait]
impl AssignmentStore for Stuck {
    async fn load(&self) -> io::Result<Option<CachedAssignment>> {
        std::future::pending().await
    }

    async fn save(&self, _: &CachedAssignment) -> io::Result<()> {
        std::future::pending().await
    }

    async fn clear(&self) -> io::Result<()> {
        std::future::pending().await
    }
}
