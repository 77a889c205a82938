//! The part of a connection in which DPS and a hub differ.

use std::time::Duration;

use dps_mqtt::{Publish, QoS};

use super::MAX_RID;

/// A client whose CONNECT was accepted.
pub(super) trait Session {
    /// A message of the client that has been read.
    type Request;

    /// The registration id or device id, for the log.
    fn device(&self) -> &str;

    /// Whether the session of an earlier connection continues, with its subscriptions.
    fn is_resumed(&self) -> bool;

    /// The time without a packet after which the connection ends.
    fn idle_timeout(&self) -> Duration;

    /// The largest packet of the client, in bytes.
    fn max_packet_bytes(&self) -> usize;

    /// Subscribes the client and returns the granted QoS, or the reason for which there is no such subscription.
    fn subscribe(&mut self, filter: &str, asked: QoS) -> Result<QoS, String>;

    fn unsubscribe(&mut self, filter: &str);

    /// Reads a message, before it is acknowledged.
    async fn read(&mut self, publish: Publish) -> Received<Self::Request>;

    /// Answers a message. Its acknowledgement is sent before the answer.
    async fn answer(&mut self, request: Self::Request) -> Answer;

    /// Waits for the next message that the service sends without a request. An error is the reason for which the connection ends.
    /// Dropping the future must lose nothing.
    async fn next(&mut self) -> Result<Message, &'static str>;

    /// The client has received the message with this receipt: it has acknowledged it, or the message has QoS 0.
    async fn delivered(&mut self, receipt: u64);
}

/// The next step for a client's message.
pub(super) enum Received<R> {
    /// Acknowledge it, then answer.
    Request(R),
    /// Acknowledge it: it needs no answer.
    Done,
    /// Do not acknowledge it, as a fault asked for.
    Silence,
    /// End the connection without acknowledging it, for this reason.
    End(String),
}

/// The next step after the acknowledgement of a client's message.
pub(super) enum Answer {
    Message(Message),
    /// Sends the message twice, as a fault asked for.
    Twice(Message),
    Nothing,
    /// Sends nothing, for this reason, which the client does not expect.
    Lost(String),
    /// End the connection, for this reason.
    End(String),
}

/// A message to the client.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
    pub(super) qos: QoS,
    /// The argument of [`Session::delivered`] when the client has received the message.
    pub(super) receipt: Option<u64>,
}

impl Message {
    pub(super) fn new(topic: String, body: Vec<u8>, qos: QoS) -> Self {
        Self {
            topic,
            body,
            qos,
            receipt: None,
        }
    }

    pub(super) fn with_receipt(self, receipt: u64) -> Self {
        Self {
            receipt: Some(receipt),
            ..self
        }
    }
}

/// Neither DPS nor a hub delivers exactly once.
pub(super) fn granted(asked: QoS) -> QoS {
    asked.min(QoS::AtLeastOnce)
}

/// Checks the length of a request id. An error is the reason for which the connection ends.
pub(super) fn check_rid(rid: &str) -> Result<(), String> {
    match rid.len() {
        0..=MAX_RID => Ok(()),
        length => Err(format!(
            "the $rid of a request has {length} bytes; the longest has {MAX_RID}"
        )),
    }
}
