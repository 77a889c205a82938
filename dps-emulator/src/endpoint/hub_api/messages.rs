//! Messages between back ends and devices over HTTPS: direct methods, cloud-to-device messages, feedback and notifications.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-direct-methods.md`; azure-rest-api-specs `iothub/data-plane`. The service accepts
//! cloud-to-device messages over AMQP; the request here has the headers of the service's HTTPS messages.

use std::time::Duration;

use ::http::{HeaderName, StatusCode};
use dps_types::protocol::hub_message::{PropertyBag, property};
use dps_types::{ErrorCode, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::call::Call;
use super::super::reply::Reply;
use super::operation::Target;
use super::{Api, parameter};
use crate::hub::{CloudToDeviceMessage, DirectMethod};
use crate::service_error::ServiceError;

/// The times that a caller may set, in seconds.
const RESPONSE_SECONDS: std::ops::RangeInclusive<u64> = 5..=300;
const CONNECT_SECONDS: std::ops::RangeInclusive<u64> = 0..=300;

/// The prefix of a header with an application property.
const APPLICATION: &str = "iothub-app-";

/// The headers with system properties.
const HEADERS: [(&str, &str); 5] = [
    ("iothub-messageid", property::MESSAGE_ID),
    ("iothub-correlationid", property::CORRELATION_ID),
    ("iothub-userid", property::USER_ID),
    ("iothub-contenttype", property::CONTENT_TYPE),
    ("iothub-contentencoding", property::CONTENT_ENCODING),
];

/// The body of a request for a direct method.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MethodDocument {
    method_name: String,
    #[serde(default)]
    payload: Value,
    response_timeout_in_seconds: Option<u64>,
    connect_timeout_in_seconds: Option<u64>,
}

impl MethodDocument {
    pub(crate) fn into_method(self) -> Result<DirectMethod, ServiceError> {
        let mut method = DirectMethod::new(self.method_name).payload(self.payload);
        if let Some(seconds) = self.response_timeout_in_seconds {
            check_seconds("responseTimeoutInSeconds", seconds, &RESPONSE_SECONDS)?;
            method = method.response_timeout(Duration::from_secs(seconds));
        }
        if let Some(seconds) = self.connect_timeout_in_seconds {
            check_seconds("connectTimeoutInSeconds", seconds, &CONNECT_SECONDS)?;
            method = method.connect_timeout(Duration::from_secs(seconds));
        }
        Ok(method)
    }
}

impl Api<'_> {
    pub(super) async fn invoke(&self, target: &Target) -> Result<Reply, ServiceError> {
        let document: MethodDocument = self.call.json()?;
        let method = document.into_method()?;
        let response = self.hubs.invoke(&self.identity_of(target), &method).await?;
        let body = json!({ "status": response.status, "payload": response.payload });
        Ok(Reply::json(StatusCode::OK, &body))
    }

    /// Queues a cloud-to-device message for the device in the header `iothub-to`.
    pub(super) async fn send(&self) -> Result<Reply, ServiceError> {
        let to = self.header("iothub-to")?.ok_or_else(|| {
            ServiceError::invalid(
                "The header iothub-to is required: /devices/{deviceId}/messages/devicebound.",
            )
        })?;
        let target = destination(to)?;
        let message = self.message()?;
        self.hubs
            .queue(&self.identity_of(&target), &message)
            .await?;
        Ok(Reply::no_content())
    }

    pub(super) async fn purge(&self, target: &Target) -> Result<Reply, ServiceError> {
        let purged = self.hubs.purge(&self.identity_of(target)).await?;
        let body = json!({
            "totalMessagesPurged": purged, "deviceId": target.device_id, "moduleId": null,
        });
        Ok(Reply::json(StatusCode::OK, &body))
    }

    pub(super) async fn receive_feedback(&self) -> Result<Reply, ServiceError> {
        self.hubs.expire(self.hub).await?;
        let most = parameter(&self.call.query, "maxMessages")?;
        let most = most.and_then(|most| most.parse().ok()).unwrap_or(64);
        let batch = self.hubs.feedback.receive(self.hub, most, self.hubs.now());
        Ok(received(
            batch,
            "application/vnd.microsoft.iothub.feedback.json",
        ))
    }

    fn message(&self) -> Result<CloudToDeviceMessage, ServiceError> {
        let mut message = CloudToDeviceMessage::new(self.call.body().to_vec());
        for (name, value) in properties(self.call)?.iter() {
            message = message.property(name, value);
        }
        if let Some(requested) = self.header("iothub-ack")? {
            let requested = requested.parse();
            let requested = requested.map_err(|error: crate::Error| {
                ServiceError::invalid(format!("The header iothub-ack: {error}."))
            })?;
            message = message.acknowledgement(requested);
        }
        if let Some(expiry) = self.header("iothub-expiry")? {
            let expiry: Timestamp = expiry.parse()?;
            message = message.expires_at(expiry.into());
        }
        Ok(message)
    }

    pub(super) fn receive_notifications(&self) -> Reply {
        let notifications = &self.hubs.uploads.notifications;
        let batch = notifications.receive(self.hub, 1, self.hubs.now());
        received(
            batch,
            "application/vnd.microsoft.iothub.filenotification.json",
        )
    }

    fn header(&self, name: &'static str) -> Result<Option<&str>, ServiceError> {
        self.call.text(HeaderName::from_static(name))
    }
}

/// The properties in the headers of a message.
pub(super) fn properties(call: &Call) -> Result<PropertyBag, ServiceError> {
    let mut properties = PropertyBag::new();
    for name in call.header_names() {
        let system = HEADERS.iter().find(|(header, _)| name == header);
        let property = match (system, name.as_str().strip_prefix(APPLICATION)) {
            (Some((_, property)), _) => *property,
            (None, Some(property)) if !property.is_empty() => property,
            _ => continue,
        };
        if let Some(value) = call.text(name.clone())? {
            properties.insert(property, value);
        }
    }
    Ok(properties)
}

/// A batch with its lock token as ETag, or 204 if there is nothing.
fn received<T: Serialize>(batch: Option<(String, Vec<T>)>, media_type: &str) -> Reply {
    match batch {
        Some((token, items)) => Reply::json(StatusCode::OK, &items)
            .with("etag", format!("\"{token}\""))
            .with("content-type", media_type),
        None => Reply::no_content(),
    }
}

/// 412: the batch is not locked, or with another token.
pub(super) fn settled(found: bool) -> Result<Reply, ServiceError> {
    match found {
        true => Ok(Reply::no_content()),
        false => Err(ServiceError::new(
            ErrorCode::new(412_001),
            "The lock token is not valid, or the lock has expired",
        )),
    }
}

/// Reads `/devices/{deviceId}/messages/devicebound`.
fn destination(to: &str) -> Result<Target, ServiceError> {
    let segments: Vec<&str> = to.trim_matches('/').split('/').collect();
    match segments[..] {
        [devices, id, messages, devicebound]
            if devices.eq_ignore_ascii_case("devices")
                && messages.eq_ignore_ascii_case("messages")
                && devicebound.eq_ignore_ascii_case("devicebound") =>
        {
            Target::device(&dps_types::protocol::decode(id).unwrap_or_default())
        }
        _ => Err(ServiceError::invalid(format!(
            "'{to}' is not a valid destination; it must be /devices/{{deviceId}}/messages/devicebound."
        ))),
    }
}

fn check_seconds(
    name: &str,
    seconds: u64,
    allowed: &std::ops::RangeInclusive<u64>,
) -> Result<(), ServiceError> {
    match allowed.contains(&seconds) {
        true => Ok(()),
        false => Err(ServiceError::invalid(format!(
            "{name} must be {} to {}, and is {seconds}.",
            allowed.start(),
            allowed.end()
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_names_a_device() {
        for to in [
            "/devices/dev-1/messages/devicebound",
            "/Devices/dev-1/Messages/deviceBound/",
        ] {
            assert_eq!(destination(to).unwrap().device_id.as_str(), "dev-1");
        }
        for to in [
            "",
            "dev-1",
            "/devices/dev-1",
            "/devices//messages/devicebound",
            "/devices/dev 1/messages/devicebound",
            "/devices/dev-1/modules/m/messages/devicebound",
        ] {
            assert_eq!(destination(to).unwrap_err().status(), 400, "{to}");
        }
    }

    #[test]
    fn the_time_limits_of_a_method() {
        let method = |document: Value| {
            let document: MethodDocument = serde_json::from_value(document).unwrap();
            document.into_method()
        };
        let plain = method(json!({ "methodName": "reboot" })).unwrap();
        assert_eq!(plain, DirectMethod::new("reboot"));
        let limits = json!({
            "methodName": "reboot",
            "payload": { "delay": 1 },
            "responseTimeoutInSeconds": 5,
            "connectTimeoutInSeconds": 0,
        });
        let expected = DirectMethod::new("reboot").payload(json!({ "delay": 1 }));
        let expected = expected.response_timeout(Duration::from_secs(5));
        assert_eq!(method(limits).unwrap(), expected);
        for (name, seconds) in [
            ("responseTimeoutInSeconds", 4),
            ("responseTimeoutInSeconds", 301),
            ("connectTimeoutInSeconds", 301),
        ] {
            let refused = method(json!({ "methodName": "reboot", name: seconds }));
            assert_eq!(refused.unwrap_err().code().get(), 400_004, "{name}");
        }
    }
}
