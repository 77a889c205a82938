//! A device or module at its hub: twin, desired properties, telemetry, direct methods and cloud-to-device messages.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`; the size of telemetry `iot-hub/iot-hub-devguide-quotas-throttling.md`.

mod requests;

use std::future::pending;
use std::time::Duration;

use bytes::Bytes;
use dps_mqtt::{Connect, Publish, QoS};
use dps_types::protocol::hub::{
    DesiredTopic, TwinRequestTopic, TwinResponseTopic, Username, client_id,
};
use dps_types::protocol::hub_message::{DeviceboundTopic, EventsTopic};
use dps_types::protocol::hub_method::MethodResponseTopic;
use tokio::time::Instant;

use super::super::{Caller, Gateway};
use super::hub_certificate::{CertificateRequest, Renewing};
use super::hub_methods::PendingMethods;
use super::session::{Answer, Message, Received, Session, check_rid, granted};
use super::{ENVELOPE, idle_timeout, presented};
use crate::fault::{FaultOutcome, NOT_JSON, Step};
use crate::hub::{DeviceSession, Hubs, Identity, Subscription, ToDevice, stamps};
use crate::limits::HubAction;
use crate::service_error::ServiceError;

/// The longest time without a packet: 29.45 minutes.
const MAX_IDLE: Duration = Duration::from_secs(1767);

/// A client whose CONNECT was accepted.
pub(super) struct Client<'a> {
    gateway: &'a Gateway,
    caller: Caller<'a>,
    identity: Identity,
    /// The identity as text, for the log.
    name: String,
    session: DeviceSession,
    /// The properties that the hub adds to telemetry.
    stamps: Vec<(&'static str, String)>,
    /// The end of the token, and of the connection.
    end: Option<Instant>,
    idle_timeout: Duration,
    methods: PendingMethods,
    /// The certificate request that this connection carries out.
    renewing: Option<Renewing<'a>>,
    keeps_session: bool,
    /// Whether there may be cloud-to-device messages that were not sent over this connection.
    check_queue: bool,
    /// The number of the last cloud-to-device message that was sent over this connection.
    last_sent: u64,
}

/// A request of the client.
pub(super) enum Request {
    Twin(TwinRequestTopic, Bytes),
    Certificate(CertificateRequest),
}

/// The answer to a request about the twin.
struct Response {
    topic: TwinResponseTopic,
    body: Vec<u8>,
}

/// Whether a client connects to a hub: its username is `{hub}/{device}/?api-version=…`, where DPS has
/// `{scope}/registrations/{registration}/api-version=…`.
pub(in crate::endpoint) fn is_for(connect: &Connect) -> bool {
    let mut parts = connect.username.as_deref().unwrap_or_default().split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (_, Some(second), Some(third)) => {
            third.starts_with('?') || !second.eq_ignore_ascii_case("registrations")
        }
        _ => false,
    }
}

impl<'a> Client<'a> {
    /// Finds hub, device and module by the username, and verifies the token in the password or the certificate.
    pub(super) async fn admit(
        gateway: &'a Gateway,
        caller: Caller<'a>,
        connect: &Connect,
    ) -> Result<FaultOutcome<Self>, ServiceError> {
        let work = Self::admit_without_faults(gateway, caller, connect);
        gateway
            .faults
            .apply(Step::HubConnect, Some(&connect.client_id), work)
            .await
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
            model_id,
            ..
        } = username;
        let name = client_id(&device_id, module_id.as_ref());
        if connect.client_id != name {
            let reason = format!(
                "the client id must be '{name}', and is '{}'",
                connect.client_id
            );
            return Err(ServiceError::invalid(reason));
        }
        let identity = Identity::device(&hub, &device_id).with_module(module_id);
        let presented = presented(connect, caller)?;
        let hubs = &gateway.instance.hubs;
        gateway
            .instance
            .throttle_hub(HubAction::Connect, &hub)
            .await?;
        let clean = connect.clean_session;
        let admitted = hubs
            .admit(&identity, &presented, model_id.clone(), clean)
            .await?;
        if let (true, Some(left)) = (clean, hubs.active_renewal(&identity)) {
            hubs.end_renewal(&identity, &left);
        }
        tracing::info!(%hub, device = name, transport = caller.transport.name(), "connected to its hub");
        Ok(Self {
            gateway,
            caller,
            stamps: stamps(&identity, &presented, admitted.generation_id, model_id),
            identity,
            name,
            session: admitted.session,
            end: admitted
                .expires_in
                .and_then(|left| Instant::now().checked_add(left)),
            idle_timeout: bounded_idle_timeout(connect.keep_alive),
            methods: PendingMethods::default(),
            renewing: None,
            keeps_session: !connect.clean_session,
            // A session that continues may have the subscription.
            check_queue: true,
            last_sent: 0,
        })
    }

    fn hubs(&self) -> &Hubs {
        &self.gateway.instance.hubs
    }

    async fn throttle(&self, action: HubAction) -> Result<(), ServiceError> {
        self.gateway
            .instance
            .throttle_hub(action, &self.identity.hub)
            .await
    }

    /// The next cloud-to-device message that was not sent over this connection, if the client has subscribed to them. Dropping
    /// the future loses nothing.
    async fn queued_message(&mut self) -> Result<Option<Message>, &'static str> {
        let Some(qos) = self.session.qos(Subscription::Messages) else {
            return Ok(None);
        };
        if !self.check_queue {
            return Ok(None);
        }
        let next = self.hubs().next_message(&self.identity, self.last_sent);
        let Some(queued) = next
            .await
            .map_err(|_| "the queue of the device cannot be read")?
        else {
            self.check_queue = false;
            return Ok(None);
        };
        self.last_sent = queued.sequence;
        let topic = DeviceboundTopic::new(self.identity.device_id.clone(), queued.properties());
        let message = Message::new(topic.to_string(), queued.body, qos);
        Ok(Some(message.with_receipt(self.last_sent)))
    }

    /// The message to the client for what the hub sends. `None` if the client has not subscribed to it.
    fn message(&mut self, sent: ToDevice) -> Option<Message> {
        match sent {
            // A device that has not subscribed reads the whole twin instead.
            ToDevice::Desired(update) => {
                let qos = self.session.qos(Subscription::Desired)?;
                let topic = DesiredTopic::new(update.version).to_string();
                let body = update.document.to_string().into_bytes();
                Some(Message::new(topic, body, qos))
            }
            ToDevice::Method(call) => {
                self.session.qos(Subscription::Methods)?;
                tracing::debug!(device = self.name, method = call.name, "a direct method");
                Some(self.methods.start(call))
            }
            ToDevice::MessageQueued => {
                self.check_queue = true;
                None
            }
        }
    }
}

impl Drop for Client<'_> {
    fn drop(&mut self) {
        if let (Some(renewing), false) = (&self.renewing, self.keeps_session) {
            renewing.forget(self.gateway, &self.identity);
        }
        tracing::info!(hub = %self.identity.hub, device = self.name, "disconnected from its hub");
    }
}

impl Session for Client<'_> {
    type Request = Request;

    fn device(&self) -> &str {
        &self.name
    }

    fn is_resumed(&self) -> bool {
        self.session.is_resumed()
    }

    fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    fn max_packet_bytes(&self) -> usize {
        let limit = self.gateway.instance.state.limits().hub_message_bytes;
        limit.saturating_add(ENVELOPE)
    }

    fn subscribe(&mut self, filter: &str, asked: QoS) -> Result<QoS, String> {
        let Some(subscription) = Subscription::of(filter, &self.identity) else {
            return Err(format!(
                "there is no topic filter '{filter}' for this device at a hub"
            ));
        };
        let granted = granted(asked);
        let limit = self.gateway.instance.state.limits().hub_subscriptions;
        if !self.session.subscribe(subscription, granted, limit) {
            return Err(format!("a connection can have {limit} subscriptions"));
        }
        match subscription {
            Subscription::Messages => self.check_queue = true,
            Subscription::Methods => self.gateway.instance.hubs.reachable(&self.identity),
            _ => {}
        }
        Ok(granted)
    }

    fn unsubscribe(&mut self, filter: &str) {
        if let Some(subscription) = Subscription::of(filter, &self.identity) {
            self.session.unsubscribe(subscription);
        }
    }

    async fn read(&mut self, publish: Publish) -> Received<Request> {
        let topic = publish.topic.as_str();
        if let Ok(topic) = topic.parse::<MethodResponseTopic>() {
            return self.method_response(&topic, &publish.payload);
        }
        match topic.parse::<EventsTopic>() {
            Ok(events)
                if events.device_id == self.identity.device_id
                    && events.module_id == self.identity.module_id =>
            {
                return self.telemetry(events.properties, &publish).await;
            }
            _ => {}
        }
        if CertificateRequest::is_for(topic) {
            return self.certificate_request(publish);
        }
        let twin = match topic.parse() {
            Ok(twin) => twin,
            Err(error) => {
                return Received::End(format!(
                    "PUBLISH to '{topic}', which is not a twin request, a response to a direct method or this device's telemetry: {error}"
                ));
            }
        };
        let checked = match &twin {
            TwinRequestTopic::Get { rid } | TwinRequestTopic::PatchReported { rid } => {
                check_rid(rid)
            }
            _ => Err("the request is not supported".to_owned()),
        };
        match checked {
            Ok(()) => Received::Request(Request::Twin(twin, publish.payload)),
            Err(reason) => Received::End(reason),
        }
    }

    async fn answer(&mut self, request: Request) -> Answer {
        let (topic, body) = match request {
            Request::Twin(topic, body) => (topic, body),
            Request::Certificate(request) => return self.certificate(request).await,
        };
        let faults = &self.gateway.faults;
        let device = Some(self.identity.device_id.as_str());
        let (rid, outcome) = match topic {
            TwinRequestTopic::Get { rid } => {
                let work = self.twin(rid.clone());
                (rid, faults.apply(Step::TwinGet, device, work).await)
            }
            TwinRequestTopic::PatchReported { rid } => {
                let work = self.report(rid.clone(), &body);
                (rid, faults.apply(Step::TwinReport, device, work).await)
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
            if let Some(message) = self.queued_message().await? {
                return Ok(message);
            }
            let answer_qos = self.session.qos(Subscription::Certificates);
            let (gateway, identity) = (self.gateway, &self.identity);
            let sent = tokio::select! {
                () = until(self.end) => return Err("the token has expired"),
                answer = certificate(&mut self.renewing, gateway, identity, answer_qos) => {
                    match answer {
                        Some(message) => return Ok(message),
                        None => continue,
                    }
                }
                sent = self.session.next() => sent,
            };
            let Some(sent) = sent else {
                return Err(
                    "the device connected again, was disabled or removed, or does not read its messages",
                );
            };
            if let Some(message) = self.message(sent) {
                return Ok(message);
            }
        }
    }

    async fn delivered(&mut self, receipt: u64) {
        if let Err(error) = self.hubs().complete(&self.identity, receipt).await {
            // The message stays in the queue, and the device receives it again.
            let device = Some(self.name.as_str());
            self.gateway
                .shared
                .refusals
                .log(self.caller, device, &error);
        }
    }
}

/// Waits for the answer to a certificate request, for ever without one or without a subscription. Dropping the future loses
/// nothing. `None` if the request has no answer any more.
async fn certificate<'a>(
    renewing: &mut Option<Renewing<'a>>,
    gateway: &'a Gateway,
    identity: &Identity,
    qos: Option<QoS>,
) -> Option<Message> {
    let Some(qos) = qos else {
        return pending().await;
    };
    if renewing.is_none() {
        *renewing = Renewing::resume(gateway, identity).await;
    }
    let Some(active) = renewing else {
        return pending().await;
    };
    let answer = active.finish(gateway, identity, qos).await;
    *renewing = None;
    answer
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
