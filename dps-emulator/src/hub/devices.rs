//! The devices and modules of the hubs in the store: read, list, change and delete.

use dps_types::{ErrorCode, HubHostname};

use super::{Device, Hubs, Identity};
use crate::service_error::ServiceError;
use crate::state::store::{Change, Expected, Pages, Table};
use crate::state::{decode, decode_or_skip, encode};

/// The maximum number of write attempts if other requests change the device at the same time.
const ATTEMPTS: usize = 10;

/// 404001, IoT Hub's `DeviceNotFound`.
const DEVICE_NOT_FOUND: ErrorCode = ErrorCode::new(404_001);
/// 404010, IoT Hub's `ModuleNotFound`.
const MODULE_NOT_FOUND: ErrorCode = ErrorCode::new(404_010);

impl Hubs {
    pub(super) async fn device(
        &self,
        identity: &Identity,
    ) -> Result<Option<(Device, Vec<u8>)>, ServiceError> {
        match self.store.get(identity.table(), &identity.key()).await? {
            Some(bytes) => Ok(Some((decode(&bytes)?, bytes))),
            None => Ok(None),
        }
    }

    /// The device if it exists and can be read, and its stored bytes if it exists.
    pub(super) async fn readable_device(
        &self,
        identity: &Identity,
    ) -> Result<(Option<Device>, Option<Vec<u8>>), ServiceError> {
        let key = identity.key();
        let bytes = self.store.get(identity.table(), &key).await?;
        let device = bytes
            .as_deref()
            .and_then(|bytes| decode_or_skip(&key, bytes));
        Ok((device, bytes))
    }

    /// The device, or the hub's 404.
    pub(super) async fn required(
        &self,
        identity: &Identity,
    ) -> Result<(Device, Vec<u8>), ServiceError> {
        self.device(identity)
            .await?
            .ok_or_else(|| not_registered(identity))
    }

    /// At most `limit` devices of the hub, in order of their ids.
    pub(super) async fn devices(
        &self,
        hub: &HubHostname,
        limit: usize,
    ) -> Result<Vec<Device>, ServiceError> {
        let prefix = format!("{}/", hub.to_lowercase());
        let mut devices = Vec::new();
        let mut pages = Pages::with_prefix(&*self.store, Table::Hubs, &prefix);
        while let Some(page) = pages.next().await? {
            for (key, bytes) in page {
                if devices.len() == limit {
                    return Ok(devices);
                }
                devices.extend(decode_or_skip::<Device>(&key, &bytes));
            }
        }
        Ok(devices)
    }

    /// Changes a device. `change` is called again if another request has changed the device in between.
    pub(super) async fn change<T>(
        &self,
        identity: &Identity,
        change: impl Fn(&mut Device) -> Result<T, ServiceError>,
    ) -> Result<T, ServiceError> {
        let (table, key) = (identity.table(), identity.key());
        for _ in 0..ATTEMPTS {
            let (mut device, bytes) = self.required(identity).await?;
            let done = change(&mut device)?;
            let expected = Expected::Exactly(&bytes);
            let changed = Change::put(table, &key, expected, encode(&device)?);
            if self.store.apply(&[changed]).await? {
                return Ok(done);
            }
        }
        Err(ServiceError::conflict())
    }

    /// Deletes a device if it passes `check`. A device that cannot be read is deleted without the check.
    pub(super) async fn delete(
        &self,
        identity: &Identity,
        check: impl Fn(&Device) -> Result<(), ServiceError>,
    ) -> Result<(), ServiceError> {
        let (table, key) = (identity.table(), identity.key());
        for _ in 0..ATTEMPTS {
            let (device, bytes) = self.readable_device(identity).await?;
            let bytes = bytes.ok_or_else(|| not_registered(identity))?;
            if let Some(device) = device {
                check(&device)?;
            }
            let expected = Expected::Exactly(&bytes);
            if self.store.delete(table, &key, expected).await? {
                return Ok(());
            }
        }
        Err(ServiceError::conflict())
    }
}

fn not_registered(identity: &Identity) -> ServiceError {
    match identity.module_id {
        Some(_) => ServiceError::new(
            MODULE_NOT_FOUND,
            format!("Module {identity} is not registered"),
        ),
        None => ServiceError::new(
            DEVICE_NOT_FOUND,
            format!("Device {identity} is not registered"),
        ),
    }
}
