//! The shared words of the Azure IoT Hub Device Provisioning Service: enrollments, registration, allocation, ids, keys and SAS. No I/O.
//!
//! Device client, service client, allocation webhooks and emulator all speak with these types:
//!
//! * names that cannot be invalid: [`RegistrationId`], [`IdScope`], [`HubHostname`], …
//! * what a device says and hears: [`RegistrationRequest`], [`RegistrationOperationStatus`]
//! * what an operator writes down: [`enrollment`]
//! * what DPS asks a custom allocation webhook: [`AllocationRequest`], [`AllocationResponse`]
//! * keys and tokens: [`SymmetricKey`], [`sas`]
//! * what a TPM and DPS send each other: [`tpm`]
//! * the service's account of a failure: [`ErrorDetails`]
//! * every literal on the wire, as format and parse: [`protocol`]
//!
//! The documents are tolerant where the service may grow: fields nobody knows yet stay in [`Extra`]
//! and are written back, and values nobody knows yet stay as `Unknown`.
//!
//! ```
//! use dps_types::{RegistrationId, SymmetricKey};
//!
//! // The example of Microsoft's documentation on symmetric key attestation.
//! let group_key = SymmetricKey::from_base64(
//!     "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==",
//! )?;
//! let device: RegistrationId = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6".parse()?;
//! let device_key = group_key.derive_device_key(&device);
//! assert_eq!(*device_key.to_base64(), "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=");
//! # Ok::<(), dps_types::ParseError>(())
//! ```

// The macros that the other rooms are made with come first.
#[macro_use]
mod lossless;
#[macro_use]
mod open_enum;

mod allocation;
mod bulk;
mod clock;
mod connection_string;
pub mod enrollment;
mod error;
mod error_details;
mod id;
pub mod json;
mod key;
pub mod protocol;
mod query;
mod registration;
pub mod sas;
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
    DeviceId, ETag, EnrollmentGroupId, HubHostname, IdScope, OperationId, RegistrationId,
};
pub use key::{EncodedKey, SymmetricKey};
pub use lossless::Extra;
pub use query::QuerySpecification;
pub use registration::{
    DeviceRegistrationResult, DeviceRegistrationState, RegistrationOperationStatus,
    RegistrationRequest, RegistrationStatus, RegistrationSubstatus, SymmetricKeyRegistrationResult,
    TpmChallenge, TpmRegistrationResult, X509RegistrationResult,
};
pub use timestamp::Timestamp;
pub use url_mask::mask_url;
