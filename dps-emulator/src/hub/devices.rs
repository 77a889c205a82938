//! The devices of the hubs in the store: by key, in order, and changed when nobody else did.

use dps_types::{DeviceId, ErrorCode, HubHostname};

use super::{Device, Hubs};
use crate::service_error::ServiceError;
use crate::state::store::{Change, Expected, Table};

/// How often a write is tried again when someone else wrote in between.
const ATTEMPTS: usize = 10;
/// How many devices one read of the store brings.
const PAGE: usize = 100;

/// 404001, as a hub names it.
const DEVICE_NOT_FOUND: ErrorCode = ErrorCode::new(404_001);

impl Hubs {
    pub(super) async fn device(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
    ) -> Result<Option<(Device, Vec<u8>)>, ServiceError> {
        match self.store.get(Table::Hubs, &key(hub, id)).await? {
            Some(bytes) => Ok(Some((read(&bytes)?, bytes))),
            None => Ok(None),
        }
    }

    /// The device, or the hub's 404.
    pub(super) async fn required(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
    ) -> Result<(Device, Vec<u8>), ServiceError> {
        self.device(hub, id).await?.ok_or_else(|| {
            ServiceError::new(DEVICE_NOT_FOUND, format!("Device {id} is not registered"))
        })
    }

    /// The hub's devices in order of their ids, at most so many.
    pub(super) async fn devices(
        &self,
        hub: &HubHostname,
        limit: usize,
    ) -> Result<Vec<Device>, ServiceError> {
        let prefix = format!("{}/", hub.to_lowercase());
        let mut after = prefix.clone();
        let mut devices = Vec::new();
        loop {
            let page = self.store.scan(Table::Hubs, Some(&after), PAGE).await?;
            let complete = page.len() < PAGE;
            for (key, bytes) in page {
                if !key.starts_with(&prefix) || devices.len() == limit {
                    return Ok(devices);
                }
                devices.push(read(&bytes)?);
                after = key;
            }
            if complete {
                return Ok(devices);
            }
        }
    }

    /// Changes a device until nobody else has changed it meanwhile.
    pub(super) async fn change<T>(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
        change: impl Fn(&mut Device) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let key = key(hub, id);
        for _ in 0..ATTEMPTS {
            let (mut device, bytes) = self.required(hub, id).await?;
            let done = change(&mut device)?;
            let expected = Expected::Exactly(&bytes);
            let changed = Change::put(Table::Hubs, &key, expected, write(&device)?);
            if self.store.apply(&[changed]).await? {
                return Ok(done);
            }
        }
        Err(ServiceError::conflict())
    }

    /// Deletes a device that is as `check` wants it.
    pub(super) async fn delete(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
        check: impl Fn(&Device) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        let key = key(hub, id);
        for _ in 0..ATTEMPTS {
            let (device, bytes) = self.required(hub, id).await?;
            check(&device)?;
            let expected = Expected::Exactly(&bytes);
            if self.store.delete(Table::Hubs, &key, expected).await? {
                return Ok(());
            }
        }
        Err(ServiceError::conflict())
    }
}

/// Neither a host name nor a device id can hold a `/`. Device ids differ by case.
pub(super) fn key(hub: &HubHostname, id: &DeviceId) -> String {
    format!("{}/{id}", hub.to_lowercase())
}

fn read(bytes: &[u8]) -> Result<Device, ServiceError> {
    serde_json::from_slice(bytes).map_err(|error| damaged(&error))
}

pub(super) fn write(device: &Device) -> Result<Vec<u8>, ServiceError> {
    serde_json::to_vec(device).map_err(|error| damaged(&error))
}

/// What is stored and cannot be read is the emulator's fault.
fn damaged(error: &serde_json::Error) -> ServiceError {
    tracing::error!(%error, "a stored device is damaged");
    ServiceError::new(
        ErrorCode::SERVER_ERROR,
        "A stored device is damaged. The cause is in the emulator's log.",
    )
}
