//! A message between a device and its hub: a payload, and system and application properties.

use std::fmt;

use dps_types::Timestamp;
use dps_types::protocol::hub_message::{PropertyBag, property};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, ErrorKind};

/// A message: telemetry to the hub, or a cloud-to-device message from it.
///
/// A hub accepts a message of up to 256 KiB, its properties included. It can route messages by the content of the payload if the
/// content type is `application/json` and the content encoding is `utf-8`, which [`json`](Self::json) sets.
///
/// ```
/// # fn main() -> Result<(), dps_device::Error> {
/// use dps_device::Message;
/// use serde_json::json;
///
/// let message = Message::json(&json!({"temperature": 21.5}))?
///     .with_message_id("0815")
///     .with_property("alert", "false");
/// # let _ = message;
/// # Ok(())
/// # }
/// ```
///
/// Debug does not show payload and values. Source: azure-docs `iot-hub/iot-hub-devguide-messages-construct.md`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    payload: Vec<u8>,
    properties: PropertyBag,
}

impl Message {
    /// The largest message that a hub accepts, in bytes: payload and properties together.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// A message with this payload and without properties.
    pub fn new(payload: impl Into<Vec<u8>>) -> Self {
        Self {
            payload: payload.into(),
            properties: PropertyBag::new(),
        }
    }

    /// A message with this value as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Rejected`] if the value cannot be encoded.
    pub fn json(value: &(impl Serialize + ?Sized)) -> Result<Self, Error> {
        let payload = serde_json::to_vec(value).map_err(|error| {
            Error::new(ErrorKind::Rejected, "the message cannot be encoded as JSON")
                .with_source(error)
        })?;
        Ok(Self::new(payload)
            .with_content_type("application/json")
            .with_content_encoding("utf-8"))
    }

    /// Sets the message id: up to 128 characters, which identify the message for the receiver. The hub does not use it to find
    /// duplicates.
    #[must_use]
    pub fn with_message_id(self, id: impl Into<String>) -> Self {
        self.with_property(property::MESSAGE_ID, id)
    }

    /// Sets the correlation id, usually the message id of the message that this one answers.
    #[must_use]
    pub fn with_correlation_id(self, id: impl Into<String>) -> Self {
        self.with_property(property::CORRELATION_ID, id)
    }

    /// Sets the content type, such as `application/json`.
    #[must_use]
    pub fn with_content_type(self, content_type: impl Into<String>) -> Self {
        self.with_property(property::CONTENT_TYPE, content_type)
    }

    /// Sets the content encoding, such as `utf-8`.
    #[must_use]
    pub fn with_content_encoding(self, encoding: impl Into<String>) -> Self {
        self.with_property(property::CONTENT_ENCODING, encoding)
    }

    /// Sets the time at which the message was created. Useful for messages that wait in a queue, since the hub adds only the time
    /// at which it received them.
    #[must_use]
    pub fn with_creation_time(self, time: std::time::SystemTime) -> Self {
        let time = Timestamp::from(time).to_string();
        self.with_property(property::CREATION_TIME, time)
    }

    /// Sets the component of the device's IoT Plug and Play model that sends the message.
    #[must_use]
    pub fn with_component(self, component: impl Into<String>) -> Self {
        self.with_property(property::COMPONENT, component)
    }

    /// Sets the output of a module that sends the message.
    #[must_use]
    pub fn with_output(self, output: impl Into<String>) -> Self {
        self.with_property(property::OUTPUT, output)
    }

    /// Sets an application property. A name that begins with `$.` is that of a system property.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name, value);
        self
    }

    /// The payload.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The payload as JSON.
    ///
    /// # Errors
    /// [`ErrorKind::Protocol`] if the payload is not a valid `T`.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        dps_types::json::from_slice(&self.payload).map_err(|error| {
            Error::protocol("the payload of the message does not have the expected type")
                .with_source(error)
        })
    }

    /// The message id.
    pub fn message_id(&self) -> Option<&str> {
        self.property(property::MESSAGE_ID)
    }

    /// The correlation id.
    pub fn correlation_id(&self) -> Option<&str> {
        self.property(property::CORRELATION_ID)
    }

    /// The content type.
    pub fn content_type(&self) -> Option<&str> {
        self.property(property::CONTENT_TYPE)
    }

    /// The content encoding.
    pub fn content_encoding(&self) -> Option<&str> {
        self.property(property::CONTENT_ENCODING)
    }

    /// The value of this application or system property.
    pub fn property(&self, name: &str) -> Option<&str> {
        self.properties.get(name)
    }

    /// Names and values of the application properties.
    pub fn properties(&self) -> impl Iterator<Item = (&str, &str)> {
        let is_system = |name: &str| name.starts_with("$.") || name == property::ACK;
        self.properties
            .iter()
            .filter(move |(name, _)| !is_system(name))
    }

    pub(super) fn from_parts(payload: Vec<u8>, properties: PropertyBag) -> Self {
        Self {
            payload,
            properties,
        }
    }

    pub(super) fn into_parts(self) -> (Vec<u8>, PropertyBag) {
        (self.payload, self.properties)
    }

    /// The message as a queue keeps it: the length of the properties in four bytes, the properties, and the payload.
    ///
    /// # Errors
    /// `Rejected` if a hub would not accept the message.
    pub(super) fn encode(&self) -> Result<Vec<u8>, Error> {
        let rejected = |what: String| Err(Error::new(ErrorKind::Rejected, what));
        let properties = self.properties.to_string();
        if properties.len() > MAX_PROPERTIES {
            return rejected(format!(
                "the properties of the message have {} bytes; the maximum is {MAX_PROPERTIES}",
                properties.len()
            ));
        }
        let length = properties.len() + self.payload.len();
        if length > Self::MAX_BYTES {
            return rejected(format!(
                "the message has {length} bytes; the hub accepts {}",
                Self::MAX_BYTES
            ));
        }
        let mut bytes = Vec::with_capacity(4 + length);
        bytes.extend_from_slice(&(properties.len() as u32).to_be_bytes());
        bytes.extend_from_slice(properties.as_bytes());
        bytes.extend_from_slice(&self.payload);
        Ok(bytes)
    }

    /// Reads the bytes that [`encode`](Self::encode) has written. `None` if it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.split_first_chunk()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (properties, payload) = rest.split_at_checked(length)?;
        let properties = std::str::from_utf8(properties).ok()?.parse().ok()?;
        Some(Self::from_parts(payload.to_vec(), properties))
    }
}

/// A topic of MQTT has at most 65,535 bytes, and two ids of up to 128 characters need some of them.
const MAX_PROPERTIES: usize = 64 * 1024 - 1024;

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.properties.iter().map(|(name, _)| name).collect();
        f.debug_struct("Message")
            .field("payload_bytes", &self.payload.len())
            .field("properties", &names)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn properties_have_the_names_of_the_documentation() {
        let time =
            std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_700_000_000);
        let message = Message::json(&json!({"a": 1}))
            .unwrap()
            .with_message_id("m")
            .with_correlation_id("c")
            .with_creation_time(time)
            .with_component("thermostat")
            .with_output("out")
            .with_property("alert", "true");
        assert_eq!(
            message.clone().into_parts().1.to_string(),
            "%24.ct=application%2Fjson&%24.ce=utf-8&%24.mid=m&%24.cid=c&%24.ctime=2023-11-14T22%3A13%3A20Z&%24.sub=thermostat&%24.on=out&alert=true"
        );
        assert_eq!(message.payload(), br#"{"a":1}"#);
        assert_eq!(
            message.properties().collect::<Vec<_>>(),
            [("alert", "true")]
        );
        assert_eq!(message.parse::<serde_json::Value>().unwrap()["a"], 1);
        assert!(message.parse::<u8>().is_err());
    }

    #[test]
    fn a_message_that_is_too_large_is_refused_with_both_numbers() {
        assert!(Message::new(vec![0; Message::MAX_BYTES]).encode().is_ok());
        let error = Message::new(vec![0; Message::MAX_BYTES])
            .with_property("a", "b")
            .encode()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Rejected);
        assert!(error.to_string().contains("262147"), "{error}");
        let error = Message::new("")
            .with_property("a", "b".repeat(65_000))
            .encode();
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Rejected);
    }

    #[test]
    fn debug_shows_no_content() {
        let message = Message::new("s3cret").with_property("key", "s3cret");
        let shown = format!("{message:?}");
        assert!(
            !shown.contains("s3cret") && shown.contains("key"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn a_message_survives_its_encoding(
            payload in proptest::collection::vec(any::<u8>(), 0..100),
            properties in proptest::collection::vec(("\\PC{1,8}", "\\PC{0,8}"), 0..4),
        ) {
            let message = properties
                .iter()
                .fold(Message::new(payload), |message, (name, value)| message.with_property(name, value));
            prop_assert_eq!(Message::decode(&message.encode().unwrap()), Some(message));
        }

        #[test]
        fn any_bytes_are_a_message_or_damaged(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            if let Some(message) = Message::decode(&bytes) {
                prop_assert!(message.encode().is_ok());
            }
        }
    }
}
