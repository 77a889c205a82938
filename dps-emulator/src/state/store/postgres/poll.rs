//! Receives messages by polling the table, for databases without LISTEN.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::types::Type;

use super::super::Notifier;
use super::reader::{Lost, Reader};

const INTERVAL: Duration = Duration::from_millis(200);
/// The number of polls between two deletions of old messages.
const CLEAN: u32 = 75;

/// The messages that have been received.
///
/// Ids are assigned before rows become visible, so a row can appear after one with a greater id. Such a row is expected for the time
/// that a statement may take.
pub(super) struct Poll {
    /// All messages up to this id have been received.
    low: i64,
    /// The received messages with a greater id.
    seen: HashMap<i64, Instant>,
    window: Duration,
}

impl Poll {
    /// `seen` are the ids of the messages from before, which are not passed on.
    pub(super) fn new(statement_limit: Duration, seen: Vec<i64>) -> Self {
        let now = Instant::now();
        Self {
            low: i64::MIN,
            seen: seen.into_iter().map(|id| (id, now)).collect(),
            window: statement_limit * 2,
        }
    }

    /// Passes messages on until the connection is lost.
    pub(super) async fn run(
        mut self,
        reader: &mut Reader<'_>,
        notifier: &Notifier,
    ) -> Result<(), Lost> {
        let mut poll = interval(INTERVAL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for number in 1_u32.. {
            poll.tick().await;
            self.receive(reader, notifier).await?;
            if number % CLEAN == 0 {
                reader.clean().await?;
            }
        }
        Ok(())
    }

    async fn receive(&mut self, reader: &Reader<'_>, notifier: &Notifier) -> Result<(), Lost> {
        self.forget();
        let seen: Vec<i64> = self.seen.keys().copied().collect();
        let rows = reader
            .query(
                "SELECT id, payload FROM {table} WHERE id > $1 AND id <> ALL ($2) ORDER BY id LIMIT 1000",
                &[(&self.low, Type::INT8), (&seen, Type::INT8_ARRAY)],
            )
            .await?;
        for row in rows {
            let (id, message): (i64, String) = match (row.try_get(0), row.try_get(1)) {
                (Ok(id), Ok(message)) => (id, message),
                _ => return Err(Lost),
            };
            notifier.send(message);
            self.seen.insert(id, Instant::now());
        }
        Ok(())
    }

    /// Forgets the ids below which no row can appear any more.
    fn forget(&mut self) {
        let (low, window) = (&mut self.low, self.window);
        self.seen.retain(|id, received| {
            let is_recent = received.elapsed() < window;
            if !is_recent {
                *low = (*low).max(*id);
            }
            is_recent
        });
    }
}
