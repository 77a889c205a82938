//! The store that the option `--store` names.

use std::error::Error as StdError;
use std::sync::Arc;

use crate::store::Store;

/// Opens the store. The message of an error does not repeat the URL, which holds a password.
#[cfg(feature = "postgres")]
pub(crate) async fn open(url: &str) -> Result<Arc<dyn Store>, Box<dyn StdError>> {
    use crate::store::{PostgresStore, PostgresUrl};

    let url = url
        .parse::<PostgresUrl>()
        .map_err(|error| format!("invalid value for --store: {error}"))?;
    let store = PostgresStore::connect(&url).await?;
    tracing::info!(%url, "the state is in PostgreSQL");
    Ok(Arc::new(store))
}

#[cfg(not(feature = "postgres"))]
#[allow(clippy::unused_async)]
pub(crate) async fn open(_: &str) -> Result<Arc<dyn Store>, Box<dyn StdError>> {
    Err(
        "--store requires a program that was built with the feature postgres: \
         cargo install --git https://github.com/dps-rs/dps-rs dps-emulator --features postgres"
            .into(),
    )
}
