//! A device at its hub: it reads and patches its twin, receives desired properties, and sends telemetry.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`; the size of telemetry `iot-hub/iot-hub-devguide-quotas-throttling.md`.

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use dps_mqtt::{Connect, Publish, QoS};
use dps_types::protocol::hub::{
    DESIRED_FILTER, DesiredTopic, TWIN_RESPONSE_FILTER, TwinRequestTopic, TwinResponseTopic,
    Username,
};
use dps_types::{DeviceId, HubHostname};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::super::call::document;
use super::super::{Caller, Gateway};
use super::session::{Answer, Message, Received, Session, granted};
use super::{ENVELOPE, idle_timeout, presented};
use crate::fault::{FaultOutcome, NOT_JSON, Step};
use crate::hub::{DeviceSession, Hubs};
use crate::service_error::ServiceError;

/// Direct methods. Clients subscribe to them, but nothing calls one here.
const METHODS_FILTER: &str = "$iothub/methods/POST/#";
/// Cloud-to-device messages, as some clients subscribe to them. Nothing sends one here.
const ANY_DEVICE_FILTER: &str = "devices/+/messages/devicebound/#";

/// The longest time without a packet: 29.45 minutes.
const MAX_IDLE: Duration = Duration::from_secs(1767);
/// The largest telemetry message, in bytes.
const MAX_TELEMETRY: usize = 256 * 1024;

/// A client whose CONNECT was accepted.
pub(super) struct Client<'a> {
    gateway: &'a Gateway,
    caller: Caller<'a>,
    hub: HubHostname,
    device_id: DeviceId,
    session: DeviceSession,
    /// The end of the token, and of the connection.
    end: Option<Instant>,
    idle_timeout: Duration,
    responses: Option<QoS>,
    desired: Option<QoS>,
}

/// A request about the twin.
pub(super) struct Request {
    topic: TwinRequestTopic,
    body: Bytes,
}

/// The answer to a request about the twin.
struct Response {
    topic: TwinResponseTopic,
    body: Vec<u8>,
}

/// A subscription of a device at its hub.
enum Subscription {
    TwinResponses,
    Desired,
    /// Messages that the emulator never sends.
    Empty,
}

/// Whether a client connects to a hub: its username is `{hub}/{device}/?api-version=…`, where DPS has
/// `{scope}/registrations/{registration}/api-version=…`.
pub(super) fn is_for(connect: &Connect) -> bool {
    let mut parts = connect.username.as_deref().unwrap_or_default().split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (_, Some(second), Some(third)) => {
            third.starts_with('?') || !second.eq_ignore_ascii_case("registrations")
        }
        _ => false,
    }
}

impl<'a> Client<'a> {
    /// Finds hub and device by the username, and verifies the token in the password or the certificate.
    pub(super) async fn admit(
        gateway: &'a Gateway,
        caller: Caller<'a>,
        connect: &Connect,
    ) -> Result<FaultOutcome<Self>, ServiceError> {
        let work = Self::admit_without_faults(gateway, caller, connect);
        gateway.faults.apply(Step::HubConnect, work).await
    }

    async fn admit_without_faults(
        gateway: &'a Gateway,
        caller: Caller<'a>,
        connect: &Connect,
    ) -> Result<Self, ServiceError> {
        let username: Username = connect.username.as_deref().unwrap_or_default().parse()?;
        let Username {
            hub,
            device_id,
            module_id,
            ..
        } = username;
        if let Some(module_id) = module_id {
            let reason = format!("module identities are not supported: '{module_id}'");
            return Err(ServiceError::invalid(reason));
        }
        if connect.client_id != device_id.as_str() {
            let reason = format!(
                "the client id must be the device id '{device_id}', and is '{}'",
                connect.client_id
            );
            return Err(ServiceError::invalid(reason));
        }
        let presented = presented(connect, caller)?;
        let hubs = &gateway.instance.hubs;
        let admitted = hubs.admit(&hub, &device_id, &presented).await?;
        tracing::info!(%hub, %device_id, transport = caller.transport.name(), "connected to its hub");
        Ok(Self {
            gateway,
            caller,
            hub,
            device_id,
            session: admitted.session,
            end: admitted
                .expires_in
                .and_then(|left| Instant::now().checked_add(left)),
            idle_timeout: bounded_idle_timeout(connect.keep_alive),
            responses: None,
            desired: None,
        })
    }

    fn hubs(&self) -> &Hubs {
        &self.gateway.instance.hubs
    }

    fn subscription(&self, filter: &str) -> Option<Subscription> {
        match filter {
            TWIN_RESPONSE_FILTER => Some(Subscription::TwinResponses),
            DESIRED_FILTER => Some(Subscription::Desired),
            METHODS_FILTER | ANY_DEVICE_FILTER => Some(Subscription::Empty),
            filter => {
                let messages = format!("devices/{}/messages/devicebound/#", self.device_id);
                (filter == messages).then_some(Subscription::Empty)
            }
        }
    }

    fn set(&mut self, subscription: &Subscription, qos: Option<QoS>) {
        match subscription {
            Subscription::TwinResponses => self.responses = qos,
            Subscription::Desired => self.desired = qos,
            Subscription::Empty => {}
        }
    }

    async fn telemetry(&self, payload: &[u8]) -> Received<Request> {
        if payload.len() > MAX_TELEMETRY {
            return Received::End(format!(
                "a telemetry message has {} bytes, and the limit is {MAX_TELEMETRY}",
                payload.len()
            ));
        }
        let work = async {
            self.hubs().count_telemetry(&self.hub, &self.device_id);
            Ok(())
        };
        match self.gateway.faults.apply(Step::Telemetry, work).await {
            Ok(FaultOutcome::Done(())) => {
                tracing::debug!(device_id = %self.device_id, bytes = payload.len(), "telemetry");
                Received::Done
            }
            Ok(FaultOutcome::Silence) => Received::Silence,
            // A hub has no answer to telemetry that it refuses.
            _ => Received::End("a fault".to_owned()),
        }
    }

    async fn twin(&self, rid: String) -> Result<Response, ServiceError> {
        let twin = self.hubs().twin_for_device(&self.hub, &self.device_id);
        Ok(Response {
            topic: TwinResponseTopic::new(200, rid),
            body: twin.await?.to_string().into_bytes(),
        })
    }

    async fn report(&self, rid: String, body: &[u8]) -> Result<Response, ServiceError> {
        let patch: Map<String, Value> = document(body)?;
        let report = self.hubs().report(&self.hub, &self.device_id, &patch);
        let version = report.await?;
        tracing::debug!(device_id = %self.device_id, version, "reported properties");
        Ok(Response {
            topic: TwinResponseTopic::new(204, rid).with_version(version),
            body: Vec::new(),
        })
    }

    fn respond(&self, response: Response) -> Answer {
        match self.responses {
            Some(qos) => Answer::Message(Message {
                topic: response.topic.to_string(),
                body: response.body,
                qos,
            }),
            None => Answer::Lost(format!(
                "the response was dropped: the client has not subscribed to '{TWIN_RESPONSE_FILTER}'"
            )),
        }
    }

    fn refused(&self, rid: String, error: &ServiceError) -> Answer {
        if error.status() == 404 {
            return Answer::End("the device is no longer in the hub".to_owned());
        }
        let device = Some(self.device_id.as_str());
        self.gateway.refusals.log(self.caller, device, error);
        let mut topic = TwinResponseTopic::new(error.status(), rid);
        if let Some(seconds) = error.retry_after_seconds {
            topic = topic.with_retry_after(seconds);
        }
        let body = Vec::new();
        self.respond(Response { topic, body })
    }

    fn is_telemetry(&self, topic: &str) -> bool {
        let events = format!("devices/{}/messages/events", self.device_id);
        let below = topic.strip_prefix(events.as_str());
        below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        tracing::info!(hub = %self.hub, device_id = %self.device_id, "disconnected from its hub");
    }
}

impl Session for Client<'_> {
    type Request = Request;

    fn device(&self) -> &str {
        self.device_id.as_str()
    }

    fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    fn max_packet_bytes(&self) -> usize {
        MAX_TELEMETRY + ENVELOPE
    }

    fn subscribe(&mut self, filter: &str, asked: QoS) -> Result<QoS, String> {
        let Some(subscription) = self.subscription(filter) else {
            return Err(format!(
                "there is no topic filter '{filter}' for this device at a hub"
            ));
        };
        let granted = granted(asked);
        self.set(&subscription, Some(granted));
        Ok(granted)
    }

    fn unsubscribe(&mut self, filter: &str) {
        if let Some(subscription) = self.subscription(filter) {
            self.set(&subscription, None);
        }
    }

    async fn read(&mut self, publish: Publish) -> Received<Request> {
        let topic = publish.topic.as_str();
        if self.is_telemetry(topic) {
            return self.telemetry(&publish.payload).await;
        }
        match topic.parse() {
            Ok(topic) => Received::Request(Request {
                topic,
                body: publish.payload,
            }),
            Err(error) => Received::End(format!(
                "PUBLISH to '{topic}', which is neither a twin request nor this device's telemetry: {error}"
            )),
        }
    }

    async fn answer(&mut self, request: Request) -> Answer {
        let faults = &self.gateway.faults;
        let (rid, outcome) = match request.topic {
            TwinRequestTopic::Get { rid } => {
                let work = self.twin(rid.clone());
                (rid, faults.apply(Step::TwinGet, work).await)
            }
            TwinRequestTopic::PatchReported { rid } => {
                let work = self.report(rid.clone(), &request.body);
                (rid, faults.apply(Step::TwinReport, work).await)
            }
            _ => return Answer::End("the request is not supported".to_owned()),
        };
        match outcome {
            Ok(FaultOutcome::Done(response)) => self.respond(response),
            Ok(FaultOutcome::Malformed) => self.respond(Response {
                topic: TwinResponseTopic::new(200, rid),
                body: NOT_JSON.to_vec(),
            }),
            Ok(FaultOutcome::Silence) => Answer::Nothing,
            Ok(FaultOutcome::Cut) => Answer::End("a fault".to_owned()),
            Err(error) => self.refused(rid, &error),
        }
    }

    async fn next(&mut self) -> Result<Message, &'static str> {
        loop {
            let update = tokio::select! {
                () = until(self.end) => return Err("the token has expired"),
                update = self.session.next() => update,
            };
            let Some(update) = update else {
                return Err(
                    "the device connected again, was disabled or removed, or does not read its messages",
                );
            };
            // A device that has not subscribed reads the whole twin instead.
            if let Some(qos) = self.desired {
                return Ok(Message {
                    topic: DesiredTopic::new(update.version).to_string(),
                    body: update.document.to_string().into_bytes(),
                    qos,
                });
            }
        }
    }
}

/// The idle timeout of a client. Without a keep-alive it is the longest.
fn bounded_idle_timeout(keep_alive: u16) -> Duration {
    idle_timeout(keep_alive).map_or(MAX_IDLE, |timeout| timeout.min(MAX_IDLE))
}

async fn until(end: Option<Instant>) {
    match end {
        Some(end) => tokio::time::sleep_until(end).await,
        None => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(username: &str) -> Connect {
        let mut connect = Connect::new("d");
        connect.username = Some(username.to_owned());
        connect
    }

    #[test]
    fn the_idle_timeout_is_29_minutes_and_27_seconds_at_most() {
        for (keep_alive, milliseconds) in [
            (1, 1_500),
            (60, 90_000),
            (1177, 1_765_500),
            (1178, 1_767_000),
            (u16::MAX, 1_767_000),
            (0, 1_767_000),
        ] {
            let timeout = bounded_idle_timeout(keep_alive);
            assert_eq!(timeout, Duration::from_millis(milliseconds), "{keep_alive}");
        }
    }

    #[test]
    fn the_username_distinguishes_a_hub_from_dps() {
        for hub in [
            "localhost/dev-1/?api-version=2019-10-01&DeviceClientType=py",
            "hub.azure-devices.net/registrations/?api-version=2021-04-12",
            "localhost/dev-1/module/?api-version=2021-04-12",
        ] {
            assert!(is_for(&connect(hub)), "{hub}");
        }
        for dps in [
            "0ne00000001/registrations/dev-1/api-version=2019-03-31",
            "0ne00000001/Registrations/dev-1/?api-version=2019-03-31",
            "dev-1",
            "",
        ] {
            assert!(!is_for(&connect(dps)), "{dps}");
        }
    }
}
