//! The parameters of a client's connection, and of its links.

use std::time::Duration;

use super::{RECEIVER, SENDER};
use crate::link::{Attach, Role, Terminus};

/// The parameters of a connection.
#[derive(Clone, Debug)]
#[must_use]
pub struct ClientOptions {
    pub(super) container_id: String,
    pub(super) hostname: String,
    address: String,
    properties: Vec<(String, String)>,
    pub(super) max_message: usize,
    pub(super) idle_time_out: Duration,
}

impl ClientOptions {
    /// A connection to this host, with both links at this address. `container_id` identifies the client, and is unique.
    pub fn new(
        container_id: impl Into<String>,
        hostname: impl Into<String>,
        address: impl Into<String>,
    ) -> Self {
        Self {
            container_id: container_id.into(),
            hostname: hostname.into(),
            address: address.into(),
            properties: Vec::new(),
            max_message: 65_536,
            idle_time_out: Duration::from_secs(240),
        }
    }

    /// Adds a property to both links, such as `com.microsoft:api-version`.
    pub fn with_link_property(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.properties.push((name.into(), value.into()));
        self
    }

    /// Accepts answers of up to this many bytes. The default is 65,536.
    pub fn with_max_message(mut self, bytes: usize) -> Self {
        self.max_message = bytes;
        self
    }

    /// The attach of the link on which the client has this role.
    pub(super) fn attach(&self, role: Role) -> Attach {
        let remote = Terminus::at(&self.address);
        let local = Terminus::Address(None);
        let (handle, source, target) = match role {
            Role::Receiver => (RECEIVER, remote, local),
            Role::Sender => (SENDER, local, remote),
        };
        Attach {
            name: self.link_name(role),
            handle,
            role,
            snd_settle_mode: None,
            rcv_settle_mode: None,
            source,
            target,
            initial_delivery_count: (role == Role::Sender).then_some(0),
            max_message_size: (role == Role::Receiver)
                .then(|| u64::try_from(self.max_message).unwrap_or(u64::MAX)),
            properties: self.properties.clone(),
        }
    }

    /// The name of the link on which the client has this role.
    pub(super) fn link_name(&self, role: Role) -> String {
        let role = match role {
            Role::Receiver => "receiver",
            Role::Sender => "sender",
        };
        format!("{}-{role}", self.container_id)
    }
}
