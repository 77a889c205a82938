//! Header names, and the two header values that are parsed.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use crate::{ETag, ParseError};

/// The service's id of a request; the `trackingId` of an error body.
pub const REQUEST_ID: &str = "x-ms-request-id";
/// The six-digit code of an error response.
pub const ERROR_CODE: &str = "x-ms-error-code";
/// The type of the items of a page: `Enrollment`, `EnrollmentGroup` or `DeviceRegistration`.
pub const ITEM_TYPE: &str = "x-ms-item-type";
/// The maximum number of items of a page.
pub const MAX_ITEM_COUNT: &str = "x-ms-max-item-count";
/// The continuation token: the start of the next page.
pub const CONTINUATION: &str = "x-ms-continuation";

/// The longest wait that is accepted from a header, a century, so that no clock overflows.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Reads a `Retry-After` header: whole seconds, or a date (RFC 9110, section 10.2.3).
///
/// A date in the past means no wait. `None` when it is neither seconds nor a date.
///
/// ```
/// use dps_types::protocol::parse_retry_after;
/// use std::time::{Duration, UNIX_EPOCH};
/// assert_eq!(parse_retry_after("3", UNIX_EPOCH), Some(Duration::from_secs(3)));
/// assert_eq!(parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", UNIX_EPOCH), Some(Duration::from_secs(60)));
/// assert_eq!(parse_retry_after("soon", UNIX_EPOCH), None);
/// ```
pub fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds still mean a very long time.
        return Some(
            text.parse()
                .map_or(LONGEST, Duration::from_secs)
                .min(LONGEST),
        );
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or_default().min(LONGEST))
}

/// The condition of a write: this version, or any version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum IfMatch {
    /// `*`
    Any,
    /// This version.
    Version(ETag),
}

impl IfMatch {
    /// Returns true if a document with this ETag meets the condition.
    pub fn matches(&self, current: &ETag) -> bool {
        match self {
            Self::Any => true,
            Self::Version(version) => version == current,
        }
    }
}

impl FromStr for IfMatch {
    type Err = ParseError;

    /// Official clients send the ETag bare (Python) or in quotes (C#), and `*` in both ways.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let text = text.trim();
        let bare = text
            .strip_prefix('"')
            .and_then(|text| text.strip_suffix('"'))
            .unwrap_or(text);
        match bare {
            "*" => Ok(Self::Any),
            bare => bare.parse().map(Self::Version),
        }
    }
}

impl fmt::Display for IfMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Version(version) => fmt::Display::fmt(version, f),
        }
    }
}
