//! Documents, ids, keys, SAS tokens and protocol literals of the Azure IoT Hub Device Provisioning Service. No I/O.
#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
//!
//! # Contents
//!
//! * Ids that cannot be invalid: [`RegistrationId`], [`IdScope`], [`HubHostname`], …
//! * The device registration API: [`RegistrationRequest`], [`RegistrationOperationStatus`]
//! * Enrollments and enrollment groups: [`enrollment`]
//! * The request to a custom allocation webhook and its answer: [`AllocationRequest`], [`AllocationResponse`]
//! * Keys and tokens: [`SymmetricKey`], [`sas`]
//! * The structures that a TPM and DPS exchange: [`tpm`]
//! * The error documents of the service: [`ErrorDetails`]
//! * The limits of a device twin: [`twin`]
//! * Reading JSON from outside: [`json`]
//! * The checksum of documents on a disk: [`sealed`]
//! * Every literal of the protocol, as format and parse: [`protocol`]
//!
//! Documents accept what the service may add: unknown fields stay in [`Extra`] and are written back, and unknown values stay
//! as `Unknown`.
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

// The macros come first: the other modules use them.
#[macro_use]
mod object;
#[macro_use]
mod lossless;
#[macro_use]
mod open_enum;

mod allocation;
mod base64_text;
mod bulk;
mod clock;
mod connection_string;
pub mod device_update;
pub mod enrollment;
mod error;
mod error_details;
pub mod hub_certificate;
mod id;
pub mod json;
mod key;
pub mod protocol;
mod query;
mod registration;
pub mod sas;
pub mod sealed;
mod timestamp;
pub mod tpm;
pub mod twin;
mod url_mask;

pub use allocation::{
    AllocationRequest, AllocationResponse, DeviceRuntimeContext, Enrollment, PayloadError,
    X509DeviceAttestation,
};
pub use bulk::{
    BulkEnrollmentGroupOperation, BulkEnrollmentOperation, BulkOperationError, BulkOperationMode,
    BulkOperationResult,
};
pub use clock::{Clock, SystemClock};
pub use connection_string::ServiceConnectionString;
pub use error::{ParseError, write_sources};
pub use error_details::{ErrorCode, ErrorDetails};
pub use id::{
    CertificateAuthorityName, CertificatePolicyName, DeviceId, ETag, EnrollmentGroupId,
    HubHostname, IdScope, ModuleId, NamespaceName, OperationId, RegistrationId,
};
pub use key::{EncodedKey, SymmetricKey};
pub use lossless::Extra;
pub use query::QuerySpecification;
pub use registration::{
    ConnectionProfile, DeviceRegistrationResult, DeviceRegistrationState,
    RegistrationOperationStatus, RegistrationRequest, RegistrationStatus, RegistrationSubstatus,
    SymmetricKeyRegistrationResult, TpmChallenge, TpmRegistrationResult, X509RegistrationResult,
};
pub use timestamp::Timestamp;
pub use url_mask::mask_url;
