//! The part of Azure Storage that uploads of devices need: Put Blob, Put Block and Put Block List, into a folder.
//!
//! Source: Azure Storage, "Blob service REST API".

use std::path::{Path, PathBuf};

use ::http::StatusCode;
use data_encoding::HEXLOWER;
use dps_types::ErrorCode;
use dps_types::protocol::decode;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::AsyncWriteExt;

use super::Gateway;
use super::call::{Call, SERVICE_LIMIT, parameter};
use super::reply::Reply;
use crate::hub::{BlobFile, CONTAINER};
use crate::service_error::ServiceError;

/// The first segment of the paths.
pub(super) const ROOT: &str = CONTAINER;
/// The longest id of a block, as base64.
const MAX_BLOCK_ID: usize = 88;

/// Answers a request. The signature in the query is checked before the body is read.
pub(super) async fn answer(gateway: &Gateway, call: &mut Call) -> Result<Reply, ServiceError> {
    let name = name(call)?;
    let blob = gateway.instance.hubs.signed_blob(&name, &call.query)?;
    let limit = gateway.instance.state.limits().hub_upload_bytes;
    if call.method != "PUT" {
        return Err(ServiceError::new(
            ErrorCode::METHOD_NOT_ALLOWED,
            "This path accepts PUT only.",
        ));
    }
    match parameter(&call.query, "comp")?.as_deref() {
        None => receive(call, &blob.path, limit).await?,
        Some("block") => put_block(call, &blob, limit).await?,
        Some("blocklist") => put_block_list(call, &blob).await?,
        Some(other) => {
            return Err(ServiceError::not_implemented(&format!(
                "'comp={other}' on an uploaded file"
            )));
        }
    }
    tracing::debug!(blob = name, "received a part of a file");
    Ok(Reply::empty(StatusCode::CREATED)
        .with("etag", format!("\"{}\"", uuid::Uuid::new_v4()))
        .with(
            "last-modified",
            httpdate::fmt_http_date(gateway.instance.now()),
        )
        .with("x-ms-version", "2018-03-28")
        .with("x-ms-request-server-encrypted", "true"))
}

/// The name of the file in a path.
pub(super) fn name(call: &Call) -> Result<String, ServiceError> {
    let name = call.path.trim_start_matches('/');
    let name = name.split_once('/').map_or("", |(_, name)| name);
    decode(name).ok_or_else(|| ServiceError::invalid("The path is not UTF-8."))
}

/// An error in the shape of Azure Storage.
pub(super) fn error_reply(error: &ServiceError) -> Reply {
    let code = match error.status() {
        401 => "AuthenticationFailed",
        405 => "UnsupportedHttpVerb",
        413 => "RequestBodyTooLarge",
        501 => "FeatureNotSupported",
        500.. => "InternalError",
        _ => "InvalidInput",
    };
    let message = error.message();
    let message = message.replace('&', "&amp;").replace('<', "&lt;");
    let body = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>"
    );
    let status = match error.status() {
        // The status of Azure Storage for a signature that is not valid.
        401 => 403,
        status => status,
    };
    Reply::bytes(status, body.into_bytes())
        .with("content-type", "application/xml")
        .with("x-ms-error-code", code)
}

async fn put_block(call: &mut Call, blob: &BlobFile, limit: u64) -> Result<(), ServiceError> {
    let id = parameter(&call.query, "blockid")?.unwrap_or_default();
    let path = block_path(blob, &id)?;
    let used = folder_bytes(&blob.blocks).await;
    let left = limit.checked_sub(used);
    let left = left.ok_or_else(|| too_large(limit))?;
    receive(call, &path, left).await
}

/// Makes a file of the blocks, in the order of the list.
async fn put_block_list(call: &mut Call, blob: &BlobFile) -> Result<(), ServiceError> {
    call.receive(SERVICE_LIMIT).await?;
    let list = std::str::from_utf8(call.body())
        .map_err(|_| ServiceError::invalid("The list of blocks is not UTF-8."))?;
    let (part, mut file) = Part::create(&blob.path).await?;
    for id in block_ids(list) {
        let mut block = File::open(block_path(blob, id)?)
            .await
            .map_err(|_| ServiceError::invalid("The list has a block that was not uploaded."))?;
        let copied = tokio::io::copy(&mut block, &mut file).await;
        copied.map_err(|error| failed(&error))?;
    }
    file.flush().await.map_err(|error| failed(&error))?;
    part.place(&blob.path).await?;
    let _ = fs::remove_dir_all(&blob.blocks).await;
    Ok(())
}

/// The ids in `<BlockList><Latest>ID</Latest>…</BlockList>`, which have no characters that XML escapes.
fn block_ids(list: &str) -> impl Iterator<Item = &str> {
    list.split('<').filter_map(|element| {
        let (name, text) = element.split_once('>')?;
        ["Latest", "Uncommitted", "Committed"]
            .contains(&name)
            .then(|| text.trim())
    })
}

fn block_path(blob: &BlobFile, id: &str) -> Result<PathBuf, ServiceError> {
    match (1..=MAX_BLOCK_ID).contains(&id.len()) {
        true => Ok(blob.blocks.join(HEXLOWER.encode(id.as_bytes()))),
        false => Err(ServiceError::invalid(format!(
            "The blockid must have 1 to {MAX_BLOCK_ID} characters."
        ))),
    }
}

/// The bytes of the files in a folder.
async fn folder_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    if let Ok(mut entries) = fs::read_dir(folder).await {
        while let Ok(Some(entry)) = entries.next_entry().await {
            bytes += entry.metadata().await.map_or(0, |metadata| metadata.len());
        }
    }
    bytes
}

/// Receives the body and puts it in its place.
async fn receive(call: &mut Call, path: &Path, limit: u64) -> Result<(), ServiceError> {
    let (part, mut file) = Part::create(path).await?;
    let mut bytes = 0;
    while let Some(data) = call.next_data().await? {
        bytes += data.len() as u64;
        if bytes > limit {
            return Err(too_large(limit));
        }
        let written = file.write_all(&data).await;
        written.map_err(|error| failed(&error))?;
    }
    file.flush().await.map_err(|error| failed(&error))?;
    part.place(path).await
}

/// A file that is not complete yet. It is removed if it is dropped before.
struct Part(PathBuf);

impl Part {
    /// Creates a file in the folder of its place. Its name begins with a dot, which no uploaded file has.
    async fn create(path: &Path) -> Result<(Self, File), ServiceError> {
        let folder = path.parent().unwrap_or(path);
        let created = fs::create_dir_all(folder).await;
        created.map_err(|error| failed(&error))?;
        let part = Self(folder.join(format!(".part-{}", uuid::Uuid::new_v4())));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        options.mode(0o600);
        let file = options.open(&part.0).await;
        Ok((part, file.map_err(|error| failed(&error))?))
    }

    async fn place(self, path: &Path) -> Result<(), ServiceError> {
        let placed = fs::rename(&self.0, path).await;
        placed.map_err(|error| failed(&error))
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn too_large(limit: u64) -> ServiceError {
    ServiceError::too_large(usize::try_from(limit).unwrap_or(usize::MAX))
}

fn failed(error: &std::io::Error) -> ServiceError {
    tracing::error!(%error, "an uploaded file cannot be written");
    ServiceError::new(
        ErrorCode::SERVER_ERROR,
        "The file cannot be written. The cause is in the emulator's log.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ids_of_a_list_in_order() {
        let list = "<?xml version=\"1.0\" encoding=\"UTF-8\" standalone=\"yes\"?><BlockList>\
                    <Latest>QUFB</Latest><Uncommitted>\n QkJC \n</Uncommitted><Other>x</Other></BlockList>";
        assert_eq!(block_ids(list).collect::<Vec<_>>(), ["QUFB", "QkJC"]);
        assert_eq!(block_ids("").count(), 0);
        assert_eq!(block_ids("<Latest").count(), 0);
    }
}
