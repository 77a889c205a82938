//! The choices that Microsoft's documents leave open about issued certificates. All of them are here.
//!
//! - A request that cannot be answered is refused when the device registers, with 400004 and a message. The service may report
//!   it as a failed registration instead.
//! - A registration that joins one in progress, with another certificate request, replaces the request: the answer has a
//!   certificate for the latest one.
//! - A device that registers again without a certificate request keeps its issued certificate, as long as its enrollment names a
//!   certificate authority. The answer has no chain.
//! - A device with an issued certificate cannot use the credential of its enrollment at the hub.
//! - After a revocation the device is disconnected from its hub.
//! - A PUT of an enrollment with an api-version before 2026-11-01 removes the names of the certificate authority, because it
//!   replaces the whole document. The names are not checked in a PUT: a registration with a certificate request checks them.
//! - With api-version 2025-07-01-preview, `credentialPolicyName` names a policy of any namespace.
//! - At the hub, a request with an id that breaks the rules has no answer, as one without an id. A request of a device without an
//!   issued certificate is refused with 400003. A request that is replaced has no answer any more. A wait is in `retryAfter`, in
//!   seconds.
//! - At the hub, the subject of a certificate request is the registration id, as in the first certificate.

use std::time::Duration;

use dps_types::ErrorCode;

use crate::certificate::RequestError;
use crate::issuer::DAY;

/// The time before its issuance from which a certificate is valid, for devices with a slow clock.
pub(super) const BACKDATED: Duration = Duration::from_secs(5 * 60);

/// The time after which a hub abandons a certificate request: `operationExpires`.
pub(crate) const RENEWAL_LIFETIME: Duration = Duration::from_secs(5 * 60);

/// An intermediate that ends sooner than this is replaced, so that it outlives every leaf. Microsoft's is replaced with overlap.
pub(super) const INTERMEDIATE_OVERLAP: Duration = Duration::from_secs(90 * DAY.as_secs());

/// The validity of a leaf if the policy names none, in days. Recordings of the service show 30.
pub(super) const DEFAULT_DAYS: u16 = 30;

/// The addresses of CRLs and issuers in certificates are below this one. Nothing answers there: the name is reserved (RFC 6761),
/// and hubs do not read CRLs.
pub(super) const ADDRESS: &str = "http://certificates.dps-emulator.invalid";

/// The credential identifier is a URI in the leaf's subject alternative name: this prefix and a UUID.
pub(super) const CREDENTIAL: &str = "urn:uuid:";

/// The code of a certificate request that DPS refuses.
pub(super) const REFUSED_BY_DPS: ErrorCode = ErrorCode::ARGUMENT_INVALID;

/// The value of `info.credentialError` at the hub. Only the first name is Microsoft's.
pub(super) const fn credential_error(error: RequestError) -> &'static str {
    match error {
        RequestError::NotPkcs10 => "FailedToDecodeCsr",
        RequestError::UnsupportedKey => UNSUPPORTED_KEY,
        RequestError::Signature => "InvalidCsrSignature",
    }
}

/// As [`credential_error`], for a key that the policy does not accept.
pub(super) const UNSUPPORTED_KEY: &str = "UnsupportedKeyType";
/// As [`credential_error`], for a subject of another device.
pub(super) const WRONG_SUBJECT: &str = "SubjectMismatch";
