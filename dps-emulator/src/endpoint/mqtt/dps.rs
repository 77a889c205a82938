//! A device at DPS: may it come in, and its one subscription.

use std::future::pending;
use std::time::Duration;

use dps_mqtt::{Connect, Publish, QoS};
use dps_types::protocol::mqtt::{RESPONSE_FILTER, Username};

use super::super::{Gateway, Peer};
use super::session::{Answer, Message, Session, granted};
use super::{patience, presented, request};
use crate::attest::Presented;
use crate::provision::Device;
use crate::service_error::ServiceError;

/// How long a client without a keep-alive may be silent.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A client that was let in.
pub(super) struct Client<'a> {
    gateway: &'a Gateway,
    username: Username,
    presented: Presented<'a>,
    patience: Duration,
    /// How responses are to be delivered, once it has subscribed to them.
    granted: Option<QoS>,
}

impl<'a> Client<'a> {
    /// Reads who it is from the username, and verifies the token in the password or the certificate.
    pub(super) async fn admit(
        gateway: &'a Gateway,
        peer: &'a Peer,
        connect: &Connect,
    ) -> Result<Self, ServiceError> {
        let username: Username = connect.username.as_deref().unwrap_or_default().parse()?;
        if !connect
            .client_id
            .eq_ignore_ascii_case(username.registration_id.as_str())
        {
            return Err(ServiceError::invalid(
                "the client id is not the registration id",
            ));
        }
        if !username.api_version.is_known() {
            return Err(ServiceError::invalid("the api-version is not known"));
        }
        let client = Self {
            gateway,
            username,
            presented: presented(connect, peer)?,
            patience: patience(connect.keep_alive).unwrap_or(FOREVER),
            granted: None,
        };
        gateway.engine.admit(client.device()).await?;
        Ok(client)
    }

    pub(super) fn device(&self) -> Device<'_> {
        Device {
            id_scope: &self.username.id_scope,
            registration_id: &self.username.registration_id,
            presented: self.presented.clone(),
            api_version: self.username.api_version,
            takes_challenge: false,
        }
    }
}

impl Session for Client<'_> {
    fn patience(&self) -> Duration {
        self.patience
    }

    fn subscribe(&mut self, filter: &str, asked: QoS) -> Option<QoS> {
        if filter != RESPONSE_FILTER {
            return None;
        }
        self.granted = Some(granted(asked));
        self.granted
    }

    fn unsubscribe(&mut self, filter: &str) {
        if filter == RESPONSE_FILTER {
            self.granted = None;
        }
    }

    async fn receive(&mut self, publish: &Publish) -> Answer {
        match (
            request::answer(self.gateway, self, publish).await,
            self.granted,
        ) {
            (request::Answer::Response(response), Some(qos)) => Answer::Message(Message {
                topic: response.topic,
                body: response.body,
                qos,
            }),
            (request::Answer::Response(_) | request::Answer::Nothing, _) => Answer::Nothing,
            (request::Answer::End, _) => Answer::End,
        }
    }

    /// DPS speaks when it is asked.
    async fn next(&mut self) -> Option<Message> {
        pending().await
    }
}
