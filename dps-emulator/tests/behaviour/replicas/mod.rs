//! Several emulators that share a database are one DPS.

mod control;
mod hub_connections;
mod instances;
mod shared;
mod take_over;

use std::sync::Arc;
use std::time::Duration;

use dps_emulator::EmulatorBuilder;
use dps_emulator::store::Store;

use crate::common::{Database, Dps};

/// Emulators that share a database.
async fn replicas<const N: usize>(database: &Database) -> [Dps; N] {
    let mut all = Vec::new();
    for _ in 0..N {
        all.push(replica(database.client(), |builder| builder).await);
    }
    let all = all.try_into();
    all.unwrap_or_else(|_| panic!("{N} emulators"))
}

/// An emulator whose operations others take over after ten seconds without a heartbeat, which is the default.
async fn replica(
    store: Arc<impl Store + 'static>,
    choose: impl Fn(EmulatorBuilder) -> EmulatorBuilder,
) -> Dps {
    Dps::start_with(|builder| choose(builder.store(store))).await
}

/// For tests that wait until the operations of a replica are taken over.
fn soon(builder: EmulatorBuilder) -> EmulatorBuilder {
    builder.replica_timeout(Duration::from_millis(500))
}
