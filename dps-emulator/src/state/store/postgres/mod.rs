//! The store in PostgreSQL, or in a distributed database that is compatible with it.

mod apply;
mod failure;
mod listen;
mod notify;
mod pipeline;
mod poll;
mod pool;
mod reader;
mod reads;
mod repeat;
mod schema;
mod session;
mod statements;
mod tls;
mod unverified;
mod url;

use std::fmt;

use async_trait::async_trait;

use super::{Change, Notifications, Store, StoreError, Table};
use crate::random::Random;
use apply::Apply;
use listen::Listener;
use notify::Notify;
use pool::Pool;
use reads::{Count, Get, Scan};

pub use self::url::{ParsePostgresUrlError, PostgresUrl};

/// A store in a PostgreSQL database, which several emulators can share.
///
/// A change is acknowledged after PostgreSQL has committed it. The store uses plain SQL at the isolation level READ COMMITTED with
/// row locks, and repeats a transaction that the database ends because of a conflict. Every call ends within the timeout of its
/// [`PostgresUrl`]; the number of connections is limited by it.
///
/// While the database restarts, reads wait for it, and so do writes that have not been sent yet. A write whose connection is lost
/// is an error: it is unknown whether the changes were made.
///
/// Messages between emulators use LISTEN and NOTIFY on one more connection. Where the database refuses LISTEN, and for messages of 8000
/// bytes and more, they are rows of a table, which are deleted after a minute.
///
/// PostgreSQL's index limits a key to about 2,700 bytes after compression. A longer key is an error of [`Store::apply`]. Values may
/// have up to 1 GB. The database holds the symmetric keys of enrollments in plain text.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::sync::Arc;
///
/// use dps_emulator::Emulator;
/// use dps_emulator::store::PostgresStore;
///
/// let url = "postgres://dps:secret@db.example.com/dps?sslmode=verify-full".parse()?;
/// let store = PostgresStore::connect(&url).await?;
/// let dps = Emulator::builder().store(Arc::new(store)).start().await?;
/// # drop(dps);
/// # Ok(())
/// # }
/// ```
pub struct PostgresStore {
    pool: Pool,
    listener: Listener,
    random: Random,
}

impl PostgresStore {
    /// Connects, and creates or updates the tables. Several emulators may do so at once. While the database cannot be reached, it
    /// connects again until the timeout.
    ///
    /// # Errors
    ///
    /// If the database cannot be reached within the timeout, refuses the user, does not exist or does not offer the TLS that the
    /// URL requires; if a newer release has changed its tables; if the tables do not exist and the user may not create them.
    pub async fn connect(url: &PostgresUrl) -> Result<Self, StoreError> {
        let pool = Pool::new(url).await?;
        let random = Random::default();
        pool.migrate().await?;
        let listener = Listener::start(pool.target(), &random).await?;
        Ok(Self {
            pool,
            listener,
            random,
        })
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.pool.run(&Get { table, key }).await
    }

    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError> {
        match Apply::new(changes, self.random.number()) {
            Some(apply) => self.pool.run(&apply).await,
            None => Ok(false),
        }
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let scan = Scan {
            table,
            after,
            limit,
        };
        self.pool.run(&scan).await
    }

    async fn count(&self, table: Table) -> Result<u64, StoreError> {
        self.pool.run(&Count { table }).await
    }

    async fn notify(&self, message: &str) -> Result<(), StoreError> {
        let notify = Notify {
            message,
            mode: self.listener.mode,
            schema: &self.pool.target().url.schema,
        };
        self.pool.run(&notify).await
    }

    fn notifications(&self) -> Option<Notifications> {
        Some(self.listener.subscribe())
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}
