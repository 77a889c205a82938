//! The SQL of the store, prepared once for each connection.

use tokio_postgres::{Client, Error, Statement};

use super::url::SchemaName;

/// Every statement addresses one row, or one page of rows, by the primary key.
pub(super) struct Statements {
    pub(super) get: Statement,
    /// Inserts a row unless the key exists. It waits for another transaction that inserts or deletes the key.
    pub(super) create: Statement,
    /// Inserts a row, or locks the one that exists and reports no rows.
    pub(super) create_or_lock: Statement,
    /// Replaces a value by another one.
    pub(super) replace: Statement,
    /// Writes a value to a row that is locked.
    pub(super) write: Statement,
    pub(super) delete: Statement,
    pub(super) delete_exactly: Statement,
    /// Prevents the change of a value. Others can do the same at the same time.
    pub(super) hold: Statement,
    pub(super) scan: Statement,
    pub(super) scan_after: Statement,
    pub(super) count: Statement,
    pub(super) add_to_count: Statement,
}

impl Statements {
    /// Prepares all statements in one round trip.
    pub(super) async fn prepare(client: &Client, schema: &SchemaName) -> Result<Self, Error> {
        let schema = schema.quoted();
        let prepare = async |text: &str| client.prepare(&text.replace("{schema}", &schema)).await;
        let (
            get,
            create,
            create_or_lock,
            replace,
            write,
            delete,
            delete_exactly,
            hold,
            scan,
            scan_after,
            count,
            add_to_count,
        ) = tokio::try_join!(
            prepare("SELECT value FROM {schema}.dps_record WHERE tbl = $1 AND key = $2"),
            prepare(
                "INSERT INTO {schema}.dps_record (tbl, key, value) VALUES ($1, $2, $3) \
                 ON CONFLICT (tbl, key) DO NOTHING"
            ),
            prepare(
                "INSERT INTO {schema}.dps_record AS it (tbl, key, value) VALUES ($1, $2, $3) \
                 ON CONFLICT (tbl, key) DO UPDATE SET value = it.value WHERE false"
            ),
            prepare(
                "UPDATE {schema}.dps_record SET value = $4 WHERE tbl = $1 AND key = $2 AND value = $3"
            ),
            prepare("UPDATE {schema}.dps_record SET value = $3 WHERE tbl = $1 AND key = $2"),
            prepare("DELETE FROM {schema}.dps_record WHERE tbl = $1 AND key = $2"),
            prepare("DELETE FROM {schema}.dps_record WHERE tbl = $1 AND key = $2 AND value = $3"),
            prepare(
                "SELECT 1 FROM {schema}.dps_record WHERE tbl = $1 AND key = $2 AND value = $3 FOR SHARE"
            ),
            prepare(
                "SELECT key, value FROM {schema}.dps_record WHERE tbl = $1 ORDER BY key LIMIT $2"
            ),
            prepare(
                "SELECT key, value FROM {schema}.dps_record WHERE tbl = $1 AND key > $3 \
                 ORDER BY key LIMIT $2"
            ),
            prepare("SELECT coalesce(sum(n), 0)::int8 FROM {schema}.dps_count WHERE tbl = $1"),
            prepare(
                "INSERT INTO {schema}.dps_count AS it (tbl, shard, n) VALUES ($1, $2, $3) \
                 ON CONFLICT (tbl, shard) DO UPDATE SET n = it.n + excluded.n"
            ),
        )?;
        Ok(Self {
            get,
            create,
            create_or_lock,
            replace,
            write,
            delete,
            delete_exactly,
            hold,
            scan,
            scan_after,
            count,
            add_to_count,
        })
    }
}
