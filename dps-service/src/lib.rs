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
//! use dps_service::{EnrollmentGroup, ErrorKind, HubHostname, ServiceClient};
//!
//! # async fn run(dps: ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
//! let groups = dps.enrollment_groups();
//! let toasters = EnrollmentGroup::symmetric_key("toasters".parse()?).allocate_evenly();
//! let hub: HubHostname = "toasters.azure-devices.net".parse()?;
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
//! Each operation has one timeout for all its attempts, [`ServiceClient::DEFAULT_TIMEOUT`] by default. Each page of a query
//! and each request of a bulk operation is a separate operation. Within the timeout the client retries errors that may be
//! temporary, with growing random pauses, and never earlier than a `Retry-After` header allows:
//!
//! * A request that the service has not begun to carry out is always retried: after a connection failure, 429 and 503.
//! * After a lost connection, or any other 5xx except 501, it is unknown whether the request was carried out.
//!   It retries reads, deletes, unconditional writes, and bulk operations, which report a result for each item. It does not
//!   retry [`create`](Enrollments::create), and writes and deletes with an ETag: the retry would find the effect of the first
//!   attempt and report a conflict. [`Error::is_in_doubt`] reports this case.
//! * A bearer token that the service refuses (401) is replaced by a fresh one, once for each attempt.
//!
//! Dropping a future or a stream cancels its requests.
//!
//! # Tracing
//!
//! Each request is a span `service_request` with `method` and `path`. It contains a debug event for each answer, with its
//! `status`, and an info event for each retry, with `error`, `tries` and `pause_ms`.
// A panic on outside input would stop the program. Each exception has its reason next to it.
#![cfg_attr(
    not(test),
    warn(
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable
    )
)]

mod api_version;
mod bulk;
mod client;
mod continuation;
mod credential;
#[cfg(feature = "endorsement")]
mod endorsement;
mod enrollment_kind;
mod enrollments;
mod error;
mod modify;
mod pager;
mod read;
mod registrations;
mod request;
mod retry;
mod transport;

// The types of dps-types and dps-tls in the signatures of this crate.
pub use dps_tls::{Proxy, Roots};
pub use dps_types::enrollment::{AttestationMechanism, EnrollmentGroup, IndividualEnrollment};
pub use dps_types::protocol::ApiVersion;
pub use dps_types::{
    BulkOperationMode, Clock, DeviceRegistrationState, ETag, EnrollmentGroupId, ErrorCode,
    ErrorDetails, HubHostname, QuerySpecification, RegistrationId, ServiceConnectionString,
    SymmetricKey, SystemClock,
};

pub use bulk::{Bulk, BulkOutcome, BulkProgress, BulkReport, BulkRun};
pub use client::ServiceClient;
pub use continuation::Continuation;
#[cfg(feature = "entra")]
pub use credential::EntraCredential;
pub use credential::{AccessToken, TokenProvider};
#[cfg(feature = "endorsement")]
pub use endorsement::{CertifiedTpm, EndorsementFault, EndorsementVerifier};
pub use enrollment_kind::EnrollmentKind;
pub use enrollments::Enrollments;
pub use error::{Error, ErrorKind};
pub use modify::ChangeOutcome;
pub use pager::{Page, Pager, Pages};
pub use registrations::{FoundRegistration, Registrations};
