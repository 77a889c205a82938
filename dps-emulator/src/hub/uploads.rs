//! Uploads of files: a device requests an address, uploads the file there, and reports the result.
//!
//! A folder takes the place of Azure Storage. The address has a signature of the hub, so that nothing else needs to be kept.
//! Source: azure-docs `iot-hub/iot-hub-devguide-file-upload.md`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use dps_types::protocol::{encode, query_parameter, single_query_parameter};
use dps_types::sas::{SasToken, SasTokenBuilder};
use dps_types::{ErrorCode, Timestamp};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::blob_name::BlobName;
use super::feedback::ServiceQueue;
use super::{Hubs, Identity, LinkedHub};
use crate::service_error::ServiceError;

/// The container of all files, which is the first segment of their paths.
pub(crate) const CONTAINER: &str = "device-uploads";
/// The lifetime of an address: the default of a hub.
const LIFETIME: Duration = Duration::from_secs(3600);
/// The most uploads of a device at the same time.
const MAX_PENDING: usize = 10;
/// The folder of blocks that are not yet part of a file. No device has a folder with this name.
const BLOCKS: &str = ".blocks";

/// 403006, IoT Hub's `DeviceMaximumActiveFileUploadLimitExceeded`.
const TOO_MANY_UPLOADS: ErrorCode = ErrorCode::new(403_006);

/// The uploads of all hubs.
#[derive(Debug, Default)]
pub(crate) struct Uploads {
    dir: Option<PathBuf>,
    pending: Mutex<HashMap<String, Pending>>,
    pub(crate) notifications: ServiceQueue<FileNotification>,
}

/// An upload that the device has not reported as finished.
#[derive(Debug)]
struct Pending {
    identity: Identity,
    blob: BlobName,
    ends: SystemTime,
}

/// The answer to the request for an address.
#[derive(Debug)]
pub(crate) struct UploadGrant {
    pub(crate) correlation_id: String,
    pub(crate) blob_name: String,
    pub(crate) sas_token: String,
}

/// The notification that a back end receives about an uploaded file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FileNotification {
    device_id: String,
    blob_uri: String,
    blob_name: String,
    last_updated_time: Timestamp,
    blob_size_in_bytes: u64,
    enqueued_time_utc: Timestamp,
}

/// A file that a device may write.
#[derive(Debug)]
pub(crate) struct BlobFile {
    pub(crate) path: PathBuf,
    /// The folder of its blocks.
    pub(crate) blocks: PathBuf,
}

impl Uploads {
    pub(super) fn new(dir: Option<PathBuf>) -> Self {
        Self {
            dir,
            ..Self::default()
        }
    }

    fn dir(&self) -> Result<&Path, ServiceError> {
        self.dir.as_deref().ok_or_else(|| {
            ServiceError::not_implemented("file upload without a folder: set one with --upload-dir")
        })
    }

    fn begin(&self, upload: Pending, now: SystemTime) -> Result<String, ServiceError> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        pending.retain(|_, other| other.ends > now);
        let same = |other: &&Pending| other.identity == upload.identity;
        if pending.values().filter(same).count() >= MAX_PENDING {
            return Err(ServiceError::new(
                TOO_MANY_UPLOADS,
                format!("The device has {MAX_PENDING} uploads in progress, which is the maximum"),
            ));
        }
        let id = uuid::Uuid::new_v4().to_string();
        pending.insert(id.clone(), upload);
        Ok(id)
    }

    fn end(&self, identity: &Identity, correlation_id: &str) -> Option<Pending> {
        let mut pending = self.pending.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pending.get(correlation_id)?;
        if found.identity != *identity {
            return None;
        }
        pending.remove(correlation_id)
    }
}

impl Hubs {
    /// The address for an upload, valid for an hour.
    pub(crate) fn start_upload(
        &self,
        identity: &Identity,
        blob_name: &str,
    ) -> Result<UploadGrant, ServiceError> {
        self.uploads.dir()?;
        let now = self.clock.now();
        let blob = BlobName::new(&identity.device_id, blob_name)?;
        let hub = self.linked_hub(identity)?;
        let ends = now.checked_add(LIFETIME).unwrap_or(now);
        let sas_token = blob_sas(&hub, &blob, ends);
        let upload = Pending {
            identity: identity.clone(),
            blob: blob.clone(),
            ends,
        };
        let correlation_id = self.uploads.begin(upload, now)?;
        tracing::info!(device = %identity, blob = %blob, "a device starts the upload of a file");
        Ok(UploadGrant {
            correlation_id,
            blob_name: blob.to_string(),
            sas_token,
        })
    }

    /// The device reports the result of an upload. Back ends are notified of a file that is there.
    pub(crate) async fn finish_upload(
        &self,
        identity: &Identity,
        correlation_id: &str,
        success: bool,
        base_uri: &str,
    ) -> Result<(), ServiceError> {
        let Some(upload) = self.uploads.end(identity, correlation_id) else {
            return Err(ServiceError::invalid(
                "The correlationId is not that of an upload in progress of this device.",
            ));
        };
        let blob = upload.blob;
        tracing::info!(device = %identity, blob = %blob, success, "a device finished the upload of a file");
        if !success {
            return Ok(());
        }
        let path = self.blob_path(identity, &blob)?;
        let metadata = tokio::fs::metadata(&path).await.map_err(|_| {
            ServiceError::invalid("The file that the device reports as uploaded does not exist.")
        })?;
        let now = self.now();
        let notification = FileNotification {
            device_id: identity.device_id.to_string(),
            blob_uri: format!("{base_uri}/{CONTAINER}/{blob}"),
            blob_name: blob.to_string(),
            last_updated_time: metadata.modified().map_or(now, Timestamp::from),
            blob_size_in_bytes: metadata.len(),
            enqueued_time_utc: now,
        };
        self.uploads
            .notifications
            .push(&identity.hub, notification, now);
        Ok(())
    }

    /// The file for `{deviceId}/{name}`, if the query has the signature of the hub of the device.
    pub(crate) fn signed_blob(&self, name: &str, query: &str) -> Result<BlobFile, ServiceError> {
        let refused = || ServiceError::unauthorized().with_reason("the signature is not valid");
        let blob = BlobName::parse(name)?;
        let parameter = |name| single_query_parameter(query, name).ok().flatten();
        let sig = parameter("sig").ok_or_else(refused)?;
        let ends = parameter("se").ok_or_else(refused)?;
        let ends: Timestamp = ends.parse().map_err(|_| refused())?;
        if ends <= self.now() {
            return Err(ServiceError::unauthorized().with_reason("the signature has expired"));
        }
        let linked = self.linked.get();
        let mut hubs = linked.iter();
        let hub = hubs.find(|hub| {
            let text = format!(
                "SharedAccessSignature sr={}&sig={}&se={}",
                encode(&blob_resource(hub, &blob)),
                encode(&sig),
                ends.unix_seconds()
            );
            let token = text.parse::<SasToken>();
            token.is_ok_and(|token| token.verify(hub.connection.shared_access_key()))
        });
        let hub = hub.ok_or_else(refused)?;
        let folder = self.uploads.dir()?.join(hub.hostname.to_lowercase());
        let digest = Sha256::digest(blob.to_string().as_bytes());
        let digest = data_encoding::HEXLOWER.encode(&digest);
        Ok(BlobFile {
            path: folder.join(blob.path()),
            blocks: folder.join(BLOCKS).join(digest),
        })
    }

    pub(super) fn blob_path(
        &self,
        identity: &Identity,
        blob: &BlobName,
    ) -> Result<PathBuf, ServiceError> {
        let folder = self.uploads.dir()?.join(identity.hub.to_lowercase());
        Ok(folder.join(blob.path()))
    }

    fn linked_hub(&self, identity: &Identity) -> Result<LinkedHub, ServiceError> {
        let linked = self.linked.get();
        let mut hubs = linked.iter();
        hubs.find(|hub| hub.hostname == identity.hub)
            .cloned()
            .ok_or_else(ServiceError::unauthorized)
    }
}

/// The query with the signature of the hub, in the format of Azure Storage.
fn blob_sas(hub: &LinkedHub, blob: &BlobName, ends: SystemTime) -> String {
    let ends = Timestamp::from(ends).unix_seconds();
    let unix = u64::try_from(ends).unwrap_or_default();
    let resource = blob_resource(hub, blob);
    let token = SasTokenBuilder::new(&resource, unix).sign_with(hub.connection.shared_access_key());
    let text = token.reveal();
    let parameters = text
        .split_once(' ')
        .map_or("", |(_, parameters)| parameters);
    let sig = query_parameter(parameters, "sig").unwrap_or_default();
    let ends = Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(unix)).to_string();
    format!(
        "?sv=2018-03-28&sr=b&sig={}&se={}&sp=rw",
        encode(&sig),
        encode(&ends)
    )
}

fn blob_resource(hub: &LinkedHub, blob: &BlobName) -> String {
    format!("{}/{CONTAINER}/{blob}", hub.hostname.to_lowercase())
}
