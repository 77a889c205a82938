//! Reads the messages of other emulators on a connection: by LISTEN, and from their table.

use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_postgres::Row;
use tokio_postgres::types::{ToSql, Type};

use super::super::Notifier;
use super::notify::{MESSAGE, ROW};
use super::session::Link;

/// The time between two deletions of old messages. They also show whether the connection still works.
const CLEAN: Duration = Duration::from_secs(15);

/// Reads the table of messages.
pub(super) struct Reader<'e> {
    link: &'e Link,
    table: &'e str,
    limit: Duration,
}

/// The connection was lost.
pub(super) struct Lost;

impl<'e> Reader<'e> {
    pub(super) fn new(link: &'e Link, table: &'e str, limit: Duration) -> Self {
        Self { link, table, limit }
    }

    /// Passes messages on until the connection is lost.
    pub(super) async fn listen(
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
            Ok(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "the messages of other emulators cannot be read");
                Err(Lost)
            }
            Err(_) => Err(Lost),
        }
    }
}
