//! One MQTT connection to a hub, from CONNECT to its end: the unacknowledged packets, and its replacement. It retries nothing.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`.

use std::collections::HashMap;
use std::time::Duration;

use dps_mqtt::{Connect, Packet};
use dps_types::protocol::hub::{DESIRED_FILTER, TWIN_RESPONSE_FILTER};
#[cfg(feature = "certificates")]
use dps_types::protocol::hub_certificate::RESPONSE_FILTER;
use dps_types::protocol::hub_method::METHOD_FILTER;
use tokio::time::{Instant, timeout};

use super::endpoint::HubEndpoint;
use super::message::Message;
use super::options::ConnectOptions;
use super::password::TimedToken;
use super::reply::LinkId;
use crate::error::{Error, ErrorKind};
use crate::poll::after;
use crate::transport::{MqttConnection, TransportError};

pub(super) struct Link {
    pub(super) hub: HubEndpoint,
    pub(super) id: LinkId,
    connection: MqttConnection,
    opened: Instant,
    renewal: Option<Renewal>,
    /// Messages and other packets that the hub has not acknowledged.
    unacknowledged: HashMap<u16, Unacknowledged>,
    messages_in_flight: usize,
    last_packet_id: u16,
}

/// The times at which the link is replaced. Every change of the credentials uses it.
struct Renewal {
    /// From now on nothing new is sent, so that the link becomes quiet.
    from: Instant,
    /// The link is replaced even if it is not quiet.
    by: Instant,
}

struct Unacknowledged {
    /// The number of the message in the queue. `None` for other packets.
    message: Option<u64>,
    due: Instant,
}

impl Link {
    /// Connects and subscribes, within the timeout of one request.
    pub(super) async fn open(
        hub: &HubEndpoint,
        options: &ConnectOptions,
        id: LinkId,
    ) -> Result<Self, Error> {
        hub.check_profile()?;
        let limit = hub.endpoint.request_timeout;
        match timeout(limit, Self::connect(hub, options, id)).await {
            Ok(opened) => opened.map_err(Into::into),
            Err(_) => Err(Error::new(
                ErrorKind::Connect,
                format!("the hub did not answer within {limit:?}"),
            )),
        }
    }

    /// The next packet. Dropping the future loses nothing.
    pub(super) async fn packet(&mut self) -> Result<Packet, Error> {
        Ok(self.connection.packet().await?)
    }

    /// Sends a message from the queue.
    pub(super) async fn send_message(
        &mut self,
        number: u64,
        message: Message,
    ) -> Result<(), Error> {
        let (payload, properties) = message.into_parts();
        let topic = self.hub.events_topic(properties);
        self.messages_in_flight += 1;
        self.publish(topic, payload, Some(number)).await
    }

    /// Sends a packet that is not a message from the queue.
    pub(super) async fn send(&mut self, topic: String, payload: Vec<u8>) -> Result<(), Error> {
        self.publish(topic, payload, None).await
    }

    /// Acknowledges a message of the hub.
    pub(super) async fn acknowledge(&mut self, packet_id: u16) -> Result<(), Error> {
        Ok(self.connection.acknowledge(packet_id).await?)
    }

    /// The hub has acknowledged this packet. Returns the number of the message.
    pub(super) fn acknowledged(&mut self, packet_id: u16) -> Option<u64> {
        let number = self.unacknowledged.remove(&packet_id)?.message?;
        self.messages_in_flight -= 1;
        Some(number)
    }

    pub(super) fn messages_in_flight(&self) -> usize {
        self.messages_in_flight
    }

    /// Replaces the link as soon as nothing is in progress.
    pub(super) fn renew(&mut self) {
        let now = Instant::now();
        self.renewal = Some(Renewal {
            from: now,
            by: now + RENEWAL_LIMIT,
        });
    }

    /// Returns true while nothing new may be sent, because the link will be replaced.
    pub(super) fn is_renewing(&self) -> bool {
        let now = Instant::now();
        self.renewal
            .as_ref()
            .is_some_and(|renewal| renewal.from <= now)
    }

    /// Returns true if the link has to be replaced now. `is_quiet` means that no answer and no response is expected.
    pub(super) fn must_be_replaced(&self, is_quiet: bool) -> bool {
        let is_quiet = is_quiet && self.messages_in_flight == 0;
        let now = Instant::now();
        self.renewal
            .as_ref()
            .is_some_and(|renewal| renewal.from <= now && (is_quiet || renewal.by <= now))
    }

    /// The time of the next check of the link: for a renewal, or for an overdue acknowledgement.
    pub(super) fn wake(&self) -> Option<Instant> {
        let renewal = self.renewal.as_ref().map(|renewal| {
            if renewal.from > Instant::now() {
                renewal.from
            } else {
                renewal.by
            }
        });
        let messages = self.unacknowledged.values();
        let due = messages
            .filter(|packet| packet.message.is_some())
            .map(|packet| packet.due)
            .min();
        renewal.into_iter().chain(due).min()
    }

    /// # Errors
    /// `Connect` if the hub has not acknowledged a message in time.
    pub(super) fn check_acknowledgements(&self) -> Result<(), Error> {
        let now = Instant::now();
        let mut messages = self.unacknowledged.values();
        match messages.any(|packet| packet.message.is_some() && packet.due <= now) {
            true => Err(Error::new(
                ErrorKind::Connect,
                "the hub did not acknowledge a message in time",
            )),
            false => Ok(()),
        }
    }

    /// The time since the link was opened.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    async fn connect(
        hub: &HubEndpoint,
        options: &ConnectOptions,
        id: LinkId,
    ) -> Result<Self, TransportError> {
        let signed = hub.token().await?;
        let stream = hub.transport.stream(&hub.endpoint, hub.identity()).await?;
        let mut connect = Connect::new(hub.client_id());
        connect.username = Some(hub.username());
        connect.password = signed.as_ref().map(|signed| signed.token.reveal());
        let filters = topic_filters(hub, options);
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        let timeout = hub.endpoint.request_timeout;
        let connection = MqttConnection::open(stream, connect, &filters, timeout).await?;
        let renewal = |token: TimedToken| Renewal {
            from: token.renew_at,
            by: token.renew_by,
        };
        Ok(Self {
            hub: hub.clone(),
            id,
            connection,
            opened: Instant::now(),
            renewal: signed.map(renewal),
            unacknowledged: HashMap::new(),
            messages_in_flight: 0,
            last_packet_id: MqttConnection::LAST_OWN_ID,
        })
    }

    async fn publish(
        &mut self,
        topic: String,
        payload: Vec<u8>,
        message: Option<u64>,
    ) -> Result<(), Error> {
        let packet_id = self.free_packet_id()?;
        let due = after(self.hub.endpoint.request_timeout);
        self.unacknowledged
            .insert(packet_id, Unacknowledged { message, due });
        Ok(self.connection.publish(topic, payload, packet_id).await?)
    }

    fn free_packet_id(&mut self) -> Result<u16, Error> {
        for _ in 0..=u16::MAX {
            // Never zero (MQTT-2.3.1-1).
            self.last_packet_id = self.last_packet_id.checked_add(1).unwrap_or(1);
            if !self.unacknowledged.contains_key(&self.last_packet_id) {
                return Ok(self.last_packet_id);
            }
        }
        Err(Error::new(
            ErrorKind::Connect,
            "the hub does not acknowledge messages: all packet ids are in use",
        ))
    }
}

/// The maximum wait of a renewal that the program requested, until nothing is in progress.
const RENEWAL_LIMIT: Duration = Duration::from_secs(10);

/// The topics that a connection subscribes to. A hub allows five for each connection.
fn topic_filters(hub: &HubEndpoint, options: &ConnectOptions) -> Vec<String> {
    let mut filters = vec![TWIN_RESPONSE_FILTER.to_owned()];
    filters.extend(options.twin.then(|| DESIRED_FILTER.to_owned()));
    filters.extend(options.methods.then(|| METHOD_FILTER.to_owned()));
    filters.extend(options.messages.then(|| hub.message_filter()));
    #[cfg(feature = "certificates")]
    filters.extend(hub.renews_here.then(|| RESPONSE_FILTER.to_owned()));
    filters
}
