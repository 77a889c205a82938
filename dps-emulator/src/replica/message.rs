//! The messages between replicas, as JSON. Replicas of one database run the same version of the emulator.

use std::fmt;

use dps_types::{Timestamp, json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A message with its sender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Envelope {
    /// The replica id of the sender.
    pub(crate) from: String,
    #[serde(flatten)]
    pub(crate) message: Message,
}

/// A message to all replicas. A `device` is the identity key of a device or module at its hub.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(crate) enum Message {
    /// A device has connected to its hub at the sender. Connections at other replicas end.
    Connected { device: String, connection: u64 },
    /// A device at the sender receives direct methods from now on.
    Reachable { device: String },
    /// Desired properties have changed.
    Desired {
        device: String,
        document: Value,
        version: u64,
    },
    /// There is a new message in the device's queue.
    Queued { device: String },
    /// The device's connection must end.
    Disconnect { device: String },
    /// The device was removed: its connection and its session must end.
    Remove { device: String },
    /// The connections of all devices of the instance that has linked the hub must end. `device` is the hub and a slash.
    DisconnectAll { device: String },
    /// A direct method for a device that is not connected to the sender.
    Invoke {
        call: String,
        device: String,
        name: String,
        payload: Value,
    },
    /// The method was sent to the device.
    Invoked { call: String },
    /// The device has responded to the method.
    Response {
        call: String,
        status: i32,
        payload: Value,
    },
    /// The device's connection ended before it responded to the method.
    NoResponse { call: String },
    /// The clock, the faults or the recorder have changed at a control endpoint.
    Control,
    /// An exchange was recorded. It is JSON.
    Recorded { time: Timestamp, exchange: String },
    /// The sender has lost messages that it should have sent.
    Lost,
}

impl Message {
    /// The identity key of the device that the message is about.
    pub(super) fn device(&self) -> Option<&str> {
        match self {
            Self::Connected { device, .. }
            | Self::Reachable { device }
            | Self::Desired { device, .. }
            | Self::Queued { device }
            | Self::Disconnect { device }
            | Self::Remove { device }
            | Self::DisconnectAll { device }
            | Self::Invoke { device, .. } => Some(device),
            Self::Invoked { .. }
            | Self::Response { .. }
            | Self::NoResponse { .. }
            | Self::Control
            | Self::Recorded { .. }
            | Self::Lost => None,
        }
    }
}

impl fmt::Debug for Message {
    /// Hides documents, payloads and exchanges: they may be confidential, and a recording may have keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("device", &self.device())
            .finish_non_exhaustive()
    }
}

impl Envelope {
    /// Reads a message. `None` if it cannot be read, for example because another version of the emulator sent it.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let read = json::from_slice(text.as_bytes());
        if let Err(error) = &read {
            tracing::warn!(%error, "a message of another replica cannot be read");
        }
        read.ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_message_is_one_json_object_and_what_cannot_be_read_is_ignored() {
        let message = Message::Desired {
            device: "hub-a/dev-1".to_owned(),
            document: json!({ "a": 1, "$version": 2 }),
            version: 2,
        };
        let from = "one".to_owned();
        let text = serde_json::to_string(&Envelope { from, message }).expect("JSON");
        let expected = json!({
            "from": "one", "kind": "desired", "device": "hub-a/dev-1",
            "document": { "a": 1, "$version": 2 }, "version": 2,
        });
        assert_eq!(
            serde_json::from_str::<Value>(&text).expect("JSON"),
            expected
        );
        assert_eq!(Envelope::read(&text).expect("read").from, "one");
        let nested = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
        for text in ["", "{}", r#"{"from":"one","kind":"other"}"#, &nested] {
            assert_eq!(Envelope::read(text), None);
        }
    }
}
