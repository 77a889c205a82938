//! The requests of devices and modules to their hub over HTTPS: uploads of files, and telemetry.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-file-upload.md`; azure-rest-api-specs `iothub/data-plane`, device API.

use ::http::{StatusCode, header};
use dps_types::ErrorCode;
use dps_types::protocol::hub_message::property;
use serde::Deserialize;
use serde_json::json;

use super::super::Gateway;
use super::super::call::{Call, SERVICE_LIMIT, document};
use super::super::peer::Caller;
use super::super::reply::Reply;
use super::check_api_version;
use super::messages::properties;
use super::operation::{DeviceOperation, Target};
use crate::attest::Presented;
use crate::hub::{CONTAINER, Identity, ReceivedTelemetry, message_size, stamps};
use crate::limits::HubAction;
use crate::service_error::ServiceError;

/// The body of a request for the address of an upload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct StartDocument {
    blob_name: String,
}

/// The body of a report about an upload.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FinishDocument {
    correlation_id: Option<String>,
    is_success: bool,
}

/// Answers a request. The credentials are checked before the body is read.
pub(super) async fn answer(
    gateway: &Gateway,
    call: &mut Call,
    caller: Caller<'_>,
    target: &Target,
    operation: &DeviceOperation,
) -> Result<Reply, ServiceError> {
    check_api_version(call)?;
    let token = call.text(header::AUTHORIZATION)?;
    let presented = Presented::of(token, caller.peer.chain.as_ref())?;
    let (identity, generation_id) = authenticate(gateway, call, target, &presented).await?;
    let action = match operation {
        DeviceOperation::Telemetry => Some(HubAction::Telemetry),
        DeviceOperation::StartUpload => Some(HubAction::Upload),
        DeviceOperation::FinishUpload { .. } => None,
    };
    if let Some(action) = action {
        gateway.instance.throttle_hub(action, &identity.hub).await?;
    }
    call.receive(SERVICE_LIMIT).await?;
    let hubs = &gateway.instance.hubs;
    match operation {
        DeviceOperation::Telemetry => {
            let stamps = stamps(&identity, &presented, generation_id, None);
            telemetry(gateway, call, identity, stamps)
        }
        DeviceOperation::StartUpload => {
            let start: StartDocument = document(call.body())?;
            let grant = hubs.start_upload(&identity, &start.blob_name)?;
            let body = json!({
                "correlationId": grant.correlation_id,
                "hostName": own_host(gateway, call),
                "containerName": CONTAINER,
                "blobName": grant.blob_name,
                "sasToken": grant.sas_token,
            });
            Ok(Reply::json(StatusCode::OK, &body))
        }
        DeviceOperation::FinishUpload { correlation_id } => {
            let finish: FinishDocument = document(call.body())?;
            let id = correlation_id.clone().or(finish.correlation_id);
            let id = id.ok_or_else(|| ServiceError::invalid("The correlationId is missing."))?;
            let base = format!("https://{}", own_host(gateway, call));
            hubs.finish_upload(&identity, &id, finish.is_success, &base)
                .await?;
            Ok(Reply::no_content())
        }
    }
}

fn telemetry(
    gateway: &Gateway,
    call: &Call,
    identity: Identity,
    mut stamps: Vec<(&'static str, String)>,
) -> Result<Reply, ServiceError> {
    let hubs = &gateway.instance.hubs;
    let mut properties = properties(call)?;
    if let Some(to) = call.text(header::HeaderName::from_static("iothub-to"))? {
        properties.insert(property::TO, to);
    }
    let limit = gateway.instance.state.limits().hub_message_bytes;
    let bytes = message_size(call.body(), &properties);
    if bytes > limit {
        return Err(ServiceError::too_large(limit));
    }
    let enqueued = hubs.now();
    stamps.push(("iothub-enqueuedtime", enqueued.to_string()));
    tracing::debug!(device = %identity, bytes, "telemetry");
    hubs.receive(ReceivedTelemetry {
        identity,
        body: call.body().to_vec().into(),
        properties,
        stamps,
        enqueued,
    });
    Ok(Reply::no_content())
}

/// The device and the generation of its identity. A token names the hub in its resource; with a certificate it is the hub in
/// the `Host` header, or any that has the device.
async fn authenticate(
    gateway: &Gateway,
    call: &Call,
    target: &Target,
    presented: &Presented<'_>,
) -> Result<(Identity, String), ServiceError> {
    let hubs = &gateway.instance.hubs;
    let host = call.text(header::HOST)?.unwrap_or_default();
    let named = match presented {
        Presented::Token(token) => token.resource().split('/').next(),
        _ => host.split(':').next(),
    };
    let named = named.and_then(|name| hubs.linked(name));
    let all = gateway.instance.allocator.hub_names();
    let candidates = match (named, presented) {
        (Some(hub), _) => vec![hub],
        (None, Presented::Token(_)) => Vec::new(),
        (None, _) => all,
    };
    for hub in candidates {
        let identity = Identity::device(&hub, &target.device_id);
        let identity = identity.with_module(target.module_id.clone());
        match hubs.authenticate(&identity, presented).await {
            Ok(generation_id) => return Ok((identity, generation_id)),
            Err(error) if error.status() == 401 => {}
            Err(error) => return Err(error),
        }
    }
    Err(
        ServiceError::new(ErrorCode::new(401_003), "Unauthorized").with_reason(
            "the credentials are not those of an enabled device of a linked hub, or have expired",
        ),
    )
}

/// The host and port by which the device has reached the emulator.
fn own_host(gateway: &Gateway, call: &Call) -> String {
    let host = call.text(header::HOST).ok().flatten().unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    match gateway.is_own_host(host) || gateway.instance.hubs.linked(name).is_some() {
        true => host.to_owned(),
        false => gateway.shared.local_host.clone(),
    }
}
