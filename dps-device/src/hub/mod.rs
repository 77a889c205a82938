//! The assigned IoT hub: the device's credentials for it, one connection for everything, and a device that finds its hub again.

mod assignment_file;
mod assignment_store;
mod cached_assignment;
mod connect;
mod driver;
mod endpoint;
mod event;
mod finder;
mod follower;
mod handle;
#[cfg(feature = "certificates")]
mod issue_certificate;
mod link;
mod message;
mod method;
mod methods;
mod monitor;
mod options;
mod outbox;
mod password;
mod provisioned;
mod queue;
mod queue_file;
mod received;
mod recovery;
#[cfg(feature = "certificates")]
mod renewal;
mod reply;
mod request;
mod requests;
mod resolve;
mod serve;
mod shared;
mod stream;
mod transport;
mod twin;

pub use assignment_file::AssignmentFile;
pub use assignment_store::AssignmentStore;
pub use cached_assignment::CachedAssignment;
pub use endpoint::HubEndpoint;
pub use event::DeviceEvent;
pub use handle::{Closed, Delivery, DeviceHandle};
pub use message::Message;
pub use method::MethodRequest;
pub use monitor::DeviceState;
pub use options::ConnectOptions;
pub use outbox::Overflow;
pub use password::HubPassword;
pub use provisioned::ProvisionedDevice;
pub use queue::{MemoryQueue, MessageQueue};
pub use queue_file::FileQueue;
pub use received::ReceivedMessage;
pub use recovery::{IdentityRecovery, Recovery};
pub use stream::DeviceEvents;
pub use transport::HubTransport;
pub use twin::{Twin, TwinProperties};
