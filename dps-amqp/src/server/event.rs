//! What the peer of a server does, and the limits of its connection.

use std::time::Duration;

use crate::condition::Condition;
use crate::link::Role;
use crate::message::Message;

/// The limits of a connection.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The largest message, in bytes: 65,536, which is what Microsoft's C SDK asks for.
    pub max_message: usize,
    /// The maximum number of open sessions: 4.
    pub sessions: usize,
    /// The maximum number of links of a session: 8.
    pub links: usize,
    /// The maximum number of messages that wait for the peer's credit on one link: 16.
    pub waiting: usize,
    /// The silence after which the connection is closed: 4 minutes. Half of it is announced to the peer (AMQP 2.4.5).
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 65_536,
            sessions: 4,
            links: 8,
            waiting: 16,
            idle: Duration::from_secs(240),
        }
    }
}

/// A link of a connection. It stays unique after the link was detached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(pub(super) u64);

/// An action of the peer.
#[non_exhaustive]
#[derive(Debug)]
pub enum Event {
    /// The peer attached a link. Answer with [`Server::accept_link`](crate::Server::accept_link) or [`Server::refuse_link`](crate::Server::refuse_link).
    Attached {
        /// The link.
        link: LinkId,
        /// The role of the peer on the link.
        role: Role,
        /// The address: of the source where the peer receives, of the target where it sends. As the peer wrote it.
        address: Option<String>,
        /// The link properties that are text, such as `com.microsoft:api-version`.
        properties: Vec<(String, String)>,
    },
    /// The peer sent a message on an accepted link.
    Request(Request),
    /// The peer closed the connection. There are no events after it.
    Closed(Option<Condition>),
}

/// A message from the peer. Answer with [`Server::accept`](crate::Server::accept) or [`Server::reject`](crate::Server::reject).
#[derive(Debug)]
pub struct Request {
    pub(super) link: LinkId,
    pub(super) delivery: u32,
    pub(super) settled: bool,
    pub(super) message: Message,
}

impl Request {
    /// The link that it came over.
    pub fn link(&self) -> LinkId {
        self.link
    }

    /// The message.
    pub fn message(&self) -> &Message {
        &self.message
    }
}
