//! One recorded exchange: a request as HTTP has it, over all transports, and its answer.

use std::collections::BTreeMap;

use dps_types::{Timestamp, json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::journal::{MASK, masked, masked_text};

/// A request and its answer.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RecordedExchange {
    /// The time of the answer.
    pub(crate) time: Timestamp,
    /// The transport, such as `MQTT over WebSocket`.
    pub(crate) transport: String,
    pub(crate) method: String,
    /// The path with its query. A request over MQTT or AMQP has the path that it would have over HTTPS.
    pub(crate) path: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) request_headers: BTreeMap<String, String>,
    /// The credentials of a device. A request of an operator has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) attestation: Option<Attestation>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_body: Option<Value>,
    /// The size of a request's body that is not JSON, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request_bytes: Option<usize>,
    pub(crate) status: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) response_body: Option<Value>,
}

/// The credentials that a device presented, without secrets.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "type")]
pub(crate) enum Attestation {
    None,
    /// A shared access signature, which is not recorded.
    Token,
    /// A chain of certificates, the leaf first, each as base64 of its DER.
    X509 {
        certificates: Vec<String>,
    },
}

impl RecordedExchange {
    pub(crate) fn new(time: Timestamp, transport: &str, method: &str, path: &str) -> Self {
        Self {
            time,
            transport: transport.to_owned(),
            method: method.to_owned(),
            path: path.to_owned(),
            request_headers: BTreeMap::new(),
            attestation: None,
            request_body: None,
            request_bytes: None,
            status: 0,
            response_body: None,
        }
    }

    pub(crate) fn asked(mut self, body: &[u8]) -> Self {
        self.request_body = json::from_slice(body).ok();
        if self.request_body.is_none() && !body.is_empty() {
            self.request_bytes = Some(body.len());
        }
        self
    }

    pub(crate) fn answered(mut self, status: u16, body: &[u8]) -> Self {
        self.status = status;
        self.response_body = json::from_slice(body).ok();
        self
    }

    /// The exchange with its secrets masked.
    pub(crate) fn masked(mut self) -> Self {
        self.path = masked_text(&self.path);
        self.request_body = self.request_body.map(masked);
        self.response_body = self.response_body.map(masked);
        self
    }

    /// The body of the request without the members that are masked.
    pub(crate) fn unmasked_body(&self) -> Option<Value> {
        self.request_body.clone().map(without_masks)
    }
}

fn without_masks(document: Value) -> Value {
    match document {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(_, value)| *value != MASK)
            .map(|(name, value)| (name, without_masks(value)))
            .collect(),
        Value::Array(items) => items.into_iter().map(without_masks).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn exchange() -> RecordedExchange {
        let now: Timestamp = std::time::UNIX_EPOCH.into();
        RecordedExchange::new(now, "HTTPS", "PUT", "/enrollments/a?sig=s3cret")
    }

    #[test]
    fn masked_keys_are_left_out_of_a_request() {
        let keys = json!({ "primaryKey": "s3cret", "secondaryKey": "s3cret" });
        let body = json!({ "attestation": { "type": "symmetricKey", "symmetricKey": keys } });
        let recorded = exchange()
            .asked(body.to_string().as_bytes())
            .answered(200, body.to_string().as_bytes())
            .masked();
        let text = serde_json::to_string(&recorded).unwrap();
        assert!(!text.contains("s3cret"), "{text}");
        let sent = json!({ "attestation": { "type": "symmetricKey", "symmetricKey": {} } });
        assert_eq!(recorded.unmasked_body(), Some(sent));
    }

    #[test]
    fn a_body_that_is_not_json_is_recorded_by_its_size() {
        let recorded = exchange().asked(b"{s3cret").answered(400, b"");
        let document = serde_json::to_value(&recorded).unwrap();
        assert_eq!(document["requestBytes"], 7);
        assert_eq!(document.get("requestBody"), None);
        assert_eq!(document.get("responseBody"), None);
    }
}
