//! The body of an error response: code, tracking id, message, info, time; a hint for every known code.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Timestamp;
use crate::lossless::Lenient;

lossless! {
    /// The body of an error response. Keep [`ErrorDetails::tracking_id`]: Microsoft's support asks for it.
    ///
    /// Members are read leniently: an error that cannot be read would hide the one it reports.
    #[derive(Default)]
    pub struct ErrorDetails {
        /// Six digits; the first three are the HTTP status.
        error_code: Option<ErrorCode> = "errorCode" | "code" via Lenient<ErrorCode>,
        /// The service's id of the failed request, equal to the header `x-ms-request-id`.
        tracking_id: Option<String> = "trackingId" via Lenient<String>,
        /// The message of the service.
        message: Option<String> = "message" | "errorMessage" via Lenient<String>,
        /// More information.
        info: Option<BTreeMap<String, Value>> = "info" via Lenient<BTreeMap<String, Value>>,
        /// The time of the error.
        timestamp_utc: Option<Timestamp> = "timestampUtc" via Lenient<Timestamp>,
    }
}

impl ErrorDetails {
    /// Creates details with a code and a message.
    pub fn new(error_code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error_code: Some(error_code),
            message: Some(message.into()),
            ..Self::default()
        }
    }

    /// A hint on how to solve it, if the code is known.
    pub fn hint(&self) -> Option<&'static str> {
        self.error_code?.hint()
    }

    /// Returns message, error code and tracking id on one line, without the hint.
    ///
    /// It is for a caller that has a better hint for its reader: most hints here are for the device's side.
    pub fn summary(&self) -> String {
        let message = self.message.as_deref();
        let message = message.unwrap_or("the service gave no message");
        match (self.error_code, &self.tracking_id) {
            (Some(code), Some(id)) => format!("{message} (error code {code}, tracking id {id})"),
            (Some(code), None) => format!("{message} (error code {code})"),
            (None, Some(id)) => format!("{message} (tracking id {id})"),
            (None, None) => message.to_owned(),
        }
    }
}

impl fmt::Display for ErrorDetails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.summary())?;
        match self.hint() {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

/// An error code of the service: six digits whose first three are the HTTP status.
///
/// ```
/// use dps_types::ErrorCode;
///
/// let code = ErrorCode::new(401_002);
/// assert_eq!(code.http_status(), 401);
/// println!("{code}: {}", code.hint().unwrap_or("unknown"));
/// ```
///
/// See the page [When it does not work](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/troubleshooting.md#error-codes-of-the-service) of the book.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ErrorCode(u32);

macro_rules! error_codes {
    ($($(#[$meta:meta])* $NAME:ident = $code:literal, $hint:literal;)*) => {
        impl ErrorCode {
            $($(#[$meta])* pub const $NAME: Self = Self($code);)*

            /// All known codes.
            pub const KNOWN: &'static [Self] = &[$(Self::$NAME),*];

            /// A hint on how to solve it, if the code is known.
            pub fn hint(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some($hint),)*
                    _ => None,
                }
            }
        }
    };
}

error_codes! {
    /// The service does not support the api-version.
    INVALID_PROTOCOL_VERSION = 400_001, "use an api-version that the service knows, such as 2021-06-01";
    /// The operation does not fit the state.
    INVALID_OPERATION = 400_003, "the operation is not allowed here: look at the message";
    /// A value is not valid.
    ARGUMENT_INVALID = 400_004, "a value is not valid: the message names it";
    /// A value is missing.
    ARGUMENT_NULL = 400_005, "a required value is missing: the message names it";
    /// The body is not the expected document.
    FORMAT_ERROR = 400_006, "the body is not the JSON document that the operation takes";
    /// The custom allocation webhook refused, failed or did not answer.
    CUSTOM_ALLOCATION_FAILED = 400_207, "the custom allocation webhook refused or failed: look at its log; registering again calls it again";
    /// No hub was selected.
    HUB_NOT_SPECIFIED = 400_208, "no IoT hub was selected: link one, or name one in the enrollment or in the webhook's answer";
    /// The linked hub refused DPS.
    HUB_UNAUTHORIZED = 400_209, "the linked IoT hub refused the provisioning service: link it again with a key that may write its registry";
    /// The credentials were refused (older form).
    UNAUTHORIZED_LEGACY = 401_000, "check the key, the id scope and the clock of the device";
    /// The linked hub no longer exists.
    IOT_HUB_NOT_FOUND = 401_001, "the linked IoT hub no longer exists, or its connection string is unusable: link it again";
    /// The credentials were refused.
    UNAUTHORIZED = 401_002, "check the key or the certificate chain (leaf and intermediates), the registration id, the id scope and the clock of the device";
    /// The instance is suspended.
    SUSPENDED = 403_001, "the service instance is suspended: look at its subscription";
    /// A quota is used up.
    QUOTA_EXCEEDED = 403_002, "a quota of the service instance is used up";
    /// The resource does not exist.
    NOT_FOUND = 404_001, "it does not exist: check the id scope and the ids";
    /// There is no such individual enrollment.
    ENROLLMENT_NOT_FOUND = 404_201, "there is no individual enrollment with this registration id";
    /// There is no such enrollment group.
    ENROLLMENT_GROUP_NOT_FOUND = 404_202, "there is no enrollment group with this id";
    /// There is no such registration record.
    REGISTRATION_NOT_FOUND = 404_203, "this device has not registered yet, or its registration record was deleted";
    /// The method does not go with the path.
    METHOD_NOT_ALLOWED = 405_000, "the method is not allowed for this path";
    /// The enrollment exists already.
    ENROLLMENT_EXISTS = 409_201, "the enrollment exists: send its ETag, or '*', in If-Match to replace it";
    /// The enrollment group exists already.
    ENROLLMENT_GROUP_EXISTS = 409_202, "the enrollment group exists: send its ETag, or '*', in If-Match to replace it";
    /// Two registrations of one device ran at once.
    REGISTRATION_CONFLICT = 409_203, "the device registered twice at once: register again";
    /// The request had no Content-Length.
    LENGTH_REQUIRED = 411_000, "send a Content-Length header";
    /// The ETag is not the current one.
    PRECONDITION_FAILED = 412_001, "the document has changed since it was read: read it again, change it, write it";
    /// The message is too large.
    MESSAGE_TOO_LARGE = 413_001, "the message is larger than the service takes";
    /// The content type is not JSON.
    UNSUPPORTED_MEDIA_TYPE = 415_000, "send Content-Type: application/json";
    /// Too many requests.
    THROTTLED = 429_001, "too many requests: wait for the time in Retry-After";
    /// The service failed.
    SERVER_ERROR = 500_001, "the service failed: try again later, and report the tracking id if it stays";
    /// The service is not available.
    SERVICE_UNAVAILABLE = 503_001, "the service is not available: try again later";
}

impl ErrorCode {
    /// A code by its number.
    pub const fn new(code: u32) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// The HTTP status of the code: its first three digits.
    pub fn http_status(self) -> u16 {
        u16::try_from(self.0 / 1000).unwrap_or_default()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
