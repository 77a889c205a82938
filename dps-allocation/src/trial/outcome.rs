//! What DPS makes of a webhook's answer, and so what the device sees.

use std::fmt;

use dps_types::{AllocationRequest, AllocationResponse, ErrorCode, ErrorDetails, HubHostname};
use serde_json::{Value, json};

use crate::{Allocation, Rejection, answer};

/// What becomes of a device: an allocation, or a registration that fails.
#[derive(Debug)]
pub struct Outcome {
    result: Result<AllocationResponse, Rejection>,
    /// What the webhook says to a status that is not 200. The device never sees it.
    reason: Option<String>,
}

impl Outcome {
    /// The hub, when the device is assigned.
    pub fn hub(&self) -> Option<&HubHostname> {
        let response = self.result.as_ref().ok()?;
        Some(&response.iot_hub_host_name)
    }

    /// The whole answer, when the device is assigned.
    pub fn response(&self) -> Option<&AllocationResponse> {
        self.result.as_ref().ok()
    }

    /// The registration's `errorCode`, when it fails.
    pub fn error_code(&self) -> Option<ErrorCode> {
        let rejection = self.result.as_ref().err()?;
        Some(
            rejection
                .error_code()
                .unwrap_or(ErrorCode::CUSTOM_ALLOCATION_FAILED),
        )
    }

    /// The registration's `errorMessage`, when it fails: all that the device sees.
    pub fn error_message(&self) -> Option<&str> {
        self.result.as_ref().err().map(Rejection::message)
    }

    /// Why the webhook said no, in its own words. The device does not see them.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// For tests: the device goes to this hub.
    ///
    /// # Panics
    ///
    /// When it does not. The text says what happens instead.
    #[track_caller]
    pub fn assert_hub(self, hub: &str) -> Self {
        let right = self
            .hub()
            .is_some_and(|it| it.as_str().eq_ignore_ascii_case(hub));
        assert!(right, "expected {hub}, but the device {self}");
        self
    }

    /// For tests: the device is sent this payload. `null` is none.
    ///
    /// # Panics
    ///
    /// When it is not.
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

    /// For tests: the device starts with this twin, in the form of an enrollment's `initialTwin`. `null` is the enrollment's own.
    ///
    /// # Panics
    ///
    /// When it does not.
    #[track_caller]
    pub fn assert_initial_twin(self, twin: impl Into<Value>) -> Self {
        let given = self.response().map(|response| json!(response.initial_twin));
        let expected = twin.into();
        assert!(
            given.unwrap_or_default() == expected,
            "expected the twin {expected}, but the device {self}"
        );
        self
    }

    /// For tests: the registration fails, and the webhook's reason holds this text.
    ///
    /// # Panics
    ///
    /// When the device is assigned, or for another reason not.
    #[track_caller]
    pub fn assert_rejected(self, reason: &str) -> Self {
        let told = [self.error_message(), self.reason()];
        let right = told.into_iter().flatten().any(|told| told.contains(reason));
        assert!(
            right,
            "expected a rejection for {reason:?}, but the device {self}"
        );
        self
    }

    /// From a status and a body.
    pub(crate) fn read(status: u16, body: &[u8], request: &AllocationRequest) -> Self {
        if status != 200 {
            return Self {
                result: Err(answer::bad_status(status)),
                reason: reason(body),
            };
        }
        answer::read(body, request).into()
    }

    pub(super) fn unwritten(error: serde_json::Error) -> Self {
        Err(answer::failed("the request cannot be written").with_source(error)).into()
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

/// What an error body says, if it has our form or is a short text.
fn reason(body: &[u8]) -> Option<String> {
    let said = serde_json::from_slice::<ErrorDetails>(body)
        .ok()
        .and_then(|problem| problem.message);
    said.or_else(|| {
        std::str::from_utf8(body)
            .ok()
            .map(|text| text.trim().to_owned())
    })
    .filter(|text| !text.is_empty())
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
                    write!(f, ", is sent {payload}")?;
                }
                Ok(())
            }
            Err(rejection) => {
                let code = rejection
                    .error_code()
                    .unwrap_or(ErrorCode::CUSTOM_ALLOCATION_FAILED);
                write!(f, "is not assigned: errorCode {}, {rejection}", code.get())?;
                match &self.reason {
                    Some(reason) => write!(f, " (the webhook says: {reason})"),
                    None => Ok(()),
                }
            }
        }
    }
}
