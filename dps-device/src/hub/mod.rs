//! The assigned IoT hub: the device's credentials for it, its twin, and a device that finds its hub again.

mod assignment_file;
mod assignment_store;
mod backoff;
mod cached_assignment;
mod connection;
mod endpoint;
mod link;
mod monitor;
mod password;
mod provisioned;
mod request;
mod resolve;
mod transport;
mod twin;

pub use assignment_file::AssignmentFile;
pub use assignment_store::AssignmentStore;
pub use cached_assignment::CachedAssignment;
pub use connection::HubConnection;
pub use endpoint::HubEndpoint;
pub use monitor::{DeviceEvent, DeviceEvents, DeviceState};
pub use password::HubPassword;
pub use provisioned::ProvisionedDevice;
pub use request::TwinUpdate;
pub use transport::HubTransport;
pub use twin::{Twin, TwinProperties};
