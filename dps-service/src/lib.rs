//! A service client for the Azure IoT Hub Device Provisioning Service: enrollments, enrollment groups, registration records.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Documents
//!
//! The documents are types of [`dps_types::enrollment`]. Fields that this version does not know are kept when a document is
//! read, changed and written.
//!
//! # Timeouts and retries
//!
//! Each operation has one timeout for all its attempts, [`ServiceClient::DEFAULT_TIMEOUT`] by default. Each page of a query
//! and each request of a bulk operation is an operation of its own. Within the timeout the client retries errors that may go
//! away, with growing random pauses, and never earlier than a `Retry-After` header allows:
//!
//! * A request that the service has not begun to carry out is always retried: after a connection failure, 429 and 503.
//! * After a lost connection, or any other 5xx except 501, the client does not know whether the request was carried out.
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
//!
//! # Features
//!
//! * `entra`: `EntraCredential`, a [`TokenProvider`] for a credential of the Azure SDK for Rust.

mod api_version;
mod bulk;
mod client;
mod continuation;
mod credential;
mod enrollment_kind;
mod enrollments;
mod error;
mod modify;
mod pager;
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
pub use enrollment_kind::EnrollmentKind;
pub use enrollments::Enrollments;
pub use error::{Error, ErrorKind};
pub use modify::ChangeOutcome;
pub use pager::{Page, Pager, Pages};
pub use registrations::{FoundRegistration, Registrations};
