//! The operator's client for the Azure IoT Hub Device Provisioning Service: enrollments and enrollment groups.
//!
//! [`ServiceClient`] speaks the service API with the connection string of a shared access policy. Documents come from
//! [`dps_types::enrollment`]; fields that this version does not know survive a read, a change and a write.
//!
//! ```no_run
//! use dps_service::{ErrorKind, ServiceClient};
//! use dps_types::enrollment::EnrollmentGroup;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let dps = ServiceClient::from_connection_string(&std::env::var("DPS_CONNECTION_STRING")?)?;
//!
//! let groups = dps.enrollment_groups();
//! let toasters = EnrollmentGroup::symmetric_key("toasters".parse()?).allocate_evenly();
//! let mut group = match groups.create(&toasters).await {
//!     Err(error) if error.kind() == ErrorKind::Conflict => {
//!         let id = &toasters.enrollment_group_id;
//!         let mut group = groups.get(id).await?;
//!         // A read leaves the keys out: put them back, so that the update below keeps them.
//!         group.attestation = groups.attestation_mechanism(id).await?;
//!         group
//!     }
//!     created => created?,
//! };
//! group.iot_hubs = Some(vec!["toasters.azure-devices.net".parse()?]);
//! groups.update(&group).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Waiting and repeating
//!
//! Each operation has one deadline, [`ServiceClient::DEFAULT_DEADLINE`] unless it is set, for all its attempts
//! together. Within it the client repeats what may succeed later, with growing random pauses, and never earlier than
//! a `Retry-After` says:
//!
//! * A request that the service did not begin to carry out is always repeated: a connection that could not be made,
//!   429 and 503.
//! * After a lost connection, or any other 5xx, nobody knows whether it was carried out. Reads, deletes and writes that
//!   replace whatever is there are repeated. [`create`](Enrollments::create) and writes and deletes under an ETag are
//!   not: the repetition would find the work of the first attempt and report it as somebody else's.
//!
//! Dropping a future ends its request.

mod client;
mod credential;
mod enrollments;
mod error;
mod registrations;
mod request;
mod retry;

pub use client::ServiceClient;
pub use enrollments::{EnrollmentKind, Enrollments};
pub use error::{Error, ErrorKind};
pub use registrations::Registrations;
