//! A device-to-cloud message as a hub received it, with the properties that the hub adds.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-messages-construct.md`.

use std::fmt;
use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;
use dps_types::protocol::hub_message::{PropertyBag, property};
use dps_types::{DeviceId, HubHostname, ModuleId, Timestamp};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, json};

use super::Identity;
use crate::attest::Presented;

/// The memory of a message without its content, in bytes.
const OVERHEAD: usize = 256;

/// The names of system properties, as a topic has them and as the hub passes them on.
const SYSTEM: [(&str, &str); 10] = [
    (property::MESSAGE_ID, "message-id"),
    (property::CORRELATION_ID, "correlation-id"),
    (property::USER_ID, "user-id"),
    (property::CONTENT_TYPE, "content-type"),
    (property::CONTENT_ENCODING, "content-encoding"),
    (property::CREATION_TIME, "iothub-creation-time-utc"),
    (property::EXPIRY_TIME, "absolute-expiry-time"),
    (property::TO, "to"),
    (property::OUTPUT, "iothub-outputname"),
    (property::COMPONENT, "dt-subject"),
];

/// A device-to-cloud message as a hub received it. Clones share the content.
///
/// As JSON, a message is one object: `sequenceNumber`, `enqueuedTime`, `hub`, `deviceId`, `moduleId` if a module sent it,
/// `systemProperties`, `properties`, and the body as `body` if it is JSON, otherwise as `bodyText` if it is UTF-8, otherwise as
/// `bodyBase64`.
#[derive(Clone, PartialEq, Eq)]
pub struct TelemetryMessage(Arc<Content>);

#[derive(PartialEq, Eq)]
struct Content {
    number: u64,
    number_at_hub: u64,
    identity: Identity,
    enqueued: Timestamp,
    system: Vec<(String, String)>,
    application: Vec<(String, String)>,
    body: Bytes,
}

/// A message that the hub received, before it is numbered.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) identity: Identity,
    pub(crate) body: Bytes,
    /// The properties in the topic.
    pub(crate) properties: PropertyBag,
    /// The properties that the hub adds.
    pub(crate) stamps: Vec<(&'static str, String)>,
    pub(crate) enqueued: Timestamp,
}

impl TelemetryMessage {
    /// `number` counts the messages of all hubs, `number_at_hub` those of its hub.
    pub(super) fn new(received: Received, number: u64, number_at_hub: u64) -> Self {
        let mut system = Vec::new();
        let mut application = Vec::new();
        for (name, value) in received.properties.iter() {
            let known = SYSTEM.iter().find(|(in_topic, _)| *in_topic == name);
            match known {
                Some((_, name)) => system.push(((*name).to_owned(), value.to_owned())),
                // The rest of the names with this prefix is reserved: a device cannot set what the hub adds.
                None if name.starts_with("$.") => {}
                None => application.push((name.to_owned(), value.to_owned())),
            }
        }
        let stamps = received.stamps.into_iter();
        system.extend(stamps.map(|(name, value)| (name.to_owned(), value)));
        Self(Arc::new(Content {
            number,
            number_at_hub,
            identity: received.identity,
            enqueued: received.enqueued,
            system,
            application,
            body: received.body,
        }))
    }

    /// The number of the message among all messages of its hub since the emulator started. The first has 1.
    pub fn sequence_number(&self) -> u64 {
        self.0.number_at_hub
    }

    /// The hub.
    pub fn hub(&self) -> &HubHostname {
        &self.0.identity.hub
    }

    /// The device that sent the message.
    pub fn device_id(&self) -> &DeviceId {
        &self.0.identity.device_id
    }

    /// The module that sent the message; `None` if the device itself sent it.
    pub fn module_id(&self) -> Option<&ModuleId> {
        self.0.identity.module_id.as_ref()
    }

    /// The time at which the hub received the message.
    pub fn enqueued_time(&self) -> Timestamp {
        self.0.enqueued
    }

    /// A system property by its name at the built-in endpoint, such as `message-id`, `content-type` or
    /// `iothub-connection-auth-method`.
    pub fn system_property(&self, name: &str) -> Option<&str> {
        find(&self.0.system, name)
    }

    /// An application property. Case matters.
    pub fn property(&self, name: &str) -> Option<&str> {
        find(&self.0.application, name)
    }

    /// The names and values of the application properties, in the order of the message.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let properties = self.0.application.iter();
        properties.map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.0.body
    }

    /// Its number among the messages of all hubs.
    pub(super) fn number(&self) -> u64 {
        self.0.number
    }

    pub(super) fn sender(&self) -> String {
        self.0.identity.key()
    }

    /// The bytes that it needs in memory, roughly.
    pub(super) fn size(&self) -> usize {
        let properties = self.0.system.iter().chain(&self.0.application);
        let properties: usize = properties
            .map(|(name, value)| name.len() + value.len())
            .sum();
        OVERHEAD + properties + self.0.body.len()
    }
}

fn find<'a>(properties: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut properties = properties.iter();
    properties.find_map(|(known, value)| (known == name).then_some(value.as_str()))
}

impl fmt::Debug for TelemetryMessage {
    /// Hides the content, which may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryMessage")
            .field("sequence_number", &self.sequence_number())
            .field("hub", self.hub())
            .field("sender", &self.0.identity.to_string())
            .field("bytes", &self.0.body.len())
            .finish_non_exhaustive()
    }
}

impl Serialize for TelemetryMessage {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sequenceNumber", &self.sequence_number())?;
        map.serialize_entry("enqueuedTime", &self.enqueued_time())?;
        map.serialize_entry("hub", self.hub())?;
        map.serialize_entry("deviceId", self.device_id())?;
        if let Some(module_id) = self.module_id() {
            map.serialize_entry("moduleId", module_id)?;
        }
        map.serialize_entry("systemProperties", &Object(&self.0.system))?;
        map.serialize_entry("properties", &Object(&self.0.application))?;
        let body = self.body();
        if let Ok(document) = dps_types::json::from_slice::<Value>(body) {
            map.serialize_entry("body", &document)?;
        } else if let Ok(text) = std::str::from_utf8(body) {
            map.serialize_entry("bodyText", text)?;
        } else {
            map.serialize_entry("bodyBase64", &STANDARD.encode(body))?;
        }
        map.end()
    }
}

/// Properties as a JSON object.
struct Object<'a>(&'a [(String, String)]);

impl Serialize for Object<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

/// The size of a message as the hub counts it: the body, the values of system properties, the names and values of the others.
pub(crate) fn message_size(body: &[u8], properties: &PropertyBag) -> usize {
    let counted = properties.iter().map(|(name, value)| {
        let is_system = name.starts_with("$.");
        value.len() + if is_system { 0 } else { name.len() }
    });
    body.len() + counted.sum::<usize>()
}

/// The properties that the hub adds to each message of the device, so that no device can pretend to be another one.
pub(crate) fn stamps(
    identity: &Identity,
    presented: &Presented<'_>,
    generation_id: String,
    model_id: Option<String>,
) -> Vec<(&'static str, String)> {
    let scope = match identity.module_id {
        Some(_) => "module",
        None => "device",
    };
    let kind = match presented {
        Presented::Chain(_) => "x509",
        _ => "sas",
    };
    let method = json!({
        "scope": scope, "type": kind, "issuer": "iothub", "acceptingIpFilterRule": null,
    });
    let module = identity.module_id.as_ref();
    let stamps = [
        (
            "iothub-connection-device-id",
            Some(identity.device_id.to_string()),
        ),
        (
            "iothub-connection-module-id",
            module.map(ToString::to_string),
        ),
        ("iothub-connection-auth-generation-id", Some(generation_id)),
        ("iothub-connection-auth-method", Some(method.to_string())),
        ("iothub-message-source", Some("Telemetry".to_owned())),
        ("dt-dataschema", model_id),
    ];
    let stamps = stamps.into_iter();
    stamps
        .filter_map(|(name, value)| Some((name, value?)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(sender: &str, properties: &str, body: &'static [u8]) -> TelemetryMessage {
        let hub = "hub-a".parse().expect("a host name");
        let received = Received {
            identity: Identity::parse(&hub, sender).expect("an identity"),
            body: body.into(),
            properties: properties.parse().expect("properties"),
            stamps: vec![("iothub-message-source", "Telemetry".to_owned())],
            enqueued: "2022-08-31T22:02:50Z".parse().expect("a time"),
        };
        TelemetryMessage::new(received, 7, 3)
    }

    #[test]
    fn a_message_as_json() {
        let properties = "%24.mid=m1&$.ct=application%2Fjson&$.ce=utf-8&alarm=true";
        let message = message("dev-1/mod-1", properties, b"{\"t\":21.5}");
        assert_eq!(
            serde_json::to_value(&message).expect("JSON"),
            json!({
                "sequenceNumber": 3,
                "enqueuedTime": "2022-08-31T22:02:50Z",
                "hub": "hub-a",
                "deviceId": "dev-1",
                "moduleId": "mod-1",
                "systemProperties": {
                    "message-id": "m1",
                    "content-type": "application/json",
                    "content-encoding": "utf-8",
                    "iothub-message-source": "Telemetry",
                },
                "properties": { "alarm": "true" },
                "body": { "t": 21.5 },
            })
        );
    }

    #[test]
    fn a_body_that_is_not_json_is_text_or_base64() {
        let text = serde_json::to_value(message("dev-1", "", b"21 degrees")).expect("JSON");
        assert_eq!(text["bodyText"], "21 degrees");
        let bytes = serde_json::to_value(message("dev-1", "", b"\xff\x00")).expect("JSON");
        assert_eq!(bytes["bodyBase64"], "/wA=");
        assert!(bytes.get("body").is_none() && bytes.get("moduleId").is_none());
    }

    #[test]
    fn a_device_cannot_set_the_properties_of_the_hub() {
        let message = message("dev-1", "$.cdid=dev-2&$.unknown=1", b"");
        assert_eq!(message.properties().count(), 0);
        assert_eq!(message.system_property("$.cdid"), None);
        let source = message.system_property("iothub-message-source");
        assert_eq!(source, Some("Telemetry"));
    }

    #[test]
    fn the_size_counts_values_and_the_names_of_application_properties() {
        let properties: PropertyBag = "$.mid=12345&name=val".parse().expect("properties");
        assert_eq!(message_size(b"body", &properties), 4 + 5 + 4 + 3);
    }
}
