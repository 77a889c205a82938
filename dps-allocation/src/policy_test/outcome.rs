//! The outcome of a registration: how DPS interprets a webhook's answer, and what the device receives.

use std::fmt;

use dps_types::{AllocationRequest, AllocationResponse, ErrorCode, ErrorDetails, HubHostname};
use serde_json::{Value, json};

use crate::{Allocation, Rejection, RejectionKind, answer};

/// The outcome for a device: an allocation, or a registration that fails.
#[derive(Debug)]
pub struct Outcome {
    result: Result<AllocationResponse, Rejection>,
    /// The text of an answer whose status is not 200. The device never receives it.
    reason: Option<String>,
}

impl Outcome {
    /// Returns the hub, if the device is assigned.
    pub fn hub(&self) -> Option<&HubHostname> {
        let response = self.result.as_ref().ok()?;
        Some(&response.iot_hub_host_name)
    }

    /// Returns the whole answer, if the device is assigned.
    pub fn response(&self) -> Option<&AllocationResponse> {
        self.result.as_ref().ok()
    }

    /// Returns the kind of failure, if the registration fails.
    pub fn rejection_kind(&self) -> Option<RejectionKind> {
        self.result.as_ref().err().map(Rejection::kind)
    }

    /// Returns the registration's `errorCode`, if the registration fails.
    pub fn error_code(&self) -> Option<ErrorCode> {
        let rejection = self.result.as_ref().err()?;
        Some(
            rejection
                .error_code()
                .unwrap_or(ErrorCode::CUSTOM_ALLOCATION_FAILED),
        )
    }

    /// Returns the registration's `errorMessage`, if the registration fails. The device receives nothing more.
    pub fn error_message(&self) -> Option<&str> {
        self.result.as_ref().err().map(Rejection::message)
    }

    /// Returns the text of the webhook's answer, if its status is not 200. The device does not receive it.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Asserts that the device is assigned to this hub.
    ///
    /// # Panics
    ///
    /// If the assertion fails. The message contains the outcome.
    #[track_caller]
    pub fn assert_hub(self, hub: &str) -> Self {
        let is_hub = self
            .hub()
            .is_some_and(|it| it.as_str().eq_ignore_ascii_case(hub));
        assert!(is_hub, "expected {hub}, but the device {self}");
        self
    }

    /// Asserts that the device receives this payload; `null` means no payload.
    ///
    /// # Panics
    ///
    /// If the assertion fails. The message contains the outcome.
    #[track_caller]
    pub fn assert_payload(self, payload: impl Into<Value>) -> Self {
        let sent = self
            .response()
            .and_then(|response| response.payload.clone());
        let expected = payload.into();
        assert!(
            sent.unwrap_or_default() == expected,
            "expected the payload {expected}, but the device {self}"
        );
        self
    }

    /// Asserts that the answer sets this initial twin, in the form of an enrollment's `initialTwin`; `null` means
    /// the twin of the enrollment.
    ///
    /// # Panics
    ///
    /// If the assertion fails. The message contains the outcome.
    #[track_caller]
    pub fn assert_initial_twin(self, twin: impl Into<Value>) -> Self {
        let set = self.response().map(|response| json!(response.initial_twin));
        let expected = twin.into();
        assert!(
            set.unwrap_or_default() == expected,
            "expected the twin {expected}, but the device {self}"
        );
        self
    }

    /// Asserts that the registration fails, and that the webhook's reason contains this text.
    ///
    /// # Panics
    ///
    /// When the device is assigned, or the reason is another one. The message contains the outcome.
    #[track_caller]
    pub fn assert_rejected(self, reason: &str) -> Self {
        let texts = [self.error_message(), self.reason()];
        let contains = texts
            .into_iter()
            .flatten()
            .any(|text| text.contains(reason));
        assert!(
            contains,
            "expected a rejection with {reason:?}, but the device {self}"
        );
        self
    }

    /// Reads a status and a body.
    pub(crate) fn read(status: u16, body: &[u8], request: &AllocationRequest) -> Self {
        if status != 200 {
            return Self {
                result: Err(answer::bad_status(status)),
                reason: reason(body),
            };
        }
        answer::read(body, request).into()
    }

    pub(super) fn not_serialized(error: serde_json::Error) -> Self {
        Err(answer::unavailable("the request cannot be serialized").with_source(error)).into()
    }
}

impl From<Result<Allocation, Rejection>> for Outcome {
    fn from(result: Result<Allocation, Rejection>) -> Self {
        Self {
            result: result.map(AllocationResponse::from),
            reason: None,
        }
    }
}

/// The message of an error body, or else the body itself if it is text; cut after 500 characters.
fn reason(body: &[u8]) -> Option<String> {
    let message = dps_types::json::from_slice::<ErrorDetails>(body)
        .ok()
        .and_then(|details| details.message);
    let text = message.or_else(|| {
        let text = std::str::from_utf8(body).ok()?;
        Some(text.trim_start_matches('\u{feff}').trim().to_owned())
    });
    text.filter(|text| !text.is_empty())
        .map(|text| text.chars().take(500).collect())
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(response) => {
                write!(f, "is assigned to {}", response.iot_hub_host_name)?;
                if let Some(twin) = &response.initial_twin {
                    write!(f, ", starts with the twin {}", json!(twin))?;
                }
                if let Some(payload) = &response.payload {
                    write!(f, ", receives {payload}")?;
                }
                Ok(())
            }
            Err(rejection) => {
                let code = rejection
                    .error_code()
                    .unwrap_or(ErrorCode::CUSTOM_ALLOCATION_FAILED);
                let message = rejection.message();
                write!(f, "is not assigned: errorCode {}, {message}", code.get())?;
                match &self.reason {
                    Some(reason) => write!(f, " (the webhook reports: {reason})"),
                    None => Ok(()),
                }
            }
        }
    }
}
