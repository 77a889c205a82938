//! A device at DPS: its connection, its one subscription, its requests and their answers.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use dps_mqtt::{Connect, Publish, QoS};
use dps_types::protocol::device::{DeviceAction, DeviceRoute};
use dps_types::protocol::mqtt::{RESPONSE_FILTER, RequestTopic, ResponseTopic, Username};

use super::super::answer::Delivery;
use super::super::device::answer::{DeviceCall, Outcome, answer, refused};
use super::super::{Caller, Gateway};
use super::session::{Answer, Message, Received, Session, check_rid, granted};
use super::{ENVELOPE, idle_timeout, presented};
use crate::attest::Presented;
use crate::instances::Instances;
use crate::provision::Device;
use crate::service_error::ServiceError;

/// The idle timeout of a client without a keep-alive: none.
const FOREVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A client whose CONNECT was accepted.
pub(super) struct Client<'a> {
    instances: &'a Instances,
    gateway: &'a Gateway,
    caller: Caller<'a>,
    username: Username,
    presented: Presented<'a>,
    idle_timeout: Duration,
    /// The QoS of responses, once the client has subscribed to them.
    granted: Option<QoS>,
}

/// A request of a device.
pub(super) struct Request {
    rid: String,
    action: DeviceAction,
    body: Bytes,
}

impl<'a> Client<'a> {
    /// Reads the username, and verifies the token in the password or the certificate.
    pub(super) async fn admit(
        instances: &'a Instances,
        gateway: &'a Gateway,
        caller: Caller<'a>,
        connect: &Connect,
    ) -> Result<Self, ServiceError> {
        let username: Username = connect.username.as_deref().unwrap_or_default().parse()?;
        let id = username.registration_id.as_str();
        if !connect.client_id.eq_ignore_ascii_case(id) {
            let reason = format!(
                "the client id must be the registration id '{id}', and is '{}'",
                connect.client_id
            );
            return Err(ServiceError::invalid(reason));
        }
        if !gateway.instance.accepts(username.api_version) {
            let version = username.api_version;
            let reason = format!("the api-version {version} of the username is not known");
            return Err(ServiceError::invalid(reason));
        }
        let client = Self {
            instances,
            gateway,
            caller,
            username,
            presented: presented(connect, caller)?,
            idle_timeout: idle_timeout(connect.keep_alive).unwrap_or(FOREVER),
            granted: None,
        };
        gateway.engine.admit(client.as_device()).await?;
        Ok(client)
    }

    fn as_device(&self) -> Device<'_> {
        Device {
            id_scope: &self.username.id_scope,
            registration_id: &self.username.registration_id,
            presented: self.presented.clone(),
            api_version: self.username.api_version,
            takes_challenge: false,
            source: self.caller.peer.address.ip(),
        }
    }
}

impl Session for Client<'_> {
    type Request = Request;

    fn device(&self) -> &str {
        self.username.registration_id.as_str()
    }

    /// DPS keeps no session, even if the client asks for one.
    fn is_resumed(&self) -> bool {
        false
    }

    fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    fn max_packet_bytes(&self) -> usize {
        let limit = self.gateway.instance.message_limit();
        limit.saturating_add(ENVELOPE)
    }

    fn subscribe(&mut self, filter: &str, asked: QoS) -> Result<QoS, String> {
        if filter != RESPONSE_FILTER {
            return Err(format!(
                "there is no topic filter '{filter}'; the only one of DPS is '{RESPONSE_FILTER}'"
            ));
        }
        let granted = granted(asked);
        self.granted = Some(granted);
        Ok(granted)
    }

    fn unsubscribe(&mut self, filter: &str) {
        if filter == RESPONSE_FILTER {
            self.granted = None;
        }
    }

    async fn read(&mut self, publish: Publish) -> Received<Request> {
        let (rid, action) = match publish.topic.parse() {
            Ok(RequestTopic::Register { rid }) => (rid, DeviceAction::Register),
            Ok(RequestTopic::OperationStatus { rid, operation_id }) => {
                (rid, DeviceAction::OperationStatus(operation_id))
            }
            Ok(_) => return Received::End("the request is not supported".to_owned()),
            Err(error) => {
                let topic = &publish.topic;
                return Received::End(format!("PUBLISH to '{topic}': {error}"));
            }
        };
        if let Err(reason) = check_rid(&rid) {
            return Received::End(reason);
        }
        Received::Request(Request {
            rid,
            action,
            body: publish.payload,
        })
    }

    async fn answer(&mut self, request: Request) -> Answer {
        let Username {
            id_scope,
            registration_id,
            api_version,
            ..
        } = &self.username;
        let route = DeviceRoute::new(id_scope.clone(), registration_id.clone(), request.action);
        let call = DeviceCall {
            route: &route,
            api_version: *api_version,
            presented: self.presented.clone(),
            // The C# SDK may send no body: the connection identifies the device.
            body: match request.body.trim_ascii() {
                [] => b"{}",
                body => body,
            },
            takes_challenge: false,
        };
        // The instance may have been changed or deleted since the client connected.
        let outcome = match self.instances.for_device(id_scope).await {
            Ok(gateway) => answer(&gateway, &call, self.caller).await,
            Err(error) => refused(self.gateway, self.caller, Some(self.device()), &error),
        };
        match (outcome, self.granted) {
            (Outcome::Reply(answer), Some(qos)) => {
                let rid = match answer.delivery {
                    Delivery::ToAnotherRequest => format!("{}0", request.rid),
                    _ => request.rid,
                };
                let topic = ResponseTopic::new(answer.status, rid);
                let topic = match answer.retry_after {
                    Some(seconds) => topic.with_retry_after(seconds),
                    None => topic,
                };
                let message = Message::new(topic.to_string(), answer.body, qos);
                match answer.delivery {
                    Delivery::Twice => Answer::Twice(message),
                    _ => Answer::Message(message),
                }
            }
            (Outcome::Reply(_), None) => Answer::Lost(format!(
                "the response was dropped: the client has not subscribed to '{RESPONSE_FILTER}'"
            )),
            (Outcome::Silence, _) => Answer::Nothing,
            (Outcome::Cut, _) => Answer::End("a fault".to_owned()),
        }
    }

    /// DPS sends nothing without a request.
    async fn next(&mut self) -> Result<Message, &'static str> {
        pending().await
    }

    async fn delivered(&mut self, _receipt: u64) {}
}
