//! The topics by which a device requests a new certificate from its hub over MQTT 3.1.1.
//!
//! Source: hub api-version 2025-08-01-preview. An answer arrives only at a device that subscribed to [`RESPONSE_FILTER`].

use std::fmt;
use std::str::FromStr;

use super::text::{encode_raw, http_status, mark};
use super::{encode, query_parameter};
use crate::ParseError;

/// The topic filter for answers.
pub const RESPONSE_FILTER: &str = "$iothub/credentials/res/#";

const REQUEST: &str = "$iothub/credentials/POST/issueCertificate/";
const RESPONSE: &str = "$iothub/credentials/res/";

/// The topic of a request. The payload is an [`IssueCertificateRequest`](crate::hub_certificate::IssueCertificateRequest).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestTopic {
    /// The request id of the device: 4 to 36 letters, digits and `-`, neither first nor last a `-`.
    pub rid: String,
}

impl RequestTopic {
    /// Creates the topic of a request with this id.
    pub fn new(rid: impl Into<String>) -> Self {
        Self { rid: rid.into() }
    }

    /// Returns true if the service accepts the request id.
    pub fn has_valid_id(&self) -> bool {
        let rid = self.rid.as_bytes();
        (4..=36).contains(&rid.len())
            && rid
                .iter()
                .all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
            && rid.first() != Some(&b'-')
            && rid.last() != Some(&b'-')
    }
}

impl fmt::Display for RequestTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{REQUEST}?$rid={}", encode_raw(&self.rid))
    }
}

impl FromStr for RequestTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("certificate request topic", reason);
        let query = text
            .strip_prefix(REQUEST)
            .and_then(|rest| rest.strip_prefix('?'))
            .ok_or_else(|| wrong("it is not a request for a certificate"))?;
        Ok(Self::new(mark(query).map_err(wrong)?))
    }
}

/// The topic of an answer: 202 when the request is accepted, then 200 with the certificates, or an error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseTopic {
    /// As an HTTP status.
    pub status: u16,
    /// The request id.
    pub rid: String,
    /// The number of seconds to wait before the next request, as the topic has it.
    pub retry_after: Option<String>,
}

impl ResponseTopic {
    /// Creates the topic of an answer to the request with this id.
    pub fn new(status: u16, rid: impl Into<String>) -> Self {
        Self {
            status,
            rid: rid.into(),
            retry_after: None,
        }
    }

    /// Adds a wait before the next request, in whole seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.to_string());
        self
    }
}

impl fmt::Display for ResponseTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{RESPONSE}{}/?$rid={}",
            self.status,
            encode_raw(&self.rid)
        )?;
        match &self.retry_after {
            Some(seconds) => write!(f, "&retry-after={}", encode(seconds)),
            None => Ok(()),
        }
    }
}

impl FromStr for ResponseTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("certificate response topic", reason);
        let (status, query) = text
            .strip_prefix(RESPONSE)
            .ok_or_else(|| wrong("it is not a response about a certificate"))?
            .split_once("/?")
            .ok_or_else(|| wrong("it has no parameters"))?;
        Ok(Self {
            status: http_status(status).map_err(wrong)?,
            rid: mark(query).map_err(wrong)?,
            retry_after: query_parameter(query, "retry-after"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_those_of_the_service() {
        let topic = "$iothub/credentials/POST/issueCertificate/?$rid=a1b2-c3";
        let request: RequestTopic = topic.parse().unwrap();
        assert_eq!(request.rid, "a1b2-c3");
        assert_eq!(request.to_string(), topic);
        assert!(request.has_valid_id());

        let topic = "$iothub/credentials/res/202/?$rid=a1b2-c3";
        let response: ResponseTopic = topic.parse().unwrap();
        assert_eq!((response.status, response.rid.as_str()), (202, "a1b2-c3"));
        assert_eq!(response.to_string(), topic);
    }

    #[test]
    fn request_ids_outside_the_rule_are_found() {
        for rid in ["abc", "-abc", "abc-", "ab c", "a_bc", &"a".repeat(37), ""] {
            assert!(!RequestTopic::new(rid).has_valid_id(), "{rid}");
        }
        for rid in ["abcd", "a-bc", &"a".repeat(36)] {
            assert!(RequestTopic::new(rid).has_valid_id(), "{rid}");
        }
    }

    #[test]
    fn other_topics_are_refused() {
        for topic in [
            "",
            "$iothub/credentials/POST/issueCertificate/",
            "$iothub/credentials/POST/issueCertificate/?rid=a",
            "$iothub/twin/GET/?$rid=a",
        ] {
            assert!(topic.parse::<RequestTopic>().is_err(), "{topic}");
        }
        for topic in [
            "$iothub/credentials/res/",
            "$iothub/credentials/res/20x/?$rid=a",
            "$iothub/credentials/res/200/",
        ] {
            assert!(topic.parse::<ResponseTopic>().is_err(), "{topic}");
        }
    }
}
