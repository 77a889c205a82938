//! The operator's client for the Azure IoT Hub Device Provisioning Service: enrollments, groups, registrations.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! [`ServiceClient`] speaks the service API with the connection string of a shared access policy, or with bearer tokens
//! of Microsoft Entra ID. Documents come from [`dps_types::enrollment`]; fields that this version does not know survive
//! a read, a change and a write.
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
//! let hub: dps_types::HubHostname = "toasters.azure-devices.net".parse()?;
//! match groups.create(&toasters).await {
//!     Err(error) if error.kind() == ErrorKind::Conflict => {
//!         let id = &toasters.enrollment_group_id;
//!         groups.modify(id, |group| *group = group.clone().allocate_to(hub.clone())).await?
//!     }
//!     created => created?,
//! };
//!
//! let mut registered = dps.registrations().in_group(&toasters.enrollment_group_id);
//! while let Some(device) = registered.try_next().await? {
//!     println!("{:?} is at {:?}", device.registration_id, device.assigned_hub);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Waiting and repeating
//!
//! Each operation has one deadline, [`ServiceClient::DEFAULT_DEADLINE`] unless it is set, for all its attempts
//! together; of a query, each page is an operation, and of a bulk operation each request. Within it the client repeats
//! what may succeed later, with growing random pauses, and never earlier than a `Retry-After` says:
//!
//! * A request that the service did not begin to carry out is always repeated: a connection that could not be made,
//!   429 and 503.
//! * After a lost connection, or any other 5xx but 501, nobody knows whether it was carried out. Reads, deletes and writes
//!   that replace whatever is there are repeated, and so are bulk operations, which tell each item's part in it.
//!   [`create`](Enrollments::create) and writes and deletes under an ETag are not: the repetition would find the work of
//!   the first attempt and report it as somebody else's. [`Error::is_in_doubt`] tells.
//!
//! Dropping a future or a stream ends its requests.
//!
//! # Tracing
//!
//! Each request is a span `service_request` with `method` and `path`. In it are a debug event for each answer, with its
//! `status`, and an info event for each repetition, with `error`, `tries` and `pause_ms`.
//!
//! # Features
//!
//! * `entra`: `EntraCredential` takes a credential of the Azure SDK for Rust as a [`TokenProvider`].

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
