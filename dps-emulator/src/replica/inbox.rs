//! Receives the messages of the other replicas.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::message::Envelope;
use crate::hub::Hubs;
use crate::instances::Instances;
use crate::state::store::{Notification, Notifications};

/// Handles messages until the emulator stops.
pub(crate) async fn receive(
    mut notifications: Notifications,
    instances: Arc<Instances>,
    stop: CancellationToken,
) {
    let mut answers = JoinSet::new();
    loop {
        let notification = tokio::select! {
            () = stop.cancelled() => return,
            Some(_) = answers.join_next() => continue,
            notification = notifications.next() => notification,
        };
        match notification {
            Some(Notification::Message(text)) => {
                let Some(envelope) = Envelope::read(&text) else {
                    continue;
                };
                for hubs in concerned(&instances, envelope.message.device()) {
                    if let Some(answer) = hubs.handle(envelope.clone()) {
                        answers.spawn(async move { hubs.answer(answer).await });
                    }
                }
            }
            Some(Notification::Missed) => {
                for hubs in concerned(&instances, None) {
                    hubs.missed();
                }
            }
            None => return,
        }
    }
}

/// The hubs that a message is about: those of the instance that has linked the device's hub, or all.
fn concerned(instances: &Instances, device: Option<&str>) -> Vec<Arc<Hubs>> {
    let hub = device.map(|key| key.split('/').next().unwrap_or_default());
    let all = instances.in_memory().into_iter();
    let hubs = all.map(|gateway| Arc::clone(&gateway.instance.hubs));
    hubs.filter(|hubs| hub.is_none_or(|name| hubs.linked(name).is_some()))
        .collect()
}
