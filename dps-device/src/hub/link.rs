//! One MQTT connection to a hub: from CONNECT to its end, without a second try of anything.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`.

use std::collections::VecDeque;
use std::time::Duration;

use dps_mqtt::{Connect, Publish};
use dps_types::protocol::hub::{
    DESIRED_FILTER, DesiredTopic, TWIN_RESPONSE_FILTER, TwinRequestTopic, TwinResponseTopic,
};
use dps_types::protocol::parse_retry_after;
use dps_types::sas::SasToken;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::debug;

use super::settings::HubEndpoint;
use super::twin::{Twin, TwinProperties};
use crate::answer::accept;
use crate::error::{Error, ErrorKind};
use crate::poll::after;
use crate::transport::{KEEP_ALIVE, MqttConnection, Reply, TransportError, request_id};

/// How many changes wait for somebody to ask for them. Who misses one sees a gap in the versions, and takes the whole twin.
const MOST_CHANGES: usize = 32;

pub(super) struct Link {
    hub: HubEndpoint,
    connection: MqttConnection,
    opened: Instant,
    /// Whether the caller has the twin, so that no change is missed from here on.
    pub(super) caught_up: bool,
    /// When a new one should take its place, since the password runs out.
    renewal: Option<Instant>,
    changes: VecDeque<TwinProperties>,
    /// The question for the twin that nobody has waited for to the end, and when it was asked.
    asked: Option<(String, Instant)>,
}

impl Link {
    /// Connects and subscribes, within the time of one request.
    pub(super) async fn open(hub: &HubEndpoint) -> Result<Self, Error> {
        within(hub.endpoint.request_timeout, Self::dial(hub)).await
    }

    /// Downloads the twin. A question that was asked a moment ago is not asked again.
    pub(super) async fn twin(&mut self) -> Result<Twin, Error> {
        let limit = self.hub.endpoint.request_timeout;
        let reply = within(limit, self.ask_for_twin(limit)).await?;
        serde_json::from_slice(&reply.body)
            .map_err(|error| Error::protocol("the answer is no twin").with_source(error))
    }

    /// Patches the reported properties. Gives their new version.
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
        topic.version.ok_or_else(|| {
            Error::protocol("the hub does not tell the version of the reported properties")
        })
    }

    /// The next change of the desired properties, `None` when it is time for a new link. Dropping the future loses nothing.
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
                self.pass_over(&topic);
            }
        }
    }

    /// Whether it has had its time although nothing went wrong: the password runs out, or nobody kept it alive.
    pub(super) fn is_stale(&self) -> bool {
        self.renewal
            .is_some_and(|renewal| renewal <= Instant::now())
            || self.connection.silence() > KEEP_ALIVE * 3 / 2
    }

    /// For how long it has lived.
    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    async fn dial(hub: &HubEndpoint) -> Result<Self, TransportError> {
        let token = hub.token().await?;
        let stream = hub.carrier.stream(&hub.endpoint, hub.identity()).await?;
        let mut connect = Connect::new(hub.client_id());
        connect.username = Some(hub.username());
        connect.password = token.as_ref().map(SasToken::reveal);
        let filters = [TWIN_RESPONSE_FILTER, DESIRED_FILTER];
        let patience = hub.endpoint.request_timeout;
        let connection = MqttConnection::open(stream, connect, &filters, patience).await?;
        Ok(Self {
            hub: hub.clone(),
            connection,
            opened: Instant::now(),
            caught_up: false,
            renewal: token.map(|_| after(hub.token_lifetime - hub.token_lifetime / 10)),
            changes: VecDeque::new(),
            asked: None,
        })
    }

    async fn ask_for_twin(&mut self, limit: Duration) -> Result<Reply, Error> {
        let asked = self.asked.take();
        let rid = match asked.filter(|(_, at)| at.elapsed() < limit) {
            Some((rid, at)) => {
                self.asked = Some((rid.clone(), at));
                rid
            }
            None => {
                let rid = request_id()?;
                self.asked = Some((rid.clone(), Instant::now()));
                let topic = TwinRequestTopic::Get { rid: rid.clone() };
                self.connection
                    .publish(topic.to_string(), Vec::new())
                    .await?;
                rid
            }
        };
        let (_, reply) = self.answer(&rid).await?;
        self.asked = None;
        accept(reply)
    }

    /// The answer with this mark. All others are for questions that were given up.
    async fn answer(&mut self, rid: &str) -> Result<(TwinResponseTopic, Reply), Error> {
        loop {
            let message = self.connection.message().await?;
            match self.sort(message) {
                Some((topic, reply)) if topic.rid == rid => return Ok((topic, reply)),
                Some((topic, _)) => self.pass_over(&topic),
                None => {}
            }
        }
    }

    /// Gives an answer, and puts a change aside.
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
                if self.changes.len() == MOST_CHANGES {
                    self.changes.pop_front();
                }
                self.changes.push_back(change);
            }
            None => debug!("a message that is neither answer nor change was passed over"),
        }
        None
    }

    fn pass_over(&mut self, topic: &TwinResponseTopic) {
        debug!("an answer to another request was passed over");
        if self
            .asked
            .as_ref()
            .is_some_and(|(rid, _)| *rid == topic.rid)
        {
            self.asked = None;
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
            format!("there was no answer within {limit:?}"),
        )),
    }
}
