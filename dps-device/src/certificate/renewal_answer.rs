//! The hub's answer to a certificate request, and what each refusal means for the next request.

use std::error::Error as StdError;
use std::fmt;
use std::time::Duration;

use dps_types::hub_certificate::{CertificateRequestAccepted, IssuedCertificates};
use dps_types::{ErrorDetails, Timestamp, json};
use serde_json::Value;

use super::issued::IssuedCertificate;
use crate::error::{Error, ErrorKind};

/// An answer of a hub to a certificate request over MQTT: 202 first, and then 200 or a refusal.
///
/// Source: hub api-version 2025-08-01-preview.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum RenewalAnswer {
    /// 202: the request is in progress.
    Accepted(CertificateRequestAccepted),
    /// 200: the certificates in base64 of DER, the device's first. Check them with [`IssuedCertificate::from_answer`].
    Issued(Vec<String>),
}

impl RenewalAnswer {
    /// Reads an answer: its status, its body, and the wait that its topic asks for.
    ///
    /// # Errors
    /// A refusal: its source is a [`RenewalRefusal`]. [`ErrorKind::Protocol`] if the answer is not one of the protocol.
    pub fn read(status: u16, body: &[u8], retry_after: Option<Duration>) -> Result<Self, Error> {
        let malformed = |error: serde_json::Error| {
            Error::protocol("the hub's answer to the certificate request is not its JSON document")
                .with_status(status)
                .with_source(error)
        };
        match status {
            202 => {
                // The device needs nothing of it.
                Ok(Self::Accepted(json::from_slice(body).unwrap_or_default()))
            }
            200 => {
                let issued: IssuedCertificates = json::from_slice(body).map_err(malformed)?;
                let certificates = issued.certificates.unwrap_or_default();
                match certificates.len() {
                    0..=IssuedCertificate::MAX_CERTIFICATES => Ok(Self::Issued(certificates)),
                    found => Err(super::fault::CertificateFault::TooMany { found }.into()),
                }
            }
            400..600 => Err(refused(status, body, retry_after)),
            _ => Err(Error::protocol(format!(
                "the status {status} of the hub's answer is not one of certificate requests"
            ))
            .with_status(status)),
        }
    }
}

/// The reason for which a hub refused a certificate request: the source of the error.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RenewalRefusal {
    /// 400xxx: the request is not valid, or the hub has no such request.
    InvalidRequest,
    /// 400037 and 400040: the certificate request cannot be verified.
    #[non_exhaustive]
    InvalidCsr {
        /// The fault of the request, for example `FailedToDecodeCsr`.
        error: Option<String>,
        /// The explanation of the hub.
        message: Option<String>,
    },
    /// 409004 and 409005: another request of this device is in progress.
    #[non_exhaustive]
    InProgress {
        /// The id of that request.
        request_id: Option<String>,
        /// The time at which the hub abandons the request.
        expires: Option<Timestamp>,
    },
    /// 412001: there is no request that could be replaced.
    NothingToReplace,
    /// 429xxx: too many requests.
    Throttled,
    /// 503xxx: the certificate authority is not available.
    Unavailable,
    /// 500xxx and other 5xx: the hub failed.
    Failed,
    /// Any other refusal.
    Other,
}

/// The next step after a [`RenewalRefusal`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RetryRule {
    /// Send the request again after this wait, and double the wait with every failure.
    After(Duration),
    /// Send the request again and replace this one, which is in progress. `*` replaces any.
    Replace(String),
    /// Send the request again without a request to replace.
    WithoutReplace,
    /// The hub will not issue a certificate for this request: register with DPS.
    AtDps,
}

impl RenewalRefusal {
    /// The next step. A `retry-after` of the hub is a lower limit for the wait.
    pub fn rule(&self) -> RetryRule {
        match self {
            Self::InProgress { request_id, .. } => {
                RetryRule::Replace(request_id.clone().unwrap_or_else(|| ANY.to_owned()))
            }
            Self::NothingToReplace => RetryRule::WithoutReplace,
            Self::Throttled => RetryRule::After(Duration::from_secs(1)),
            Self::Unavailable => RetryRule::After(Duration::from_secs(5)),
            Self::Failed => RetryRule::After(Duration::from_secs(5 * 60)),
            Self::InvalidRequest | Self::InvalidCsr { .. } | Self::Other => RetryRule::AtDps,
        }
    }

    fn new(status: u16, details: &ErrorDetails) -> Self {
        let code = details.error_code.map(dps_types::ErrorCode::get);
        match (status, code) {
            (_, Some(400_037 | 400_040)) => Self::InvalidCsr {
                error: info(details, "credentialError"),
                message: info(details, "credentialMessage"),
            },
            (400, _) => Self::InvalidRequest,
            (409, _) => Self::InProgress {
                request_id: info(details, "requestId"),
                expires: info(details, "operationExpires").and_then(|text| text.parse().ok()),
            },
            (412, _) => Self::NothingToReplace,
            (429, _) => Self::Throttled,
            (503, _) => Self::Unavailable,
            (500..600, _) => Self::Failed,
            _ => Self::Other,
        }
    }

    fn error_kind(&self) -> ErrorKind {
        match self {
            Self::Throttled => ErrorKind::Throttled,
            Self::Unavailable | Self::Failed => ErrorKind::Service,
            _ => ErrorKind::Rejected,
        }
    }
}

/// Replaces any request that is in progress.
const ANY: &str = "*";

fn refused(status: u16, body: &[u8], retry_after: Option<Duration>) -> Error {
    let details: ErrorDetails = json::from_slice(body).unwrap_or_default();
    let refusal = RenewalRefusal::new(status, &details);
    let in_body = details.extra.get("retryAfter").or_else(|| {
        let info = details.info.as_ref()?;
        info.get("retryAfter")
    });
    let retry_after = retry_after.or_else(|| in_body.and_then(seconds));
    let details = (details.error_code.is_some() || details.message.is_some()).then_some(details);
    Error::new(
        refusal.error_kind(),
        format!("the hub refused the certificate request (status {status})"),
    )
    .with_status(status)
    .with_details(details)
    .with_retry_after(retry_after)
    .with_source(refusal)
}

/// A member of `info`, which may also be a number.
fn info(details: &ErrorDetails, name: &str) -> Option<String> {
    match details.info.as_ref()?.get(name)? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn seconds(value: &Value) -> Option<Duration> {
    let seconds = match value {
        Value::String(text) => text.parse().ok()?,
        value => value.as_u64()?,
    };
    Some(Duration::from_secs(seconds))
}

impl fmt::Display for RenewalRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidRequest => f.write_str("the request is not valid for this hub"),
            Self::InvalidCsr { error, message } => {
                f.write_str("the hub cannot verify the certificate request")?;
                for text in [error, message].into_iter().flatten() {
                    write!(f, ": {text}")?;
                }
                Ok(())
            }
            Self::InProgress { request_id, .. } => {
                f.write_str("another certificate request of the device is in progress")?;
                match request_id {
                    Some(id) => write!(f, " ({id})"),
                    None => Ok(()),
                }
            }
            Self::NothingToReplace => {
                f.write_str("the certificate request to replace is not in progress")
            }
            Self::Throttled => f.write_str("there are too many certificate requests"),
            Self::Unavailable => f.write_str("the certificate authority is not available"),
            Self::Failed => f.write_str("the hub failed"),
            Self::Other => f.write_str("the hub gave no known reason"),
        }
    }
}

impl StdError for RenewalRefusal {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(status: u16, body: &str) -> (Error, RenewalRefusal) {
        let error = RenewalAnswer::read(status, body.as_bytes(), None).unwrap_err();
        let refusal = error.source().unwrap().downcast_ref::<RenewalRefusal>();
        let refusal = refusal.unwrap().clone();
        (error, refusal)
    }

    fn code(code: u32) -> String {
        format!(r#"{{"errorCode":{code},"trackingId":"t-1","message":"No."}}"#)
    }

    #[test]
    fn both_answers_of_a_success_are_read() {
        let accepted = r#"{"correlationId":"c-1","operationExpires":"2026-11-26T10:00:00Z"}"#;
        let RenewalAnswer::Accepted(accepted) =
            RenewalAnswer::read(202, accepted.as_bytes(), None).unwrap()
        else {
            panic!("it is accepted");
        };
        assert_eq!(accepted.correlation_id.as_deref(), Some("c-1"));
        let issued = br#"{"correlationId":"c-1","certificates":["AQ==","Ag==","Aw=="]}"#;
        assert_eq!(
            RenewalAnswer::read(200, issued, None).unwrap(),
            RenewalAnswer::Issued(["AQ==", "Ag==", "Aw=="].map(str::to_owned).to_vec())
        );
        // A 202 that cannot be read must not end the request.
        assert!(RenewalAnswer::read(202, b"", None).is_ok());
        assert!(RenewalAnswer::read(200, b"", None).is_err());
        let many = format!(r#"{{"certificates":[{}"AQ=="]}}"#, r#""AQ==","#.repeat(8));
        let error = RenewalAnswer::read(200, many.as_bytes(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Certificate);
    }

    #[test]
    fn each_code_has_its_rule() {
        let after = |seconds| RetryRule::After(Duration::from_secs(seconds));
        for (number, kind, rule) in [
            (400_004, ErrorKind::Rejected, RetryRule::AtDps),
            (400_006, ErrorKind::Rejected, RetryRule::AtDps),
            (400_037, ErrorKind::Rejected, RetryRule::AtDps),
            (400_040, ErrorKind::Rejected, RetryRule::AtDps),
            (
                409_004,
                ErrorKind::Rejected,
                RetryRule::Replace("*".to_owned()),
            ),
            (
                409_005,
                ErrorKind::Rejected,
                RetryRule::Replace("*".to_owned()),
            ),
            (412_001, ErrorKind::Rejected, RetryRule::WithoutReplace),
            (429_002, ErrorKind::Throttled, after(1)),
            (429_003, ErrorKind::Throttled, after(1)),
            (500_001, ErrorKind::Service, after(300)),
            (503_001, ErrorKind::Service, after(5)),
            (404_001, ErrorKind::Rejected, RetryRule::AtDps),
        ] {
            let (error, refusal) = refusal(u16::try_from(number / 1000).unwrap(), &code(number));
            assert_eq!(refusal.rule(), rule, "{number}");
            assert_eq!(error.kind(), kind, "{number}");
            let details = error.error_details().unwrap();
            assert_eq!(details.tracking_id.as_deref(), Some("t-1"));
        }
    }

    #[test]
    fn the_information_of_a_refusal_is_kept() {
        let body = r#"{"errorCode":409005,"info":{"requestId":"a1b2","operationExpires":"2026-11-26T10:00:00Z","correlationId":"c"}}"#;
        let (_, active) = refusal(409, body);
        assert_eq!(active.rule(), RetryRule::Replace("a1b2".to_owned()));
        let expires = Some("2026-11-26T10:00:00Z".parse().unwrap());
        assert!(
            matches!(active, RenewalRefusal::InProgress { expires: found, .. } if found == expires)
        );

        let body = r#"{"errorCode":400040,"info":{"credentialError":"FailedToDecodeCsr","credentialMessage":"No DER."}}"#;
        let (error, _) = refusal(400, body);
        let text = format!("{error:#}");
        assert!(text.contains("FailedToDecodeCsr: No DER."), "{text}");
    }

    #[test]
    fn the_wait_is_read_from_the_topic_or_the_body() {
        let wait = |body: &str, topic| {
            let error = RenewalAnswer::read(429, body.as_bytes(), topic).unwrap_err();
            error.retry_after().map(|wait| wait.as_secs())
        };
        assert_eq!(wait(&code(429_002), None), None);
        assert_eq!(wait(&code(429_002), Some(Duration::from_secs(7))), Some(7));
        assert_eq!(
            wait(r#"{"errorCode":429002,"retryAfter":9}"#, None),
            Some(9)
        );
        assert_eq!(
            wait(r#"{"errorCode":429002,"info":{"retryAfter":"11"}}"#, None),
            Some(11)
        );
        assert_eq!(wait("not JSON", None), None);
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(status: u16, body in ".*") {
            let _ = RenewalAnswer::read(status, body.as_bytes(), None);
        }
    }
}
