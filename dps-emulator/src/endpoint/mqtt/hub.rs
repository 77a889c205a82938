//! A device at its hub: it reads and patches its twin, hears of changes, and sends telemetry.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`.

use std::future::pending;
use std::time::Duration;

use dps_mqtt::{Connect, Publish, QoS};
use dps_types::protocol::hub::{
    DESIRED_FILTER, DesiredTopic, TWIN_RESPONSE_FILTER, TwinRequestTopic, TwinResponseTopic,
    Username,
};
use dps_types::{DeviceId, HubHostname};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::super::body::document;
use super::super::{Gateway, Peer};
use super::session::{Answer, Message, Session, granted};
use super::{patience, presented};
use crate::hub::{DeviceSession, Hubs};
use crate::service_error::ServiceError;

/// Methods, which nobody calls here.
const METHODS_FILTER: &str = "$iothub/methods/POST/#";

/// A hub waits no longer for a silent client: 29.45 minutes.
const PATIENCE: Duration = Duration::from_secs(1767);

/// A device that was let in.
pub(super) struct Client<'a> {
    hubs: &'a Hubs,
    hub: HubHostname,
    device_id: DeviceId,
    session: DeviceSession,
    /// When its token ends, and the connection with it.
    end: Option<Instant>,
    patience: Duration,
    responses: Option<QoS>,
    desired: Option<QoS>,
}

/// Whether a client wants to a hub: `{hub}/{device}/?api-version=…`, where DPS has
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
    /// Finds the hub and the device by the username, and verifies the token in the password or the certificate.
    pub(super) async fn admit(
        gateway: &'a Gateway,
        peer: &Peer,
        connect: &Connect,
    ) -> Result<Self, ServiceError> {
        let username: Username = connect.username.as_deref().unwrap_or_default().parse()?;
        let Username { hub, device_id, .. } = username;
        if connect.client_id != device_id.as_str() {
            return Err(ServiceError::invalid("the client id is not the device id"));
        }
        let hubs = &*gateway.hubs;
        let presented = presented(connect, peer)?;
        let admitted = hubs.admit(&hub, &device_id, &presented).await?;
        Ok(Self {
            hubs,
            hub,
            device_id,
            session: admitted.session,
            end: admitted
                .expires_in
                .and_then(|left| Instant::now().checked_add(left)),
            patience: patience_with(connect.keep_alive),
            responses: None,
            desired: None,
        })
    }

    /// The subscription that a filter stands for, if it is one of a hub's. What a hub would send by the others never comes.
    fn subscription(&mut self, filter: &str) -> Option<Option<&mut Option<QoS>>> {
        match filter {
            TWIN_RESPONSE_FILTER => Some(Some(&mut self.responses)),
            DESIRED_FILTER => Some(Some(&mut self.desired)),
            METHODS_FILTER => Some(None),
            filter => {
                let messages = format!("devices/{}/messages/devicebound/#", self.device_id);
                (filter == messages).then_some(None)
            }
        }
    }

    async fn report(&self, body: &[u8]) -> Result<u64, ServiceError> {
        let patch: Map<String, Value> = document(body)?;
        self.hubs.report(&self.hub, &self.device_id, &patch).await
    }

    /// For a client that listens.
    fn response(&self, topic: TwinResponseTopic, body: Vec<u8>) -> Answer {
        match self.responses {
            Some(qos) => Answer::Message(Message {
                topic: topic.to_string(),
                body,
                qos,
            }),
            None => Answer::Nothing,
        }
    }

    fn refused(&self, rid: String, refusal: &ServiceError) -> Answer {
        match refusal.status() {
            // The device is none of the hub's any more.
            404 => Answer::End,
            status => {
                tracing::debug!(device_id = %self.device_id, reason = refusal.reason(), "refused");
                self.response(TwinResponseTopic::new(status, rid), Vec::new())
            }
        }
    }

    fn is_telemetry(&self, topic: &str) -> bool {
        let events = format!("devices/{}/messages/events", self.device_id);
        let below = topic.strip_prefix(events.as_str());
        below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
    }
}

impl Session for Client<'_> {
    fn patience(&self) -> Duration {
        self.patience
    }

    fn subscribe(&mut self, filter: &str, asked: QoS) -> Option<QoS> {
        let granted = granted(asked);
        if let Some(slot) = self.subscription(filter)? {
            *slot = Some(granted);
        }
        Some(granted)
    }

    fn unsubscribe(&mut self, filter: &str) {
        if let Some(Some(slot)) = self.subscription(filter) {
            *slot = None;
        }
    }

    async fn receive(&mut self, publish: &Publish) -> Answer {
        let topic = publish.topic.as_str();
        if self.is_telemetry(topic) {
            self.hubs.count_telemetry(&self.hub, &self.device_id);
            return Answer::Nothing;
        }
        match topic.parse() {
            Ok(TwinRequestTopic::Get { rid }) => {
                let twin = self.hubs.twin_for_device(&self.hub, &self.device_id).await;
                match twin {
                    Ok(twin) => {
                        let body = twin.to_string().into_bytes();
                        self.response(TwinResponseTopic::new(200, rid), body)
                    }
                    Err(refusal) => self.refused(rid, &refusal),
                }
            }
            Ok(TwinRequestTopic::PatchReported { rid }) => {
                match self.report(&publish.payload).await {
                    Ok(version) => {
                        let topic = TwinResponseTopic::new(204, rid).with_version(version);
                        self.response(topic, Vec::new())
                    }
                    Err(refusal) => self.refused(rid, &refusal),
                }
            }
            _ => Answer::End,
        }
    }

    async fn next(&mut self) -> Option<Message> {
        loop {
            let update = tokio::select! {
                () = until(self.end) => return None,
                update = self.session.next() => update?,
            };
            // A device that does not listen reads the twin when it wants to know.
            if let Some(qos) = self.desired {
                return Some(Message {
                    topic: DesiredTopic::new(update.version).to_string(),
                    body: update.document.to_string().into_bytes(),
                    qos,
                });
            }
        }
    }
}

/// A client without a keep-alive is waited for no longer than the most patient one.
fn patience_with(keep_alive: u16) -> Duration {
    patience(keep_alive).map_or(PATIENCE, |patience| patience.min(PATIENCE))
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
    fn a_hub_is_patient_for_29_minutes_and_27_seconds_at_most() {
        for (keep_alive, milliseconds) in [
            (1, 1_500),
            (60, 90_000),
            (1177, 1_765_500),
            (1178, 1_767_000),
            (u16::MAX, 1_767_000),
            (0, 1_767_000),
        ] {
            let patience = patience_with(keep_alive);
            assert_eq!(
                patience,
                Duration::from_millis(milliseconds),
                "{keep_alive}"
            );
        }
    }

    #[test]
    fn the_username_tells_a_hub_from_dps() {
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
