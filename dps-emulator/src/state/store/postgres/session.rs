//! One connection to the database, with its settings and prepared statements.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_postgres::types::ToSql;
use tokio_postgres::{AsyncMessage, Client, Connection, Error, Statement};
use tokio_util::task::AbortOnDropHandle;

use super::failure::Failure;
use super::pipeline::Request;
use super::statements::Statements;
use super::tls::Connector;
use super::url::PostgresUrl;

/// The number of notifications that may wait for the reader of a connection.
const WAITING: usize = 4096;

/// A connection without statements. Its task ends with it.
pub(super) struct Link {
    pub(super) client: Client,
    task: AbortOnDropHandle<()>,
}

/// A connection that can run every operation of the store.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) statements: Statements,
    task: AbortOnDropHandle<()>,
    /// The task ends some time after it was aborted.
    is_closed: AtomicBool,
}

impl Link {
    /// Connects. Returns the payloads of notifications as well.
    pub(super) async fn open(
        url: &PostgresUrl,
        tls: &Connector,
    ) -> Result<(Self, mpsc::Receiver<String>), Failure> {
        let open = url.config.connect(tls.clone());
        let Ok(opened) = timeout(url.connect_timeout, open).await else {
            return Err(Failure::unreachable(url.connect_timeout));
        };
        let (client, connection) = opened.map_err(Failure::of_connecting)?;
        let (payloads, received) = mpsc::channel(WAITING);
        let task = tokio::spawn(drive(connection, payloads));
        let link = Self {
            client,
            task: AbortOnDropHandle::new(task),
        };
        link.settle(url.timeout).await?;
        Ok((link, received))
    }

    /// Settings of the connection. PostgreSQL ends a statement, and the transaction of a client that has stopped, in the time in
    /// which the caller gives up.
    async fn settle(&self, timeout: Duration) -> Result<(), Failure> {
        let limit = timeout.as_millis();
        let limits = format!(
            "SET statement_timeout = {limit}; SET idle_in_transaction_session_timeout = {limit}"
        );
        self.client.batch_execute(&limits).await?;
        // Each statement has an index in the right order, also while the statistics of a table that grows quickly do not show it.
        // Databases other than PostgreSQL may not have the settings.
        let planner = "SET enable_seqscan = off; SET enable_bitmapscan = off";
        match self.client.batch_execute(planner).await {
            Err(error) if error.as_db_error().is_none() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Moves bytes until the connection ends. It ends as well if the reader of notifications is too slow, which then reports that it may
/// have missed some.
async fn drive<S, T>(connection: Connection<S, T>, payloads: mpsc::Sender<String>)
where
    S: AsyncRead + AsyncWrite + Unpin,
    T: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = pin!(connection);
    loop {
        match poll_fn(|context| connection.poll_message(context)).await {
            Some(Ok(AsyncMessage::Notification(notification))) => {
                let passed = payloads.try_send(notification.payload().to_owned());
                if let Err(mpsc::error::TrySendError::Full(_)) = passed {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::debug!(error, "a connection to PostgreSQL ended");
                return;
            }
            None => return,
        }
    }
}

impl Session {
    pub(super) async fn open(url: &PostgresUrl, tls: &Connector) -> Result<Self, Failure> {
        let (Link { client, task }, _) = Link::open(url, tls).await?;
        let statements = Statements::prepare(&client, &url.schema).await?;
        Ok(Self {
            client,
            statements,
            task,
            is_closed: AtomicBool::new(false),
        })
    }

    /// Closes the connection at once.
    pub(super) fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.task.abort();
    }

    /// Whether the connection was closed, by this side or the other one.
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst) || self.client.is_closed()
    }

    /// A statement on one key, with values.
    pub(super) fn on_key<'s, const N: usize>(
        &'s self,
        statement: &'s Statement,
        table: &'static str,
        key: &'s [u8],
        values: [&'s [u8]; N],
    ) -> Request<'s> {
        Box::pin(async move {
            let place: [&(dyn ToSql + Sync); 2] = [&table, &key];
            let values = values.iter().map(|value| value as &(dyn ToSql + Sync));
            let parameters: Vec<_> = place.into_iter().chain(values).collect();
            self.client.execute(statement, &parameters).await
        })
    }

    /// The statement that changes the number of keys in a table.
    pub(super) fn count(&self, table: &'static str, shard: i16, change: i64) -> Request<'_> {
        let statement = &self.statements.add_to_count;
        Box::pin(async move {
            let parameters: [&(dyn ToSql + Sync); 3] = [&table, &shard, &change];
            self.client.execute(statement, &parameters).await
        })
    }

    /// A statement without parameters.
    pub(super) fn command<'s>(&'s self, command: &'static str) -> Request<'s> {
        Box::pin(async move { self.client.batch_execute(command).await.map(|()| 0) })
    }

    /// Ends a transaction that has failed, if the connection still exists.
    pub(super) async fn roll_back(&self, error: &Error) {
        if error.as_db_error().is_some() {
            let _closed = self.client.batch_execute("ROLLBACK").await;
        }
    }
}
