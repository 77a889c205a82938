//! Random keys of policies without configured keys. They survive a restart, so that connection strings stay valid.

use dps_types::SymmetricKey;

use crate::error::{Error, ErrorKind};
use crate::state::store::{Expected, Store, StoreError, Table};

/// The policy that every instance has at first.
pub(crate) const OWNER: &str = "provisioningserviceowner";

/// One of a policy's two keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Slot {
    Primary,
    Secondary,
}

/// Reads the policy's key of an earlier run, or makes a new one.
pub(super) async fn stored_key(
    store: &dyn Store,
    policy: &str,
    slot: Slot,
) -> Result<SymmetricKey, Error> {
    let name = store_key(policy, slot);
    loop {
        if let Some(bytes) = store.get(Table::Meta, &name).await.map_err(failed)? {
            return SymmetricKey::from_bytes(bytes).map_err(|error| {
                let what = format!("the stored key of policy {policy} is damaged");
                Error::new(ErrorKind::Store, what).with_source(error)
            });
        }
        let key = SymmetricKey::generate();
        let bytes = key.as_bytes().to_vec();
        let written = store.put(Table::Meta, &name, Expected::Absent, bytes);
        if written.await.map_err(failed)? {
            return Ok(key);
        }
    }
}

/// The name of a key in the store. The owner's primary key has the name that it had before there were other policies.
fn store_key(policy: &str, slot: Slot) -> String {
    let policy = policy.to_ascii_lowercase();
    match slot {
        Slot::Primary if policy == OWNER => "service-key".to_owned(),
        Slot::Primary => format!("policy-key/{policy}/primary"),
        Slot::Secondary => format!("policy-key/{policy}/secondary"),
    }
}

fn failed(error: StoreError) -> Error {
    Error::new(ErrorKind::Store, "the store cannot be used").with_source(error)
}
