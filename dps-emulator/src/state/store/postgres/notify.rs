//! Sends messages to the emulators that share the database: with NOTIFY, or by a table where the database does not have it.

use tokio_postgres::types::Type;

use super::failure::Failure;
use super::pool::Operation;
use super::session::Session;
use super::url::SchemaName;

/// The longest message for NOTIFY in bytes: PostgreSQL accepts less than 8000, and the first one is a mark.
const LONGEST: usize = 7998;

/// Before a message.
pub(super) const MESSAGE: char = '=';
/// Before the id of a row with a message.
pub(super) const ROW: char = '#';

/// How messages reach the other emulators. It depends on the database, so it is the same for all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// LISTEN and NOTIFY. Long messages are in the table, and NOTIFY sends the id of the row.
    Listen,
    /// All messages are in the table, which the receivers poll.
    Poll,
}

/// The channel of NOTIFY for a schema. It needs no quotes.
pub(super) fn channel(schema: &SchemaName) -> String {
    format!("dps_{schema}")
}

pub(super) struct Notify<'a> {
    pub(super) message: &'a str,
    pub(super) mode: Mode,
    pub(super) schema: &'a SchemaName,
}

impl Operation for Notify<'_> {
    type Output = ();
    const CHANGES: bool = true;

    async fn run(&self, session: &Session) -> Result<(), Failure> {
        let schema = self.schema.quoted();
        let channel = channel(self.schema);
        let insert = format!("INSERT INTO {schema}.dps_notification (payload) VALUES ($1)");
        let statement = match self.mode {
            Mode::Poll => insert,
            Mode::Listen if self.message.len() > LONGEST => format!(
                "WITH it AS ({insert} RETURNING id) SELECT pg_notify('{channel}', '{ROW}' || id) FROM it"
            ),
            Mode::Listen => format!("SELECT pg_notify('{channel}', '{MESSAGE}' || $1)"),
        };
        let parameters = [(&self.message as _, Type::TEXT)];
        session.client.query_typed(&statement, &parameters).await?;
        Ok(())
    }
}
