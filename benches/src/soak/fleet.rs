//! The devices: they register, connect, and send numbered messages.

use std::collections::HashMap;
use std::error::Error;
use std::time::Duration;

use dps_device::{
    ConnectOptions, Host, Http, HubEndpoint, Message, Mqtt, ProvisioningClient,
    SymmetricKeyAttestation,
};
use dps_types::SymmetricKey;
use dps_types::enrollment::EnrollmentGroup;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::hub::Hub;
use super::{Sent, Soak};

/// The most registrations at the same time.
const REGISTRATIONS: usize = 64;
/// The time that a device has at the end to send what is in its queue.
const CLOSE: Duration = Duration::from_secs(60);

/// Devices that have registered.
pub(super) struct Fleet(Vec<(String, HubEndpoint)>);

impl Fleet {
    /// Registers the devices. They connect to their hub at this port.
    pub(super) async fn register(
        soak: &Soak,
        hub: &Hub,
        port: u16,
    ) -> Result<Self, Box<dyn Error>> {
        let key = SymmetricKey::generate();
        let group = EnrollmentGroup::from_keys("soak".parse()?, &key, &SymmetricKey::generate());
        hub.service()?.enrollment_groups().create(&group).await?;
        let registering = (0..soak.devices).map(|number| {
            let name = format!("soak-{number}");
            let key = &key;
            async move {
                let proof = SymmetricKeyAttestation::from_group(name.parse()?, key);
                let http = Http::default().with_port(hub.https_port());
                let client = ProvisioningClient::new(hub.id_scope().clone(), proof, http)
                    .with_host(Host::LOCALHOST)
                    .with_roots(hub.roots()?);
                let assignment = client.register().await?;
                let endpoint = client
                    .hub(&assignment)
                    .with_host(Host::LOCALHOST)
                    .with_transport(Mqtt::default().with_port(port))
                    .with_token_lifetime(soak.token_lifetime);
                Ok::<_, Box<dyn Error>>((name, endpoint))
            }
        });
        let registered: Vec<_> = futures_util::stream::iter(registering)
            .buffer_unordered(REGISTRATIONS)
            .collect()
            .await;
        Ok(Self(registered.into_iter().collect::<Result<_, _>>()?))
    }

    /// Runs all devices. Returns what each has sent.
    pub(super) async fn start(self, soak: &Soak) -> HashMap<String, Sent> {
        let end = Instant::now() + soak.duration;
        let count = u32::try_from(self.0.len().max(1)).unwrap_or(u32::MAX);
        let mut running = JoinSet::new();
        for (number, (name, endpoint)) in (0..).zip(self.0) {
            // The devices send one after the other, not all at once.
            let first = Instant::now() + soak.interval * number / count;
            let interval = soak.interval;
            running.spawn(async move { (name, device(&endpoint, first, interval, end).await) });
        }
        running.join_all().await.into_iter().collect()
    }
}

/// Sends a message in each interval until the end.
async fn device(endpoint: &HubEndpoint, first: Instant, interval: Duration, end: Instant) -> Sent {
    let options = ConnectOptions::new()
        .without_twin_events()
        .without_messages()
        .without_methods();
    let (handle, mut events) = endpoint.connect_with(options);
    let mut driving = JoinSet::new();
    driving.spawn(async move { while events.next().await.is_some() {} });
    let mut tick = interval_at(first, interval);
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sent = Sent::default();
    let mut deliveries = FuturesUnordered::new();
    loop {
        tokio::select! {
                   () = sleep_until(end) => break,
                   _ = tick.tick() => {
                       let number = sent.enqueued;
                       let body = format!("{{\"n\":{number},\"text\":\"{:0>100}\"}}", number);
                       let message = Message::new(body).with_message_id(number.to_string());
                       if let Ok(delivery) = handle.enqueue(message).await {
                           sent.enqueued += 1;
                           deliveries.push(async move { (number, delivery.await) });
                       }
                   }
                   Some((number, outcome)) = deliveries.next() => {
                       if outcome.is_ok() {
        sent.accepted.insert(number);
        }
                   }
               }
    }
    handle.close(CLOSE).await;
    while let Some((number, outcome)) = deliveries.next().await {
        if outcome.is_ok() {
            sent.accepted.insert(number);
        }
    }
    sent
}
