//! One MQTT connection to a hub, from CONNECT to its end. It retries nothing.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`.

use std::collections::VecDeque;
use std::time::Duration;

use dps_mqtt::{Connect, Publish};
use dps_types::json;
use dps_types::protocol::hub::{
    DESIRED_FILTER, DesiredTopic, TWIN_RESPONSE_FILTER, TwinRequestTopic, TwinResponseTopic,
};
use dps_types::protocol::parse_retry_after;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::endpoint::HubEndpoint;
use super::password::TimedToken;
use super::twin::{Twin, TwinProperties};
use crate::answer::accept;
use crate::error::{Error, ErrorKind};
use crate::transport::{KEEP_ALIVE, MqttConnection, Reply, TransportError, request_id};

/// How many changes are kept until the caller reads them. If one is dropped, the gap in the versions leads to a download of the
/// whole twin.
const MAX_CHANGES: usize = 32;

pub(super) struct Link {
    hub: HubEndpoint,
    connection: MqttConnection,
    opened: Instant,
    /// The twin was downloaded over this link, so that no later change is missed.
    pub(super) caught_up: bool,
    /// When to replace this link because its password expires.
    renewal: Option<Instant>,
    changes: VecDeque<TwinProperties>,
    /// A request for the twin that has no answer yet: its id, and when it was sent.
    pending_get: Option<(String, Instant)>,
}

impl Link {
    /// Connects and subscribes, within the timeout of one request.
    pub(super) async fn open(hub: &HubEndpoint) -> Result<Self, Error> {
        hub.check_profile()?;
        within(hub.endpoint.request_timeout, Self::connect(hub)).await
    }

    /// Downloads the twin. If a request for it is still pending, waits for the answer to that one.
    pub(super) async fn twin(&mut self) -> Result<Twin, Error> {
        let limit = self.hub.endpoint.request_timeout;
        let reply = within(limit, self.get_twin(limit)).await?;
        json::from_slice(&reply.body)
            .map_err(|error| Error::protocol("the answer is not a valid twin").with_source(error))
    }

    /// Patches the reported properties and returns their new version.
    pub(super) async fn report(&mut self, patch: Vec<u8>) -> Result<u64, Error> {
        let limit = self.hub.endpoint.request_timeout;
        let rid = request_id()?;
        let topic = TwinRequestTopic::PatchReported { rid: rid.clone() };
        let work = async {
            self.connection.publish(topic.to_string(), patch).await?;
            self.answer(&rid).await
        };
        let (topic, reply) = within(limit, work).await?;
        accept(reply)?;
        topic
            .version
            .ok_or_else(|| Error::protocol("the answer has no version of the reported properties"))
    }

    /// The next change of the desired properties. `None` if it is time for a new link. Dropping the future loses nothing.
    pub(super) async fn change(&mut self) -> Result<Option<TwinProperties>, Error> {
        loop {
            if let Some(change) = self.changes.pop_front() {
                return Ok(Some(change));
            }
            let message = self.connection.message();
            let message = match self.renewal {
                Some(renewal) => match timeout_at(renewal, message).await {
                    Ok(message) => message,
                    Err(_) => return Ok(None),
                },
                None => message.await,
            };
            if let Some((topic, _)) = self.sort(message?) {
                self.ignore(&topic);
            }
        }
    }

    /// True if the link should be replaced before the next request: its password expires, or no ping was sent for too long.
    pub(super) fn is_stale(&self) -> bool {
        self.renewal
            .is_some_and(|renewal| renewal <= Instant::now())
            || self.connection.silence() > KEEP_ALIVE * 3 / 2
    }

    /// The time since the link was opened.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    async fn connect(hub: &HubEndpoint) -> Result<Self, TransportError> {
        let signed = hub.token().await?;
        let stream = hub.transport.stream(&hub.endpoint, hub.identity()).await?;
        let mut connect = Connect::new(hub.client_id());
        connect.username = Some(hub.username());
        connect.password = signed.as_ref().map(|signed| signed.token.reveal());
        let filters = [TWIN_RESPONSE_FILTER, DESIRED_FILTER];
        let timeout = hub.endpoint.request_timeout;
        let connection = MqttConnection::open(stream, connect, &filters, timeout).await?;
        Ok(Self {
            hub: hub.clone(),
            connection,
            opened: Instant::now(),
            caught_up: false,
            renewal: signed.map(|TimedToken { renew_at, .. }| renew_at),
            changes: VecDeque::new(),
            pending_get: None,
        })
    }

    async fn get_twin(&mut self, limit: Duration) -> Result<Reply, Error> {
        let pending = self.pending_get.take();
        let rid = match pending.filter(|(_, sent)| sent.elapsed() < limit) {
            Some((rid, sent)) => {
                self.pending_get = Some((rid.clone(), sent));
                rid
            }
            None => {
                let rid = request_id()?;
                self.pending_get = Some((rid.clone(), Instant::now()));
                let topic = TwinRequestTopic::Get { rid: rid.clone() };
                self.connection
                    .publish(topic.to_string(), Vec::new())
                    .await?;
                rid
            }
        };
        let (_, reply) = self.answer(&rid).await?;
        self.pending_get = None;
        accept(reply)
    }

    /// The answer to the request with this id. Answers to other requests, whose callers gave up, are ignored.
    async fn answer(&mut self, rid: &str) -> Result<(TwinResponseTopic, Reply), Error> {
        loop {
            let message = self.connection.message().await?;
            match self.sort(message) {
                Some((topic, reply)) if topic.rid == rid => return Ok((topic, reply)),
                Some((topic, _)) => self.ignore(&topic),
                None => {}
            }
        }
    }

    /// Returns an answer, and stores a change for later.
    fn sort(&mut self, message: Publish) -> Option<(TwinResponseTopic, Reply)> {
        if let Ok(topic) = message.topic.parse::<TwinResponseTopic>() {
            let mut reply = Reply::new(topic.status, message.payload.as_ref());
            let now = self.hub.endpoint.clock.now();
            reply.retry_after = topic
                .retry_after
                .as_deref()
                .and_then(|text| parse_retry_after(text, now));
            return Some((topic, reply));
        }
        let change = message
            .topic
            .parse::<DesiredTopic>()
            .ok()
            .and_then(|topic| TwinProperties::change(topic.version, &message.payload).ok());
        match change {
            Some(change) => {
                if self.changes.len() == MAX_CHANGES {
                    self.changes.pop_front();
                }
                self.changes.push_back(change);
            }
            None => debug!("ignoring a message that is neither an answer nor a change"),
        }
        None
    }

    fn ignore(&mut self, topic: &TwinResponseTopic) {
        debug!("ignoring an answer to another request");
        if self
            .pending_get
            .as_ref()
            .is_some_and(|(rid, _)| *rid == topic.rid)
        {
            self.pending_get = None;
        }
    }
}

async fn within<T, E: Into<Error>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, Error> {
    match timeout(limit, work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Error::new(
            ErrorKind::Connect,
            format!("the hub did not answer within {limit:?}"),
        )),
    }
}
