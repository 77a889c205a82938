//! A hub's REST API, as far as it takes to look at devices and to change twins.
//!
//! All hubs answer at one port: the key that signed the token says which of them is asked. Source: azure-rest-api-specs
//! `iothub/data-plane`, and what `azure-iot-hub` for Python sends.

use ::http::{StatusCode, header};
use dps_types::protocol::{ApiVersion, IfMatch, decode, query_parameter};
use dps_types::sas::SasToken;
use dps_types::{DeviceId, ErrorCode, HubHostname};
use hyper::Request;
use hyper::body::Incoming;

use super::Gateway;
use super::body::{self, Call};
use super::reply::Reply;
use crate::hub::{Hubs, TwinPatch};
use crate::service_error::ServiceError;

/// The most devices that a list holds.
const MAX_LIST: usize = 1000;

/// Whether the path is one of a hub's.
pub(super) fn is_path(path: &str) -> bool {
    matches!(Route::of(path), Some((Route::Devices | Route::Twins, _)))
}

/// Answers, whatever comes, in a hub's shape.
pub(super) async fn answer(gateway: &Gateway, request: Request<Incoming>) -> Reply {
    let answered = async {
        let call = Call::read(request, body::SERVICE_LIMIT).await?;
        dispatch(gateway, &call).await
    };
    match answered.await {
        Ok(reply) => reply,
        Err(refusal) => Reply::hub_refusal(&refusal, name(refusal.code())),
    }
}

enum Route {
    Devices,
    Twins,
}

impl Route {
    /// The first word of the path, and what follows.
    fn of(path: &str) -> Option<(Self, &str)> {
        let path = path.trim_start_matches('/');
        let (first, rest) = path.split_once('/').unwrap_or((path, ""));
        match first {
            _ if first.eq_ignore_ascii_case("devices") => Some((Self::Devices, rest)),
            _ if first.eq_ignore_ascii_case("twins") => Some((Self::Twins, rest)),
            _ => None,
        }
    }
}

async fn dispatch(gateway: &Gateway, call: &Call) -> Result<Reply, ServiceError> {
    let hub = authorize(gateway, call)?;
    let version = query_parameter(&call.query, ApiVersion::PARAMETER);
    if version.is_none_or(|version| version.parse::<ApiVersion>().is_err()) {
        return Err(ServiceError::new(
            ErrorCode::INVALID_PROTOCOL_VERSION,
            "The api-version query parameter is missing or not valid",
        ));
    }
    let api = Api {
        hubs: &gateway.hubs,
        hub,
        call,
    };
    let (route, rest) = Route::of(&call.path).ok_or_else(not_found)?;
    let id = match rest {
        "" => None,
        id => Some(DeviceId::new(decode(id).ok_or_else(not_found)?)?),
    };
    match (route, id, call.method.as_str()) {
        (Route::Devices, None, "GET") => api.list().await,
        (Route::Devices, Some(id), "GET") => api.identity(&id).await,
        (Route::Devices, Some(id), "DELETE") => api.remove(&id).await,
        (Route::Twins, Some(id), "GET") => api.twin(&id).await,
        (Route::Twins, Some(id), "PATCH") => api.update(&id, false).await,
        (Route::Twins, Some(id), "PUT") => api.update(&id, true).await,
        (Route::Devices, Some(_), "PUT") => Err(ServiceError::not_implemented(
            "creating devices in a hub; devices come from DPS",
        )),
        (Route::Twins, None, _) => Err(not_found()),
        _ => Err(ServiceError::new(
            ErrorCode::METHOD_NOT_ALLOWED,
            "The method does not go with this path",
        )),
    }
}

/// The hub whose `iothubowner` signed the token.
fn authorize<'a>(gateway: &'a Gateway, call: &Call) -> Result<&'a HubHostname, ServiceError> {
    let refused = || ServiceError::new(ErrorCode::new(401_003), "Unauthorized");
    let text = call
        .header(header::AUTHORIZATION.as_str())
        .ok_or_else(refused)?;
    let token: SasToken = text.parse().map_err(|_| refused())?;
    let hosts = &gateway.access.hosts;
    let path = decode(&call.path).ok_or_else(refused)?;
    let hub = gateway.hubs.signed(&token, hosts, &path);
    hub.ok_or_else(refused)
}

fn not_found() -> ServiceError {
    ServiceError::new(ErrorCode::new(404_000), "There is no such path")
}

/// One request to one hub.
struct Api<'a> {
    hubs: &'a Hubs,
    hub: &'a HubHostname,
    call: &'a Call,
}

impl Api<'_> {
    async fn list(&self) -> Result<Reply, ServiceError> {
        let top = query_parameter(&self.call.query, "top").and_then(|top| top.parse().ok());
        let top = top.filter(|top| (1..=MAX_LIST).contains(top));
        let devices = self
            .hubs
            .identities(self.hub, top.unwrap_or(MAX_LIST))
            .await?;
        Ok(Reply::json(StatusCode::OK, &devices))
    }

    async fn identity(&self, id: &DeviceId) -> Result<Reply, ServiceError> {
        let view = self.hubs.identity(self.hub, id).await?;
        Ok(Reply::json(StatusCode::OK, &view.document).with("etag", format!("\"{}\"", view.etag)))
    }

    async fn remove(&self, id: &DeviceId) -> Result<Reply, ServiceError> {
        let condition = self.condition()?;
        self.hubs.remove(self.hub, id, condition.as_ref()).await?;
        Ok(Reply::no_content())
    }

    async fn twin(&self, id: &DeviceId) -> Result<Reply, ServiceError> {
        let view = self.hubs.twin(self.hub, id).await?;
        Ok(Reply::json(StatusCode::OK, &view.document).with("etag", format!("\"{}\"", view.etag)))
    }

    async fn update(&self, id: &DeviceId, replace: bool) -> Result<Reply, ServiceError> {
        let patch = TwinPatch::read(&self.call.json()?)?;
        let condition = self.condition()?;
        self.hubs
            .update_twin(self.hub, id, &patch, replace, condition.as_ref())
            .await?;
        self.twin(id).await
    }

    fn condition(&self) -> Result<Option<IfMatch>, ServiceError> {
        let text = self.call.header(header::IF_MATCH.as_str());
        Ok(text.map(str::parse).transpose()?)
    }
}

/// What hubs call their errors.
fn name(code: ErrorCode) -> &'static str {
    match code.get() {
        400_001 => "InvalidProtocolVersion",
        400_004 => "ArgumentInvalid",
        400_006 => "IotHubFormatError",
        401_003 => "IotHubUnauthorizedAccess",
        404_001 => "DeviceNotFound",
        412_002 => "PreconditionFailed",
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
