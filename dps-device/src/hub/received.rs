//! A message from the hub, which is acknowledged when the program has finished with it.

use std::fmt;
use std::mem;

use super::message::Message;
use super::reply::{LinkId, Replies, Reply};

/// A message to the device, or to an input of a module.
///
/// The hub counts it as delivered when it is acknowledged, which happens when this value is dropped: keep it until the message is
/// processed. Until then the hub may deliver it again, after a reconnect or when its lock expires (a minute by default), so the
/// program may receive a message twice. A value that is dropped by a panic is not acknowledged.
///
/// Source: azure-docs `iot-hub/iot-hub-devguide-messages-c2d.md`.
///
/// ```
/// # fn example(message: dps_device::ReceivedMessage) {
/// let text = String::from_utf8_lossy(message.payload()).into_owned();
/// println!("{text} ({:?})", message.message().property("urgency"));
/// message.complete(); // as dropping it does; `abandon` leaves it with the hub
/// # }
/// ```
pub struct ReceivedMessage {
    message: Message,
    input: Option<String>,
    acknowledgement: Option<Acknowledgement>,
}

pub(super) struct Acknowledgement {
    pub(super) replies: Replies,
    pub(super) link: LinkId,
    pub(super) packet_id: u16,
}

impl ReceivedMessage {
    pub(super) fn new(
        message: Message,
        input: Option<String>,
        acknowledgement: Option<Acknowledgement>,
    ) -> Self {
        Self {
            message,
            input,
            acknowledgement,
        }
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The payload of the message.
    pub fn payload(&self) -> &[u8] {
        self.message.payload()
    }

    /// The input of the module that the message was sent to. `None` for a message to a device.
    pub fn input(&self) -> Option<&str> {
        self.input.as_deref()
    }

    /// Acknowledges the message now.
    pub fn complete(mut self) -> Message {
        mem::take(&mut self.message)
    }

    /// Does not acknowledge the message. The hub delivers it again, up to its maximum delivery count (10 by default).
    pub fn abandon(mut self) {
        self.acknowledgement = None;
    }
}

impl Drop for ReceivedMessage {
    fn drop(&mut self) {
        if let Some(Acknowledgement {
            replies,
            link,
            packet_id,
        }) = self.acknowledgement.take()
            && !std::thread::panicking()
        {
            replies.send(Reply::Acknowledge { link, packet_id });
        }
    }
}

impl fmt::Debug for ReceivedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedMessage")
            .field("message", &self.message)
            .field("input", &self.input)
            .finish_non_exhaustive()
    }
}
