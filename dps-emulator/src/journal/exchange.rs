//! One exchange: a request of a device or an operator and its outcome, or the end of a connection.

use std::time::Duration;

use dps_types::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::mask::{masked, masked_text};
use crate::service_error::ServiceError;

/// The largest body that is kept, in bytes.
const MAX_BODY: usize = 16 * 1024;
/// The longest text of a client that is kept, in characters.
const MAX_TEXT: usize = 500;

/// The sender of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Actor {
    /// A device, at DPS or at its hub.
    Device,
    /// A service client or a back end of a hub.
    Operator,
    /// A client that is not authenticated yet, such as one whose TLS handshake failed.
    Connection,
}

/// A request of a device or an operator and its outcome. Secrets are masked.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct Exchange {
    /// Its number, from 1 on.
    pub id: u64,
    /// The time of the answer, by the clock of the emulator.
    pub time: Timestamp,
    /// The time from the request to the answer, in microseconds.
    pub microseconds: u64,
    /// The sender of the request.
    pub actor: Actor,
    /// The transport, such as `MQTT over WebSocket`.
    pub transport: &'static str,
    /// The address of the client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<String>,
    /// The registration id or the device id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<String>,
    /// `register`, `status` or `lookup` for a device; method and path for an operator.
    pub request: String,
    /// The api-version of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The HTTP status of the answer, which MQTT and AMQP have as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// `assigning`, `assigned`, `failed` or `disabled` for a registration, otherwise `ok`; `refused`, `challenged`, `closed`,
    /// `ignored`, or `fault` if an injected fault replaced the answer.
    pub outcome: String,
    /// The service's error code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<u32>,
    /// The reason of a refusal, which the service does not send to its clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The body of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_body: Option<Value>,
    /// The body of the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_body: Option<Value>,
}

impl Exchange {
    pub(crate) fn new(actor: Actor, transport: &'static str, request: impl AsRef<str>) -> Self {
        Self {
            id: 0,
            time: std::time::UNIX_EPOCH.into(),
            microseconds: 0,
            actor,
            transport,
            peer: None,
            device: None,
            request: shortened(request.as_ref()),
            api_version: None,
            status: None,
            outcome: "ok".to_owned(),
            error_code: None,
            reason: None,
            request_body: None,
            response_body: None,
        }
    }

    pub(crate) fn by(mut self, peer: impl ToString, device: Option<&str>) -> Self {
        self.peer = Some(peer.to_string());
        self.device = device.map(shortened);
        self
    }

    pub(crate) fn took(mut self, time: Duration) -> Self {
        self.microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self
    }

    /// The status and the bodies. The outcome is the status of the registration in the answer, if there is one.
    pub(crate) fn answered(mut self, status: u16, request: &[u8], response: &[u8]) -> Self {
        self.status = Some(status);
        self.request_body = body(request);
        self.response_body = body(response);
        if let Some(Value::Object(fields)) = &self.response_body
            && self.actor == Actor::Device
            && let Some(Value::String(status)) = fields.get("status")
        {
            self.outcome.clone_from(status);
        }
        self
    }

    pub(crate) fn refused(mut self, error: &ServiceError) -> Self {
        self.status = Some(error.status());
        if error.challenge.is_some() {
            return self.ended("challenged", None);
        }
        self.error_code = Some(error.code().get());
        self.ended("refused", Some(error.reason()))
    }

    pub(crate) fn ended(mut self, outcome: &str, reason: Option<&str>) -> Self {
        self.outcome = outcome.to_owned();
        self.reason = reason.map(|reason| shortened(&masked_text(reason)));
        self
    }
}

/// A body as JSON with its secrets masked. Another body is shown by its size, because a secret in it cannot be found.
fn body(bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    if bytes.len() > MAX_BODY {
        return Some(format!("({} bytes)", bytes.len()).into());
    }
    Some(match serde_json::from_slice(bytes) {
        Ok(body) => masked(body),
        Err(_) => format!("({} bytes that are not JSON)", bytes.len()).into(),
    })
}

fn shortened(text: &str) -> String {
    text.chars().take(MAX_TEXT).collect()
}
