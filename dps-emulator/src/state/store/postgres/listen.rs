//! Receives the messages of the emulators that share the database, on a connection of its own that is opened again when it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::super::{Notifications, Notifier, StoreError, StoreErrorKind};
use super::failure::Failure;
use super::notify::{Mode, channel};
use super::poll::Poll;
use super::pool::Target;
use super::reader::Reader;
use super::repeat::repeat;
use super::session::Link;
use crate::random::Random;

/// The time between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(500);

/// The task that receives. It ends with this value.
pub(super) struct Listener {
    pub(super) mode: Mode,
    notifier: Notifier,
    _task: AbortOnDropHandle<()>,
}

impl Listener {
    /// Messages that are sent after this are received.
    pub(super) async fn start(target: &Arc<Target>, random: &Random) -> Result<Self, StoreError> {
        let target = Arc::clone(target);
        let receiver = repeat(target.url.timeout, random, || {
            Box::pin(Receiver::open(&target))
        })
        .await?;
        let notifier = Notifier::new();
        Ok(Self {
            mode: receiver.mode,
            notifier: notifier.clone(),
            _task: AbortOnDropHandle::new(tokio::spawn(listen(target, receiver, notifier))),
        })
    }

    pub(super) fn subscribe(&self) -> Notifications {
        self.notifier.subscribe()
    }
}

async fn listen(target: Arc<Target>, mut receiver: Receiver, notifier: Notifier) {
    let limit = target.url.connect_timeout + target.url.timeout;
    loop {
        receiver.receive(&notifier, &target).await;
        tracing::warn!("the connection that receives messages from other emulators was lost");
        receiver = loop {
            // A server that accepts the connection may not answer.
            let opened = timeout(limit, Box::pin(Receiver::open(&target))).await;
            match opened.unwrap_or_else(|_| Err(Failure::unreachable(limit))) {
                Ok(receiver) => break receiver,
                Err(Failure::Again(error) | Failure::Lost(error) | Failure::Refused(error)) => {
                    tracing::debug!(
                        error = &error as &dyn std::error::Error,
                        "it is opened again"
                    );
                }
            }
            sleep(AGAIN).await;
        };
        notifier.missed();
    }
}

/// One connection that receives.
struct Receiver {
    link: Link,
    mode: Mode,
    payloads: mpsc::Receiver<String>,
    /// The messages from before, if the receiver polls. They are read before [`Notifier::missed`], so that no message is lost in between.
    seen: Vec<i64>,
}

impl Receiver {
    async fn open(target: &Target) -> Result<Self, Failure> {
        let (link, payloads) = Link::open(&target.url, &target.tls).await?;
        let listen = format!("LISTEN {}", channel(&target.url.schema));
        let mode = match link.client.batch_execute(&listen).await {
            Ok(()) => Mode::Listen,
            Err(error) => match Failure::from(error) {
                // A statement that was canceled at its time limit is not a database without LISTEN.
                Failure::Refused(error) if error.kind() != StoreErrorKind::Unavailable => {
                    Mode::Poll
                }
                failure => return Err(failure),
            },
        };
        let seen = match mode {
            Mode::Listen => Vec::new(),
            Mode::Poll => {
                let query = format!("SELECT id FROM {}", table(target));
                let rows = link.client.query_typed(&query, &[]).await?;
                let ids = rows.iter().map(|row| row.try_get::<_, i64>(0));
                ids.collect::<Result<Vec<i64>, _>>()?
            }
        };
        Ok(Self {
            link,
            mode,
            payloads,
            seen,
        })
    }

    /// Passes messages on until the connection is lost.
    async fn receive(&mut self, notifier: &Notifier, target: &Target) {
        let table = table(target);
        let seen = std::mem::take(&mut self.seen);
        let mut reader = Reader::new(&self.link, &table, target.url.timeout);
        // The outcome is always the loss of the connection.
        let _lost = match self.mode {
            Mode::Listen => reader.listen(&mut self.payloads, notifier).await,
            Mode::Poll => {
                Poll::new(target.url.timeout, seen)
                    .run(&mut reader, notifier)
                    .await
            }
        };
    }
}

/// The table of messages.
fn table(target: &Target) -> String {
    format!("{}.dps_notification", target.url.schema.quoted())
}
