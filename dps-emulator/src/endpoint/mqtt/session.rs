//! What a connection is for: the part that DPS and a hub do not have in common.

use std::time::Duration;

use dps_mqtt::{Publish, QoS};

/// One client, as the service behind the connection knows it.
pub(super) trait Session {
    /// How long the client may be silent.
    fn patience(&self) -> Duration;

    /// The client subscribes. Gives the QoS at which it is served, or `None` when there is nothing of this name.
    fn subscribe(&mut self, filter: &str, asked: QoS) -> Option<QoS>;

    fn unsubscribe(&mut self, filter: &str);

    /// The client sends a message.
    async fn receive(&mut self, publish: &Publish) -> Answer;

    /// The next message that the service sends of itself; `None` when it ends the connection. Dropping the future must
    /// lose nothing.
    async fn next(&mut self) -> Option<Message>;
}

/// What becomes of a client's message.
pub(super) enum Answer {
    Message(Message),
    /// Silence.
    Nothing,
    /// The connection must end.
    End,
}

/// What goes to the client.
pub(super) struct Message {
    pub(super) topic: String,
    pub(super) body: Vec<u8>,
    pub(super) qos: QoS,
}

/// Neither DPS nor a hub delivers exactly once.
pub(super) fn granted(asked: QoS) -> QoS {
    asked.min(QoS::AtLeastOnce)
}
