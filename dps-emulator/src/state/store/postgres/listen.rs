//! Receives the messages of the emulators that share the database, on a connection of its own that is opened again when it is lost.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};
use tokio_util::task::AbortOnDropHandle;

use super::super::{Notifications, Notifier, StoreError};
use super::failure::Failure;
use super::notify::{MESSAGE, Mode, ROW, channel};
use super::poll::Poll;
use super::pool::Target;
use super::repeat::repeat;
use super::session::Link;
use crate::random::Random;

/// The time between two attempts to connect.
const AGAIN: Duration = Duration::from_millis(500);
/// The time between two deletions of old messages. They also show whether the connection still works.
const CLEAN: Duration = Duration::from_secs(15);

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
        let ear = repeat(target.url.timeout, random, || Box::pin(Ear::open(&target))).await?;
        let notifier = Notifier::new();
        Ok(Self {
            mode: ear.mode,
            notifier: notifier.clone(),
            _task: AbortOnDropHandle::new(tokio::spawn(listen(target, ear, notifier))),
        })
    }

    pub(super) fn subscribe(&self) -> Notifications {
        self.notifier.subscribe()
    }
}

async fn listen(target: Arc<Target>, mut ear: Ear, notifier: Notifier) {
    loop {
        ear.receive(&notifier, &target).await;
        tracing::warn!("the connection that receives messages from other emulators was lost");
        ear = loop {
            match Box::pin(Ear::open(&target)).await {
                Ok(ear) => break ear,
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
struct Ear {
    link: Link,
    mode: Mode,
    payloads: mpsc::Receiver<String>,
}

impl Ear {
    async fn open(target: &Target) -> Result<Self, Failure> {
        let (link, payloads) = Link::open(&target.url, &target.tls).await?;
        let listen = format!("LISTEN {}", channel(&target.url.schema));
        let mode = match link.client.batch_execute(&listen).await {
            Ok(()) => Mode::Listen,
            Err(error) => match Failure::from(error) {
                Failure::Refused(_) => Mode::Poll,
                failure => return Err(failure),
            },
        };
        Ok(Self {
            link,
            mode,
            payloads,
        })
    }

    /// Passes messages on until the connection is lost.
    async fn receive(&mut self, notifier: &Notifier, target: &Target) {
        let table = format!("{}.dps_notification", target.url.schema.quoted());
        let mut reader = Reader {
            link: &self.link,
            table: &table,
            limit: target.url.timeout,
        };
        // The outcome is always the loss of the connection.
        let _lost = match self.mode {
            Mode::Listen => reader.listen(&mut self.payloads, notifier).await,
            Mode::Poll => {
                Poll::new(target.url.timeout)
                    .run(&mut reader, notifier)
                    .await
            }
        };
    }
}

/// Reads the table of messages.
pub(super) struct Reader<'e> {
    link: &'e Link,
    table: &'e str,
    limit: Duration,
}

/// The connection was lost.
pub(super) struct Lost;

impl Reader<'_> {
    async fn listen(
        &mut self,
        payloads: &mut mpsc::Receiver<String>,
        notifier: &Notifier,
    ) -> Result<(), Lost> {
        let mut clean = interval(CLEAN);
        clean.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                payload = payloads.recv() => {
                    let payload = payload.ok_or(Lost)?;
                    if let Some(message) = payload.strip_prefix(MESSAGE) {
                        notifier.send(message);
                    } else if let Some(id) = payload.strip_prefix(ROW) {
                        self.pass_row(id, notifier).await?;
                    }
                }
                _ = clean.tick() => self.clean().await?,
            }
        }
    }

    /// Passes a long message on.
    async fn pass_row(&self, id: &str, notifier: &Notifier) -> Result<(), Lost> {
        let Ok(id) = id.parse::<i64>() else {
            return Ok(());
        };
        let rows = self
            .query(
                "SELECT payload FROM {table} WHERE id = $1",
                &[(&id, Type::INT8)],
            )
            .await?;
        match rows
            .first()
            .and_then(|row| row.try_get::<_, String>(0).ok())
        {
            Some(message) => notifier.send(message),
            None => notifier.missed(),
        }
        Ok(())
    }

    /// Deletes the messages that every receiver has read.
    pub(super) async fn clean(&self) -> Result<(), Lost> {
        let delete = "DELETE FROM {table} WHERE created < now() - interval '1 minute'";
        self.query(delete, &[]).await.map(drop)
    }

    pub(super) async fn query(
        &self,
        statement: &str,
        parameters: &[(&(dyn ToSql + Sync), Type)],
    ) -> Result<Vec<Row>, Lost> {
        let statement = statement.replace("{table}", self.table);
        let query = self.link.client.query_typed(&statement, parameters);
        match timeout(self.limit, query).await {
            Ok(Ok(rows)) => Ok(rows),
            Ok(Err(_)) | Err(_) => Err(Lost),
        }
    }
}
