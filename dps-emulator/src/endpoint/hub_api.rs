//! A hub's REST API for devices and twins. What else a hub has is answered with 501 and the name of what is missing.
//!
//! All hubs share one port: the key that signed the token decides which hub a request is for. Source: azure-rest-api-specs
//! `iothub/data-plane`, and the requests of `azure-iot-hub` for Python.

use ::http::{StatusCode, header};
use dps_types::protocol::{ApiVersion, decode};
use dps_types::sas::SasToken;
use dps_types::{DeviceId, ErrorCode, HubHostname};

use super::Gateway;
use super::call::{Call, SERVICE_LIMIT, parameter};
use super::reply::Reply;
use crate::hub::{Hubs, Identity, TwinPatch};
use crate::service_error::ServiceError;

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

/// An operation of a hub.
#[derive(Debug, PartialEq, Eq)]
enum Operation {
    List,
    Identity(DeviceId),
    Remove(DeviceId),
    Twin(DeviceId),
    PatchTwin(DeviceId),
    ReplaceTwin(DeviceId),
}

impl Operation {
    /// Reads method and path. Fixed segments are compared without regard to case.
    fn parse(method: &str, path: &str) -> Result<Self, ServiceError> {
        let segments: Option<Vec<String>> = path.trim_matches('/').split('/').map(decode).collect();
        let segments = segments.ok_or_else(not_found)?;
        let (root, rest) = segments.split_first().ok_or_else(not_found)?;
        let lower: Vec<String> = rest.iter().map(|it| it.to_ascii_lowercase()).collect();
        let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
        let unsupported = |what| Err(ServiceError::not_implemented(what));
        match (root.to_ascii_lowercase().as_str(), &lower[..]) {
            ("devices", []) => match method {
                "GET" => Ok(Self::List),
                "POST" => unsupported("bulk operations on the devices of a hub"),
                _ => Err(method_not_allowed()),
            },
            ("devices", ["query"]) if method == "POST" => unsupported("queries of a hub"),
            ("devices", [_]) => {
                let id = DeviceId::new(rest[0].as_str())?;
                match method {
                    "GET" => Ok(Self::Identity(id)),
                    "DELETE" => Ok(Self::Remove(id)),
                    "PUT" => unsupported("creating devices in a hub; devices come from DPS"),
                    _ => Err(method_not_allowed()),
                }
            }
            ("devices", [_, "messages", "events"]) => {
                unsupported("telemetry over HTTPS; a device can send it over MQTT")
            }
            ("devices", [_, "messages", "devicebound", ..] | [_, "commands"]) | ("messages", _) => {
                unsupported("cloud-to-device messages")
            }
            ("devices", [_, "files", ..]) => unsupported("file upload"),
            ("devices" | "twins", [_, "modules", ..]) => unsupported("modules"),
            ("twins", [_, "methods"]) => unsupported("direct methods"),
            ("devices", [_, "applyconfigurationcontent"]) | ("configurations", _) => {
                unsupported("configurations of a hub")
            }
            ("jobs", _) => unsupported("jobs of a hub"),
            ("statistics", _) => unsupported("statistics of a hub"),
            ("digitaltwins", _) => unsupported("digital twins"),
            ("twins", [_]) => {
                let id = DeviceId::new(rest[0].as_str())?;
                match method {
                    "GET" => Ok(Self::Twin(id)),
                    "PATCH" => Ok(Self::PatchTwin(id)),
                    "PUT" => Ok(Self::ReplaceTwin(id)),
                    _ => Err(method_not_allowed()),
                }
            }
            _ => Err(not_found()),
        }
    }
}

/// Answers a request. The token is checked before the body is read.
pub(super) async fn answer(gateway: &Gateway, call: &mut Call) -> Result<Reply, ServiceError> {
    let operation = Operation::parse(&call.method, &call.path)?;
    let hub = authorize(gateway, call)?;
    let version = parameter(&call.query, ApiVersion::PARAMETER)?;
    if version.is_none_or(|version| version.parse::<ApiVersion>().is_err()) {
        return Err(ServiceError::new(
            ErrorCode::INVALID_PROTOCOL_VERSION,
            "The api-version query parameter is missing or not valid",
        ));
    }
    call.receive(SERVICE_LIMIT).await?;
    let api = Api {
        hubs: &gateway.instance.hubs,
        hub,
        call,
    };
    match &operation {
        Operation::List => api.list().await,
        Operation::Identity(id) => api.identity(id).await,
        Operation::Remove(id) => api.remove(id).await,
        Operation::Twin(id) => api.twin(id).await,
        Operation::PatchTwin(id) => api.update(id, false).await,
        Operation::ReplaceTwin(id) => api.update(id, true).await,
    }
}

/// An error in the shape of a hub.
pub(super) fn error_reply(error: &ServiceError) -> Reply {
    Reply::hub_error(error, name(error.code()))
}

/// The hub whose `iothubowner` key signed the token.
fn authorize<'a>(gateway: &'a Gateway, call: &Call) -> Result<&'a HubHostname, ServiceError> {
    let refused = |reason: &str| {
        ServiceError::new(ErrorCode::new(401_003), "Unauthorized").with_reason(reason)
    };
    let text = call.text(header::AUTHORIZATION)?;
    let text = text.ok_or_else(|| refused("the request has no Authorization header"))?;
    let token: SasToken = text
        .parse()
        .map_err(|error| refused(&format!("the Authorization header is not a token: {error}")))?;
    let hosts = &gateway.instance.access.hosts;
    let path = decode(&call.path).ok_or_else(|| refused("the path is not UTF-8"))?;
    let hub = gateway.instance.hubs.signed(&token, hosts, &path);
    hub.ok_or_else(|| {
        refused(
            "the token is not signed with the iothubowner key of a linked hub, has expired, or is for another host or path",
        )
    })
}

fn not_found() -> ServiceError {
    ServiceError::new(ErrorCode::new(404_000), "There is no such path")
}

fn method_not_allowed() -> ServiceError {
    ServiceError::new(
        ErrorCode::METHOD_NOT_ALLOWED,
        "This path does not support the method",
    )
}

/// A request to a hub.
struct Api<'a> {
    hubs: &'a Hubs,
    hub: &'a HubHostname,
    call: &'a Call,
}

impl Api<'_> {
    fn device(&self, id: &DeviceId) -> Identity {
        Identity::device(self.hub, id)
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

    async fn identity(&self, id: &DeviceId) -> Result<Reply, ServiceError> {
        let view = self.hubs.identity(&self.device(id)).await?;
        Ok(Reply::json(StatusCode::OK, &view.document).with("etag", format!("\"{}\"", view.etag)))
    }

    async fn remove(&self, id: &DeviceId) -> Result<Reply, ServiceError> {
        let condition = self.call.condition()?;
        self.hubs
            .remove(&self.device(id), condition.as_ref())
            .await?;
        Ok(Reply::no_content())
    }

    async fn twin(&self, id: &DeviceId) -> Result<Reply, ServiceError> {
        let view = self.hubs.twin(&self.device(id)).await?;
        Ok(Reply::json(StatusCode::OK, &view.document).with("etag", format!("\"{}\"", view.etag)))
    }

    async fn update(&self, id: &DeviceId, replace: bool) -> Result<Reply, ServiceError> {
        let patch = TwinPatch::read(&self.call.json()?)?;
        let condition = self.call.condition()?;
        self.hubs
            .update_twin(&self.device(id), &patch, replace, condition.as_ref())
            .await?;
        self.twin(id).await
    }
}

/// The name of an error in a hub's answer.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_emulator_lacks_is_501_with_its_name() {
        for (method, path, missing) in [
            ("POST", "/devices/d/messages/events", "telemetry over HTTPS"),
            (
                "GET",
                "/devices/d/messages/deviceBound",
                "cloud-to-device messages",
            ),
            (
                "DELETE",
                "/devices/d/messages/devicebound/1",
                "cloud-to-device messages",
            ),
            (
                "POST",
                "/devices/d/messages/devicebound/1/abandon",
                "cloud-to-device messages",
            ),
            ("DELETE", "/devices/d/commands", "cloud-to-device messages"),
            (
                "GET",
                "/messages/serviceBound/feedback",
                "cloud-to-device messages",
            ),
            ("POST", "/devices/d/files", "file upload"),
            ("POST", "/devices/d/files/notifications", "file upload"),
            ("POST", "/twins/d/methods", "direct methods"),
            ("POST", "/devices/query", "queries"),
            ("POST", "/devices", "bulk operations"),
            ("PUT", "/devices/d", "creating devices"),
            ("GET", "/devices/d/modules", "modules"),
            ("GET", "/twins/d/modules/m", "modules"),
            ("POST", "/jobs/v2/query", "jobs"),
            ("GET", "/configurations", "configurations"),
            ("GET", "/statistics/devices", "statistics"),
            ("GET", "/digitaltwins/d", "digital twins"),
        ] {
            let error = Operation::parse(method, path).unwrap_err();
            assert_eq!(error.status(), 501, "{path}");
            assert!(error.message().contains(missing), "{path}: {error:?}");
        }
    }

    #[test]
    fn paths_that_do_not_exist() {
        for path in [
            "/devices/d/messages",
            "/devices/d/e",
            "/twins",
            "/devices/%FF",
            "/devices//x",
        ] {
            assert_eq!(
                Operation::parse("GET", path).unwrap_err().status(),
                404,
                "{path}"
            );
        }
        assert_eq!(
            Operation::parse("PATCH", "/devices").unwrap_err().status(),
            405
        );
        assert_eq!(
            Operation::parse("GET", "/devices/a%20b")
                .unwrap_err()
                .status(),
            400
        );
    }

    #[test]
    fn a_device_may_have_the_name_of_an_operation() {
        let id = DeviceId::new("query").unwrap();
        assert_eq!(
            Operation::parse("GET", "/devices/query").unwrap(),
            Operation::Identity(id)
        );
    }
}
