//! The operations that only read. Each is one statement, so it sees one state of the database, in one round trip.

use super::super::{StoreError, Table};
use super::failure::Failure;
use super::pool::Operation;
use super::session::Session;

pub(super) struct Get<'a> {
    pub(super) table: Table,
    pub(super) key: &'a str,
}

impl Operation for Get<'_> {
    type Output = Option<Vec<u8>>;
    const CHANGES: bool = false;

    async fn run(&self, session: &Session) -> Result<Self::Output, Failure> {
        let (table, key) = (self.table.name(), self.key.as_bytes());
        let row = session
            .client
            .query_opt(&session.statements.get, &[&table, &key])
            .await?;
        Ok(row.map(|row| row.try_get(0)).transpose()?)
    }
}

pub(super) struct Scan<'a> {
    pub(super) table: Table,
    pub(super) after: Option<&'a str>,
    pub(super) limit: usize,
}

impl Operation for Scan<'_> {
    type Output = Vec<(String, Vec<u8>)>;
    const CHANGES: bool = false;

    async fn run(&self, session: &Session) -> Result<Self::Output, Failure> {
        let Session {
            client, statements, ..
        } = session;
        let table = self.table.name();
        let limit = i64::try_from(self.limit).unwrap_or(i64::MAX);
        let rows = match self.after {
            None => client.query(&statements.scan, &[&table, &limit]).await?,
            Some(after) => {
                let after = after.as_bytes();
                client
                    .query(&statements.scan_after, &[&table, &limit, &after])
                    .await?
            }
        };
        let entries = rows.iter().map(|row| {
            let key = String::from_utf8(row.try_get(0)?).map_err(|error| {
                Failure::Refused(StoreError::with_source(
                    format!("a key in the table {table} is not UTF-8"),
                    error.utf8_error(),
                ))
            })?;
            Ok((key, row.try_get(1)?))
        });
        entries.collect()
    }
}

pub(super) struct Count {
    pub(super) table: Table,
}

impl Operation for Count {
    type Output = u64;
    const CHANGES: bool = false;

    async fn run(&self, session: &Session) -> Result<u64, Failure> {
        let row = session
            .client
            .query_one(&session.statements.count, &[&self.table.name()])
            .await?;
        Ok(u64::try_from(row.try_get::<_, i64>(0)?).unwrap_or(0))
    }
}
