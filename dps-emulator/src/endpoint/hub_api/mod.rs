//! A hub's REST API: devices, modules and twins, messages and direct methods, uploads of files. Other paths of a hub are answered
//! with 501 and the name of what is missing.
//!
//! All hubs share one port: the key that signed the token decides which hub a request is for. Source: azure-rest-api-specs
//! `iothub/data-plane`, and the requests of `azure-iot-hub` for Python.

mod device;
#[cfg(fuzzing)]
pub(super) mod fuzzing;
mod messages;
mod operation;

use ::http::{StatusCode, header};
use dps_types::protocol::{ApiVersion, decode};
use dps_types::sas::SasToken;
use dps_types::{ErrorCode, HubHostname};

#[cfg(feature = "control")]
pub(crate) use messages::MethodDocument;

use super::Gateway;
use super::call::{Call, SERVICE_LIMIT, parameter};
use super::peer::Caller;
use super::reply::Reply;
use crate::hub::{Hubs, Identity, TwinPatch};
use crate::limits::HubAction;
use crate::service_error::ServiceError;
use messages::settled;
use operation::{BackEnd, Operation, Queue, Target};

/// The first segments of a hub's paths.
pub(super) const ROOTS: [&str; 7] = [
    "devices",
    "twins",
    "messages",
    "jobs",
    "configurations",
    "statistics",
    "digitaltwins",
];

/// The most devices in a list.
const MAX_LIST: usize = 1000;

/// Answers a request. The token is checked before the body is read.
pub(super) async fn answer(
    gateway: &Gateway,
    call: &mut Call,
    caller: Caller<'_>,
) -> Result<Reply, ServiceError> {
    match Operation::parse(&call.method, &call.path)? {
        Operation::BackEnd(operation) => answer_back_end(gateway, call, &operation).await,
        Operation::Device(target, operation) => {
            device::answer(gateway, call, caller, &target, &operation).await
        }
    }
}

async fn answer_back_end(
    gateway: &Gateway,
    call: &mut Call,
    operation: &BackEnd,
) -> Result<Reply, ServiceError> {
    let hub = authorize(gateway, call)?;
    check_api_version(call)?;
    if let Some(action) = throttled(operation) {
        gateway.instance.throttle_hub(action, &hub).await?;
    }
    call.receive(SERVICE_LIMIT).await?;
    let api = Api {
        hubs: &gateway.instance.hubs,
        hub: &hub,
        call,
    };
    match operation {
        BackEnd::List => api.list().await,
        BackEnd::Modules(target) => api.modules(target).await,
        BackEnd::Identity(target) => api.identity(target).await,
        BackEnd::Put(target) => api.put(target).await,
        BackEnd::Remove(target) => api.remove(target).await,
        BackEnd::Twin(target) => api.twin(target).await,
        BackEnd::PatchTwin(target) => api.update(target, false).await,
        BackEnd::ReplaceTwin(target) => api.update(target, true).await,
        BackEnd::Invoke(target) => api.invoke(target).await,
        BackEnd::Send => api.send().await,
        BackEnd::Purge(target) => api.purge(target).await,
        BackEnd::Receive(Queue::Feedback) => api.receive_feedback().await,
        BackEnd::Receive(Queue::FileNotifications) => Ok(api.receive_notifications()),
        BackEnd::Settle {
            queue,
            token,
            completed,
        } => settled(api.settle(*queue, token, *completed)),
    }
}

/// The rate that the operation counts towards.
fn throttled(operation: &BackEnd) -> Option<HubAction> {
    match operation {
        BackEnd::List
        | BackEnd::Modules(_)
        | BackEnd::Identity(_)
        | BackEnd::Put(_)
        | BackEnd::Remove(_) => Some(HubAction::Registry),
        BackEnd::Twin(_) => Some(HubAction::TwinRead),
        BackEnd::PatchTwin(_) | BackEnd::ReplaceTwin(_) => Some(HubAction::TwinUpdate),
        BackEnd::Send => Some(HubAction::Message),
        BackEnd::Invoke(_) | BackEnd::Purge(_) | BackEnd::Receive(_) | BackEnd::Settle { .. } => {
            None
        }
    }
}

fn check_api_version(call: &Call) -> Result<(), ServiceError> {
    let version = parameter(&call.query, ApiVersion::PARAMETER)?;
    match version.is_some_and(|version| version.parse::<ApiVersion>().is_ok()) {
        true => Ok(()),
        false => Err(ServiceError::new(
            ErrorCode::INVALID_PROTOCOL_VERSION,
            "The api-version query parameter is missing or not valid",
        )),
    }
}

/// An error in the shape of a hub.
pub(super) fn error_reply(error: &ServiceError) -> Reply {
    let reply = Reply::hub_error(error, name(error.code()));
    match error.retry_after_seconds {
        Some(seconds) => reply.with(header::RETRY_AFTER.as_str(), seconds.to_string()),
        None => reply,
    }
}

/// The hub whose `iothubowner` key signed the token.
fn authorize(gateway: &Gateway, call: &Call) -> Result<HubHostname, ServiceError> {
    let refused = |reason: &str| {
        ServiceError::new(ErrorCode::new(401_003), "Unauthorized").with_reason(reason)
    };
    let text = call.text(header::AUTHORIZATION)?;
    let text = text.ok_or_else(|| refused("the request has no Authorization header"))?;
    let token: SasToken = text
        .parse()
        .map_err(|error| refused(&format!("the Authorization header is not a token: {error}")))?;
    let access = gateway.instance.access();
    let path = decode(&call.path).ok_or_else(|| refused("the path is not UTF-8"))?;
    let hub = gateway.instance.hubs.signed(&token, &access.hosts, &path);
    hub.ok_or_else(|| {
        refused(
            "the token is not signed with the iothubowner key of a linked hub, has expired, or is for another host or path",
        )
    })
}

/// A request to a hub.
struct Api<'a> {
    hubs: &'a Hubs,
    hub: &'a HubHostname,
    call: &'a Call,
}

impl Api<'_> {
    fn identity_of(&self, target: &Target) -> Identity {
        let device = Identity::device(self.hub, &target.device_id);
        device.with_module(target.module_id.clone())
    }

    async fn list(&self) -> Result<Reply, ServiceError> {
        let top = parameter(&self.call.query, "top")?.and_then(|top| top.parse().ok());
        let top = top.filter(|top| (1..=MAX_LIST).contains(top));
        let devices = self
            .hubs
            .identities(self.hub, top.unwrap_or(MAX_LIST))
            .await?;
        Ok(Reply::json(StatusCode::OK, &devices))
    }

    async fn identity(&self, target: &Target) -> Result<Reply, ServiceError> {
        let view = self.hubs.identity(&self.identity_of(target)).await?;
        Ok(Reply::json(StatusCode::OK, &view.document).with("etag", format!("\"{}\"", view.etag)))
    }

    async fn modules(&self, target: &Target) -> Result<Reply, ServiceError> {
        let modules = self.hubs.modules(&self.identity_of(target)).await?;
        Ok(Reply::json(StatusCode::OK, &modules))
    }

    async fn put(&self, target: &Target) -> Result<Reply, ServiceError> {
        let identity = self.identity_of(target);
        let condition = self.call.condition()?;
        let document = self.call.json()?;
        let view = self
            .hubs
            .put_identity(&identity, &document, condition.as_ref())
            .await?;
        let status = match (&identity.module_id, &condition) {
            (Some(_), None) => StatusCode::CREATED,
            _ => StatusCode::OK,
        };
        Ok(Reply::json(status, &view.document).with("etag", format!("\"{}\"", view.etag)))
    }

    fn settle(&self, queue: Queue, token: &str, completed: bool) -> bool {
        let now = self.hubs.now();
        match queue {
            Queue::Feedback => self.hubs.feedback.settle(self.hub, token, completed, now),
            Queue::FileNotifications => {
                let notifications = &self.hubs.uploads.notifications;
                notifications.settle(self.hub, token, completed, now)
            }
        }
    }

    async fn remove(&self, target: &Target) -> Result<Reply, ServiceError> {
        let condition = self.call.condition()?;
        self.hubs
            .remove(&self.identity_of(target), condition.as_ref())
            .await?;
        Ok(Reply::no_content())
    }

    async fn twin(&self, target: &Target) -> Result<Reply, ServiceError> {
        let view = self.hubs.twin(&self.identity_of(target)).await?;
        Ok(Reply::json(StatusCode::OK, &view.document).with("etag", format!("\"{}\"", view.etag)))
    }

    async fn update(&self, target: &Target, replace: bool) -> Result<Reply, ServiceError> {
        let patch = TwinPatch::read(&self.call.json()?)?;
        let condition = self.call.condition()?;
        self.hubs
            .update_twin(
                &self.identity_of(target),
                &patch,
                replace,
                condition.as_ref(),
            )
            .await?;
        self.twin(target).await
    }
}

/// The name of an error in a hub's answer.
fn name(code: ErrorCode) -> &'static str {
    match code.get() {
        400_001 => "InvalidProtocolVersion",
        400_004 => "ArgumentInvalid",
        400_006 => "IotHubFormatError",
        401_002 | 401_003 => "IotHubUnauthorizedAccess",
        403_004 => "DeviceMaximumQueueDepthExceeded",
        403_006 => "DeviceMaximumActiveFileUploadLimitExceeded",
        404_001 => "DeviceNotFound",
        404_010 => "ModuleNotFound",
        404_103 => "DeviceNotOnline",
        404_104 => "DeviceConnectionClosedRemotely",
        409_001 => "DeviceAlreadyExists",
        409_301 => "ModuleAlreadyExistsOnDevice",
        412_001 | 412_002 => "PreconditionFailed",
        429_001 => "ThrottlingException",
        504_101 => "GatewayTimeout",
        code => match code / 1000 {
            404 => "GenericNotFound",
            405 => "GenericMethodNotAllowed",
            408 => "GenericTimeout",
            409 => "GenericConflict",
            413 => "MessageTooLarge",
            415 => "GenericUnsupportedMediaType",
            501 => "GenericNotImplemented",
            400..=499 => "GenericBadRequest",
            _ => "ServerError",
        },
    }
}
