//! The devices of the hubs in the store: read, list, change and delete.

use dps_types::{DeviceId, ErrorCode, HubHostname};

use super::{Device, Hubs};
use crate::service_error::ServiceError;
use crate::state::store::{Change, Expected, Table};
use crate::state::{decode, decode_or_skip, encode};

/// How often a write is attempted if other requests change the device at the same time.
const ATTEMPTS: usize = 10;
/// The number of devices that are read from the store at once.
const PAGE: usize = 100;

/// 404001, IoT Hub's `DeviceNotFound`.
const DEVICE_NOT_FOUND: ErrorCode = ErrorCode::new(404_001);

impl Hubs {
    pub(super) async fn device(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
    ) -> Result<Option<(Device, Vec<u8>)>, ServiceError> {
        match self.store.get(Table::Hubs, &key(hub, id)).await? {
            Some(bytes) => Ok(Some((decode(&bytes)?, bytes))),
            None => Ok(None),
        }
    }

    /// The device if it exists and can be read, and its stored bytes if it exists.
    pub(super) async fn readable_device(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
    ) -> Result<(Option<Device>, Option<Vec<u8>>), ServiceError> {
        let key = key(hub, id);
        let bytes = self.store.get(Table::Hubs, &key).await?;
        let device = bytes
            .as_deref()
            .and_then(|bytes| decode_or_skip(&key, bytes));
        Ok((device, bytes))
    }

    /// The device, or the hub's 404.
    pub(super) async fn required(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
    ) -> Result<(Device, Vec<u8>), ServiceError> {
        self.device(hub, id)
            .await?
            .ok_or_else(|| not_registered(id))
    }

    /// At most `limit` devices of the hub, in order of their ids.
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
                devices.extend(decode_or_skip::<Device>(&key, &bytes));
                after = key;
            }
            if complete {
                return Ok(devices);
            }
        }
    }

    /// Changes a device. `change` is called again if another request has changed the device in between.
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
            let changed = Change::put(Table::Hubs, &key, expected, encode(&device)?);
            if self.store.apply(&[changed]).await? {
                return Ok(done);
            }
        }
        Err(ServiceError::conflict())
    }

    /// Deletes a device if it passes `check`. A device that cannot be read is deleted without the check.
    pub(super) async fn delete(
        &self,
        hub: &HubHostname,
        id: &DeviceId,
        check: impl Fn(&Device) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        let key = key(hub, id);
        for _ in 0..ATTEMPTS {
            let (device, bytes) = self.readable_device(hub, id).await?;
            let bytes = bytes.ok_or_else(|| not_registered(id))?;
            if let Some(device) = device {
                check(&device)?;
            }
            let expected = Expected::Exactly(&bytes);
            if self.store.delete(Table::Hubs, &key, expected).await? {
                return Ok(());
            }
        }
        Err(ServiceError::conflict())
    }
}

/// The key of a device in the store. Host names and device ids contain no `/`. Device ids are case-sensitive.
pub(super) fn key(hub: &HubHostname, id: &DeviceId) -> String {
    format!("{}/{id}", hub.to_lowercase())
}

fn not_registered(id: &DeviceId) -> ServiceError {
    ServiceError::new(DEVICE_NOT_FOUND, format!("Device {id} is not registered"))
}
