//! Cloud-to-device messages and direct methods for the devices of a hub.

use std::collections::BTreeMap;

use dps_types::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::reply::{self, Answer, Failure};
use super::request::{Ask, BODY_LIMIT};
use crate::endpoint::MethodDocument;
use crate::hub::{CloudToDeviceMessage, HubHandle};

/// A cloud-to-device message.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MessageDocument {
    /// A text is sent as it is, and every other value as JSON.
    #[serde(default)]
    body: Value,
    /// Application properties.
    #[serde(default)]
    properties: BTreeMap<String, String>,
    message_id: Option<String>,
    correlation_id: Option<String>,
    content_type: Option<String>,
    content_encoding: Option<String>,
    /// `none`, `positive`, `negative` or `full`.
    ack: Option<String>,
    expiry_time_utc: Option<Timestamp>,
}

impl MessageDocument {
    fn into_message(self) -> Result<CloudToDeviceMessage, Failure> {
        let mut message = match self.body {
            Value::Null => CloudToDeviceMessage::new(Vec::new()),
            Value::String(text) => CloudToDeviceMessage::new(text),
            body => CloudToDeviceMessage::new(body.to_string()),
        };
        for (name, value) in self.properties {
            message = message.property(name, value);
        }
        if let Some(id) = self.message_id {
            message = message.message_id(id);
        }
        if let Some(id) = self.correlation_id {
            message = message.correlation_id(id);
        }
        if let Some(content_type) = self.content_type {
            message = message.content_type(content_type);
        }
        if let Some(encoding) = self.content_encoding {
            message = message.content_encoding(encoding);
        }
        if let Some(ack) = self.ack {
            message = message.acknowledgement(ack.parse()?);
        }
        if let Some(time) = self.expiry_time_utc {
            message = message.expires_at(time.into());
        }
        Ok(message)
    }
}

/// `GET /hubs/{hub}/devices/{id}/messages`: the number of messages in the queue of the device.
pub(super) async fn queued(hub: &HubHandle, id: &str) -> Answer {
    hub.twin(id).await?;
    reply::ok(&json!({ "queued": hub.queued_messages(id).await? }))
}

/// `POST /hubs/{hub}/devices/{id}/messages`: adds a message to the queue of the device.
pub(super) async fn send(hub: &HubHandle, id: &str, ask: Ask) -> Answer {
    let document: MessageDocument = ask.json(BODY_LIMIT).await?;
    hub.send_message(id, &document.into_message()?).await?;
    reply::no_content()
}

/// `POST /hubs/{hub}/devices/{id}/methods`: invokes a direct method. The document is the one of the REST API of IoT Hub.
pub(super) async fn invoke(hub: &HubHandle, id: &str, ask: Ask) -> Answer {
    let document: MethodDocument = ask.json(BODY_LIMIT).await?;
    let response = hub.invoke_method(id, &document.into_method()?).await?;
    reply::ok(&json!({ "status": response.status, "payload": response.payload }))
}
