//! The linked hubs: devices, twins, telemetry, messages; and the key of a device of a group.

use ::http::{Method, StatusCode};
use dps_types::enrollment::EnrollmentGroup;
use dps_types::{EnrollmentGroupId, RegistrationId};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Control;
use super::messages;
use super::methods::not_answered;
use super::reply::{self, Answer, Failure};
use super::request::{Ask, BODY_LIMIT};
use crate::document::add;
use crate::hub::HubHandle;

/// Answers `/hubs/{hub}/…`; `rest` is what follows.
pub(super) async fn answer(control: &Control, ask: Ask, hub: &str, rest: &[&str]) -> Answer {
    let method = ask.method.clone();
    let path = [&["hubs", hub], rest].concat();
    let hub = handle(control, hub)?;
    match (&method, rest) {
        (&Method::GET, ["devices"]) => devices(control, &hub, &ask).await,
        (&Method::GET, ["devices", id]) => {
            let mut twin = hub.twin(id).await?;
            add(&mut twin, "isConnected", hub.is_connected(id));
            add(&mut twin, "telemetryCount", hub.telemetry_count(id));
            reply::ok(&twin)
        }
        (&Method::DELETE, ["devices", id]) => {
            hub.remove(id).await?;
            reply::no_content()
        }
        (&Method::PATCH, ["devices", id]) => {
            let Change { enabled } = ask.json(BODY_LIMIT).await?;
            hub.set_enabled(id, enabled).await?;
            reply::no_content()
        }
        (&Method::PATCH, ["devices", id, "twin"]) => {
            let patch: Value = ask.json(BODY_LIMIT).await?;
            hub.update_twin(id, patch).await?;
            reply::ok(&hub.twin(id).await?)
        }
        (&Method::GET, ["devices", id, "telemetry"]) => {
            let messages = hub.telemetry(id);
            let skipped = messages.len().saturating_sub(ask.limit()?);
            let newest = messages.get(skipped..).unwrap_or_default();
            reply::ok(&json!({ "telemetry": newest }))
        }
        (&Method::POST, ["devices", id, "disconnect"]) => {
            reply::ok(&json!({ "wasConnected": hub.disconnect(id) }))
        }
        (&Method::GET, ["devices", id, "messages"]) => messages::queued(&hub, id).await,
        (&Method::POST, ["devices", id, "messages"]) => messages::send(&hub, id, ask).await,
        (&Method::POST, ["devices", id, "methods"]) => messages::invoke(&hub, id, ask).await,
        _ => Err(not_answered(&path)),
    }
}

/// The change of a device.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    enabled: bool,
}

/// `GET /hubs`
pub(super) fn list(control: &Control) -> Answer {
    let names = control.gateway.instance.allocator.hub_names();
    let names: Vec<Value> = names.iter().map(|name| json!({ "hub": name })).collect();
    reply::ok(&json!({ "hubs": names }))
}

/// `GET /hubs/{hub}/devices`, with `after` and `limit`.
async fn devices(control: &Control, hub: &HubHandle, ask: &Ask) -> Answer {
    let limit = ask.limit()?;
    let after = ask.parameter("after")?;
    let hubs = &control.gateway.instance.hubs;
    let (devices, more) = hubs.page(hub.hostname(), after.as_deref(), limit).await?;
    let shown: Vec<Value> = devices
        .iter()
        .map(|device| {
            let id = device.device_id().as_str();
            json!({
                "deviceId": id,
                "enabled": device.is_enabled(),
                "isConnected": hub.is_connected(id),
                "telemetryCount": hub.telemetry_count(id),
            })
        })
        .collect();
    let last = devices.last().filter(|_| more);
    reply::ok(&json!({
        "devices": shown,
        "after": last.map(|device| device.device_id().as_str()),
    }))
}

pub(super) fn handle(control: &Control, name: &str) -> Result<HubHandle, Failure> {
    let hubs = std::sync::Arc::clone(&control.gateway.instance.hubs);
    HubHandle::new(hubs, name)
        .ok_or_else(|| Failure::not_found(format!("there is no linked hub '{name}'")))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct KeyRequest {
    enrollment_group_id: EnrollmentGroupId,
    registration_id: RegistrationId,
}

/// `POST /deviceKey`: derives the key of a device from the primary key of its group.
pub(super) async fn device_key(control: &Control, ask: Ask) -> Answer {
    let request: KeyRequest = ask.json(BODY_LIMIT).await?;
    let state = &control.gateway.instance.state;
    let id = request.enrollment_group_id.to_lowercase();
    let group: EnrollmentGroup = state.required_enrollment(&id).await?;
    let key = group
        .attestation
        .symmetric_key
        .and_then(|keys| keys.primary_key)
        .and_then(|key| key.parse().ok())
        .ok_or_else(|| {
            let reason = "the enrollment group has no symmetric key";
            Failure::new(StatusCode::CONFLICT, reason)
        })?;
    let derived = key.derive_device_key(&request.registration_id);
    reply::ok(&json!({
        "registrationId": request.registration_id,
        "key": derived.to_base64().as_str(),
    }))
}
