//! The keys of policies that were given none: random, and the same after a restart, so that connection strings stay valid.

use dps_types::SymmetricKey;

use super::OWNER;
use crate::error::{Error, ErrorKind};
use crate::state::store::{Expected, Store, StoreError, Table};

/// Which of a policy's keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Primary,
    Secondary,
}

/// The policy's key of an earlier run; else a new one.
pub(super) async fn kept_key(
    store: &dyn Store,
    policy: &str,
    slot: Slot,
) -> Result<SymmetricKey, Error> {
    let place = place(policy, slot);
    loop {
        if let Some(bytes) = store.get(Table::Meta, &place).await.map_err(failed)? {
            return SymmetricKey::from_bytes(bytes).map_err(|error| {
                let what = format!("the kept key of policy {policy} is damaged");
                Error::new(ErrorKind::Store, what).because(error)
            });
        }
        let key = SymmetricKey::generate();
        let bytes = key.as_bytes().to_vec();
        let written = store.put(Table::Meta, &place, Expected::Absent, bytes);
        if written.await.map_err(failed)? {
            return Ok(key);
        }
    }
}

/// Where a key is kept. The owner's primary key was there before there were others.
fn place(policy: &str, slot: Slot) -> String {
    let policy = policy.to_ascii_lowercase();
    match slot {
        Slot::Primary if policy == OWNER => "service-key".to_owned(),
        Slot::Primary => format!("policy-key/{policy}/primary"),
        Slot::Secondary => format!("policy-key/{policy}/secondary"),
    }
}

fn failed(error: StoreError) -> Error {
    Error::new(ErrorKind::Store, "the store cannot be used").because(error)
}
