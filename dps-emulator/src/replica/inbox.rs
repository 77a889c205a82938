//! Receives the messages of the other replicas.

use std::sync::Arc;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::message::Envelope;
use crate::hub::Hubs;
use crate::state::store::{Notification, Notifications};

/// Handles messages until the emulator stops.
pub(crate) async fn receive(
    mut notifications: Notifications,
    hubs: Arc<Hubs>,
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
                let answer = Envelope::read(&text).and_then(|envelope| hubs.handle(envelope));
                if let Some(answer) = answer {
                    let hubs = Arc::clone(&hubs);
                    answers.spawn(async move { hubs.answer(answer).await });
                }
            }
            Some(Notification::Missed) => hubs.missed(),
            None => return,
        }
    }
}
