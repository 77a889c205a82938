//! A cloud-to-device message as a back end sends it, and as it waits in the device's queue.
//!
//! Source: azure-docs `iot-hub/iot-hub-devguide-messages-c2d.md`, `iot-hub-devguide-messages-construct.md`.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use dps_types::Timestamp;
use dps_types::protocol::hub_message::{PropertyBag, property};
use serde::{Deserialize, Serialize};

use super::telemetry_message::message_size;
use crate::error::{Error, ErrorKind};
use crate::service_error::ServiceError;

/// The largest message, in bytes.
pub(crate) const MAX_MESSAGE: usize = 64 * 1024;
/// The lifetime of a message without an expiry: the default of a hub.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(3600);

/// The feedback that the sender of a cloud-to-device message requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Acknowledgement {
    /// No feedback.
    #[default]
    None,
    /// Feedback when the device has completed the message.
    Positive,
    /// Feedback when the message expires before the device completes it.
    Negative,
    /// Feedback in either case.
    Full,
}

impl Acknowledgement {
    const ALL: [(&str, Self); 4] = [
        ("none", Self::None),
        ("positive", Self::Positive),
        ("negative", Self::Negative),
        ("full", Self::Full),
    ];

    /// The value of the property `iothub-ack`.
    pub fn as_str(self) -> &'static str {
        let mut all = Self::ALL.iter();
        all.find(|(_, known)| *known == self)
            .map_or("none", |(text, _)| text)
    }

    pub(super) fn requests(self, success: bool) -> bool {
        match self {
            Self::None => false,
            Self::Positive => success,
            Self::Negative => !success,
            Self::Full => true,
        }
    }
}

impl FromStr for Acknowledgement {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut all = Self::ALL.iter();
        let found = all.find(|(known, _)| known.eq_ignore_ascii_case(text));
        found.map(|(_, known)| *known).ok_or_else(|| {
            let what = format!("'{text}' is not one of none, positive, negative and full");
            Error::new(ErrorKind::InvalidMessage, what)
        })
    }
}

/// A cloud-to-device message.
///
/// ```no_run
/// # async fn example(dps: &dps_emulator::Emulator) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_emulator::CloudToDeviceMessage;
///
/// let hub = dps.hub("toasters").ok_or("the hub is not linked")?;
/// hub.send_message("toaster-1", &CloudToDeviceMessage::new("hello").message_id("1")).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq)]
pub struct CloudToDeviceMessage {
    body: Bytes,
    properties: PropertyBag,
    acknowledgement: Acknowledgement,
    expires_at: Option<SystemTime>,
}

impl CloudToDeviceMessage {
    /// A message without properties, which expires after an hour. It has at most 64 KiB.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Bytes::from(body.into()),
            properties: PropertyBag::new(),
            acknowledgement: Acknowledgement::None,
            expires_at: None,
        }
    }

    /// Sets the message id, by which feedback names the message. By default it is random.
    #[must_use]
    pub fn message_id(self, id: impl Into<String>) -> Self {
        self.system(property::MESSAGE_ID, id)
    }

    /// Sets the correlation id.
    #[must_use]
    pub fn correlation_id(self, id: impl Into<String>) -> Self {
        self.system(property::CORRELATION_ID, id)
    }

    /// Sets the user id.
    #[must_use]
    pub fn user_id(self, id: impl Into<String>) -> Self {
        self.system(property::USER_ID, id)
    }

    /// Sets the content type, such as `application/json`.
    #[must_use]
    pub fn content_type(self, content_type: impl Into<String>) -> Self {
        self.system(property::CONTENT_TYPE, content_type)
    }

    /// Sets the content encoding, such as `utf-8`.
    #[must_use]
    pub fn content_encoding(self, encoding: impl Into<String>) -> Self {
        self.system(property::CONTENT_ENCODING, encoding)
    }

    /// Adds an application property.
    #[must_use]
    pub fn property(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.system(name, value)
    }

    /// Requests feedback; none by default.
    #[must_use]
    pub fn acknowledgement(mut self, requested: Acknowledgement) -> Self {
        self.acknowledgement = requested;
        self
    }

    /// Sets the time at which the message expires, by the emulator's clock; an hour after it is sent by default.
    #[must_use]
    pub fn expires_at(mut self, time: SystemTime) -> Self {
        self.expires_at = Some(time);
        self
    }

    fn system(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.insert(name, value);
        self
    }

    /// The message as it is queued. `to` is the device's endpoint.
    pub(super) fn queued(
        &self,
        to: String,
        generation_id: String,
        sequence: u64,
        now: SystemTime,
    ) -> Result<QueuedMessage, ServiceError> {
        let size = message_size(&self.body, &self.properties);
        if size > MAX_MESSAGE {
            return Err(ServiceError::too_large(MAX_MESSAGE));
        }
        let mut properties = self.properties.clone();
        if properties.get(property::MESSAGE_ID).is_none() {
            properties.insert(property::MESSAGE_ID, uuid::Uuid::new_v4().to_string());
        }
        properties.insert(property::TO, to);
        if let Some(expires_at) = self.expires_at {
            properties.insert(
                property::EXPIRY_TIME,
                Timestamp::from(expires_at).to_string(),
            );
        }
        if self.acknowledgement != Acknowledgement::None {
            properties.insert(property::ACK, self.acknowledgement.as_str());
        }
        let lifetime_end = now.checked_add(DEFAULT_LIFETIME).unwrap_or(now);
        Ok(QueuedMessage {
            sequence,
            generation_id,
            expires: self.expires_at.unwrap_or(lifetime_end).into(),
            acknowledgement: self.acknowledgement,
            properties: properties.to_string(),
            body: self.body.to_vec(),
        })
    }
}

impl fmt::Debug for CloudToDeviceMessage {
    /// Hides the content, which may be confidential.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CloudToDeviceMessage")
            .field("bytes", &self.body.len())
            .field("acknowledgement", &self.acknowledgement)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// A message in the queue of a device, as it is stored.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct QueuedMessage {
    /// The number of the message in the queue. It increases.
    pub(crate) sequence: u64,
    /// The generation of the device: another device with the same id does not receive the message.
    pub(super) generation_id: String,
    pub(super) expires: Timestamp,
    pub(super) acknowledgement: Acknowledgement,
    /// As the topic has them.
    properties: String,
    #[serde(with = "base64_bytes")]
    pub(crate) body: Vec<u8>,
}

impl QueuedMessage {
    pub(crate) fn properties(&self) -> PropertyBag {
        self.properties.parse().unwrap_or_default()
    }

    pub(super) fn message_id(&self) -> String {
        let properties = self.properties();
        properties
            .get(property::MESSAGE_ID)
            .unwrap_or_default()
            .to_owned()
    }
}

impl fmt::Debug for QueuedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueuedMessage")
            .field("sequence", &self.sequence)
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Bytes as base64 in a stored document.
mod base64_bytes {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map_err(de::Error::custom)
    }
}
