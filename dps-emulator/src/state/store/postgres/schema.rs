//! The tables of the store, by version. A release with a new version adds its statements and updates the tables when it starts.

use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::super::{StoreError, StoreErrorKind};
use super::failure::Failure;
use super::url::SchemaName;

/// The statements of each version, the first one first. A version that has been released never changes.
const VERSIONS: [&str; 1] = [VERSION_1];

/// `dps_record` holds every value. `dps_count` has several rows for each table of the store; their sum is its number of keys.
/// `dps_notification` holds messages from one emulator to the others.
const VERSION_1: &str = r#"
CREATE TABLE {schema}.dps_record (
    tbl text COLLATE "C" NOT NULL,
    key bytea NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (tbl, key)
);
CREATE TABLE {schema}.dps_count (
    tbl text COLLATE "C" NOT NULL,
    shard smallint NOT NULL,
    n bigint NOT NULL,
    PRIMARY KEY (tbl, shard)
);
CREATE TABLE {schema}.dps_notification (
    id bigserial PRIMARY KEY,
    created timestamptz NOT NULL DEFAULT now(),
    payload text NOT NULL
);
"#;

const NEWEST: i64 = VERSIONS.len() as i64;

/// Creates the tables, or updates them to the newest version. Does nothing if they have it.
pub(super) async fn migrate(client: &Client, schema: &SchemaName) -> Result<(), Failure> {
    if version(client, schema).await? == Some(NEWEST) {
        return Ok(());
    }
    match update(client, schema).await {
        // Another emulator has created the same schema or table in the meantime.
        Err(error) if error.code().is_some_and(is_collision) => Err(Failure::Again(
            StoreError::with_source("another emulator creates the tables", error),
        )),
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => {
            let message = format!(
                "the tables in the schema {schema} must be created or updated, and the user may not do so"
            );
            let error = StoreError::with_source(message, error);
            Err(Failure::Refused(error.with_kind(StoreErrorKind::Denied)))
        }
        Err(error) => Err(error.into()),
        // The version that is found now may be newer.
        Ok(()) => version(client, schema).await.map(drop),
    }
}

/// The version of the tables; `None` before they are created.
async fn version(client: &Client, schema: &SchemaName) -> Result<Option<i64>, Failure> {
    let query = format!("SELECT max(version) FROM {}.dps_schema", schema.quoted());
    let version = match client.query_typed(&query, &[]).await {
        Ok(rows) => match rows.first() {
            Some(row) => row.try_get::<_, Option<i64>>(0)?,
            None => None,
        },
        Err(error) if error.code().is_some_and(is_absent) => None,
        Err(error) => return Err(error.into()),
    };
    match version {
        Some(version) if version > NEWEST => {
            let message = format!(
                "the tables in the schema {schema} have version {version}, and this release supports version {NEWEST}: \
                 use the release that updated them, or a newer one"
            );
            let error = StoreError::new(message).with_kind(StoreErrorKind::Incompatible);
            Err(Failure::Refused(error))
        }
        version => Ok(version),
    }
}

/// Executes the statements of each missing version, all in one transaction. A lock on the row of version 0 makes several
/// emulators do so one after another.
async fn update(client: &Client, schema: &SchemaName) -> Result<(), tokio_postgres::Error> {
    let schema = schema.quoted();
    let exists = client
        .query_typed(
            "SELECT 1 FROM information_schema.schemata WHERE schema_name = $1",
            &[(&schema.trim_matches('"'), tokio_postgres::types::Type::TEXT)],
        )
        .await?;
    if exists.is_empty() {
        let create = format!("CREATE SCHEMA IF NOT EXISTS {schema}");
        client.batch_execute(&create).await?;
    }
    let done = async {
        let versions = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED;
             CREATE TABLE IF NOT EXISTS {schema}.dps_schema (version bigint PRIMARY KEY);
             INSERT INTO {schema}.dps_schema (version) VALUES (0) ON CONFLICT (version) DO NOTHING;
             SELECT 1 FROM {schema}.dps_schema WHERE version = 0 FOR UPDATE"
        );
        client.batch_execute(&versions).await?;
        let query = format!("SELECT max(version) FROM {schema}.dps_schema");
        let rows = client.query_typed(&query, &[]).await?;
        let found = match rows.first() {
            Some(row) => row.try_get::<_, Option<i64>>(0)?.unwrap_or(0),
            None => 0,
        };
        for (version, statements) in (1..=NEWEST).zip(VERSIONS) {
            if version > found {
                let statements = statements.replace("{schema}", &schema);
                client.batch_execute(&statements).await?;
                let note = format!("INSERT INTO {schema}.dps_schema (version) VALUES ({version})");
                client.batch_execute(&note).await?;
            }
        }
        client.batch_execute("COMMIT").await
    };
    let done = done.await;
    if done.is_err() {
        let _closed = client.batch_execute("ROLLBACK").await;
    }
    done
}

fn is_absent(code: &SqlState) -> bool {
    [SqlState::UNDEFINED_TABLE, SqlState::INVALID_SCHEMA_NAME].contains(code)
}

fn is_collision(code: &SqlState) -> bool {
    [
        SqlState::UNIQUE_VIOLATION,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_OBJECT,
    ]
    .contains(code)
}
