//! What to do with the answer: credentials for the assigned hub, its twin, and a device that finds its way back there.

mod backoff;
mod cached;
mod connection;
mod file_store;
mod limits;
mod link;
mod provisioned;
mod search;
mod settings;
mod transport;
mod twin;

use std::pin::Pin;

use crate::error::Error;

pub use cached::{AssignmentStore, CachedAssignment};
pub use connection::{HubConnection, TwinUpdate};
pub use file_store::AssignmentFile;
pub use provisioned::ProvisionedDevice;
pub use settings::{HubEndpoint, HubPassword};
pub use transport::HubTransport;
pub use twin::{Twin, TwinProperties};

/// Work that goes on where it was when nobody waited for it in between.
type Work<T> = Pin<Box<dyn Future<Output = Result<T, Error>> + Send>>;
