//! The connections of the store, and the operations that run on them.

use std::fmt;
use std::sync::Arc;

use deadpool::managed::{self, Metrics, PoolError, RecycleError, RecycleResult};

use super::super::StoreError;
use super::failure::Failure;
use super::repeat::repeat;
use super::schema;
use super::session::{Link, Session};
use super::tls::Connector;
use super::url::PostgresUrl;
use crate::random::Random;

/// An operation of the store on one connection.
pub(super) trait Operation: Sync {
    type Output: Send;
    /// Whether it changes anything. An operation that only reads is repeated when its connection is lost.
    const CHANGES: bool;

    fn run(&self, session: &Session) -> impl Future<Output = Result<Self::Output, Failure>> + Send;
}

/// A limited number of connections, which are opened when they are needed.
pub(super) struct Pool {
    sessions: managed::Pool<Manager>,
    target: Arc<Target>,
    random: Random,
}

/// The database to connect to.
pub(super) struct Target {
    pub(super) url: PostgresUrl,
    pub(super) tls: Connector,
}

impl Pool {
    pub(super) async fn new(url: &PostgresUrl) -> Result<Self, StoreError> {
        let target = Arc::new(Target {
            url: url.clone(),
            tls: Connector::new(url).await?,
        });
        let sessions = managed::Pool::builder(Manager(Arc::clone(&target)))
            .max_size(url.max_connections)
            .build()
            .map_err(|error| StoreError::with_source("the pool cannot be built", error))?;
        Ok(Self {
            sessions,
            target,
            random: Random::default(),
        })
    }

    pub(super) fn target(&self) -> &Arc<Target> {
        &self.target
    }

    /// Creates or updates the tables.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        let Target { url, tls } = &*self.target;
        let migrate = async || {
            let (link, _) = Box::pin(Link::open(url, tls)).await?;
            Box::pin(schema::migrate(&link.client, &url.schema)).await
        };
        repeat(url.timeout, &self.random, migrate).await
    }

    /// Runs an operation until it succeeds or its time ends.
    pub(super) async fn run<O: Operation>(&self, operation: &O) -> Result<O::Output, StoreError> {
        let limit = self.target.url.timeout;
        repeat(limit, &self.random, || self.attempt(operation)).await
    }

    async fn attempt<O: Operation>(&self, operation: &O) -> Result<O::Output, Failure> {
        let session = self.sessions.get().await.map_err(not_begun)?;
        let mut use_of = Use {
            session: &session,
            has_ended: false,
        };
        let done = operation.run(&session).await;
        use_of.has_ended = !matches!(done, Err(Failure::Lost(_)));
        match done {
            Err(Failure::Lost(error)) if O::CHANGES => Err(Failure::Refused(error)),
            done => done,
        }
    }
}

/// The use of a connection by one operation. A connection that a caller has abandoned in the middle is closed, and PostgreSQL rolls
/// its transaction back.
struct Use<'s> {
    session: &'s Session,
    has_ended: bool,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.session.close();
        }
    }
}

/// The failure of the pool to provide a connection. Nothing of the operation has been sent.
fn not_begun(error: PoolError<Failure>) -> Failure {
    match error {
        PoolError::Backend(Failure::Lost(error)) => Failure::Again(error),
        PoolError::Backend(failure) => failure,
        _ => Failure::Refused(StoreError::new(
            "the pool of connections to PostgreSQL is closed",
        )),
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.sessions.status();
        f.debug_struct("Pool")
            .field("url", &self.target.url)
            .field("connections", &status.size)
            .finish_non_exhaustive()
    }
}

struct Manager(Arc<Target>);

impl managed::Manager for Manager {
    type Type = Session;
    type Error = Failure;

    async fn create(&self) -> Result<Session, Failure> {
        // Boxed: it is large, and most calls have a connection already.
        Box::pin(Session::open(&self.0.url, &self.0.tls)).await
    }

    async fn recycle(&self, session: &mut Session, _: &Metrics) -> RecycleResult<Failure> {
        match session.is_closed() {
            true => Err(RecycleError::message("the connection is closed")),
            false => Ok(()),
        }
    }
}
