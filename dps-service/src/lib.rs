//! Service client for the Azure IoT Hub Device Provisioning Service (DPS): enrollments, enrollment groups, registration records.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Create or change
//!
//! [`ServiceClient`] uses the connection string of a shared access policy, or bearer tokens of Microsoft Entra ID. The documents are in
//! [`dps_types::enrollment`]; unknown fields are kept when a document is read, changed and written.
//!
//! ```no_run
//! use dps_service::{ErrorKind, ServiceClient};
//! use dps_types::enrollment::EnrollmentGroup;
//!
//! # async fn run(dps: ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
//! let groups = dps.enrollment_groups();
//! let toasters = EnrollmentGroup::symmetric_key("toasters".parse()?).allocate_evenly();
//! let hub: dps_types::HubHostname = "toasters.azure-devices.net".parse()?;
//! match groups.create(&toasters).await {
//!     Err(error) if error.kind() == ErrorKind::Conflict => {
//!         let id = &toasters.enrollment_group_id;
//!         groups.modify(id, |group| *group = group.clone().allocate_to(hub.clone())).await?
//!     }
//!     created => created?,
//! };
//! # Ok(())
//! # }
//! ```
//!
//! # Timeouts and retries
//!
//! Each operation has one timeout for all its attempts, [`ServiceClient::DEFAULT_DEADLINE`] by default. Each page of a query and each
//! request of a bulk operation is an operation. Within the timeout the client retries what may succeed later, with growing random
//! waits, and never earlier than `Retry-After`:
//!
//! * A request that the service did not start is always retried: a connection that could not be opened, 429 and 503.
//! * After a lost connection, or any other 5xx except 501, the client cannot know whether the request was executed. Reads, deletes and
//!   writes that replace any version are retried, and so are bulk operations, which report the result of each item.
//!   [`create`](Enrollments::create) and requests with an ETag are not retried: the second attempt could find the result of the
//!   first and report it as a conflict. [`Error::is_in_doubt`] reports this case.
//!
//! Dropping a future or a stream cancels its requests.
//!
//! # Tracing
//!
//! Each request is a span `service_request` with `method` and `path`. It contains a debug event for each answer, with its `status`, and
//! an info event for each retry, with `error`, `tries` and `pause_ms`.

mod api_version;
mod bulk;
mod client;
mod credential;
mod enrollments;
mod error;
mod kind;
mod modify;
mod pager;
mod registrations;
mod request;
mod retry;
mod transport;

pub use bulk::{Bulk, BulkOutcome, BulkProgress, BulkReport, BulkRun};
pub use client::ServiceClient;
#[cfg(feature = "entra")]
pub use credential::EntraCredential;
pub use credential::{AccessToken, TokenProvider};
pub use enrollments::Enrollments;
pub use error::{Error, ErrorKind};
pub use kind::EnrollmentKind;
pub use modify::ChangeOutcome;
pub use pager::{Continuation, Page, Pager, Pages};
pub use registrations::{FoundRegistration, Registrations};
