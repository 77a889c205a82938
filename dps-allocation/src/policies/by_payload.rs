//! A policy that chooses by a field of the payload of the device.

use std::fmt;

use async_trait::async_trait;
use dps_types::{AllocationRequest, json};
use serde_json::Value;

use super::cases::Cases;
use crate::{Allocation, AllocationPolicy, Rejection};

/// Chooses a policy by a field of the payload that the device sent when it registered.
///
/// Strings are compared exactly, including case. Numbers and booleans are compared by their JSON text, so `3` and `"3"` are
/// equal. A device without the field is rejected, even if there is a policy for other values: use a
/// [`Fallback`](crate::policies::Fallback) around this policy to accept such devices. A payload that is JSON text in a
/// string, as the device SDK for Java sends it, is read as well.
///
/// The device can send any payload. To rely on a value that the manufacturer certified, use
/// [`ByCertificate`](crate::policies::ByCertificate).
///
/// ```
/// use dps_allocation::policies::{ByPayload, EvenlyWeighted, Fixed};
///
/// let policy = ByPayload::field("/device/model")
///     .when("toaster", Fixed::to("toasters.azure-devices.net".parse()?))
///     .otherwise(EvenlyWeighted::new());
/// # let _ = policy;
/// # Ok::<(), dps_types::ParseError>(())
/// ```
#[derive(Debug)]
pub struct ByPayload {
    field: Field,
    cases: Cases,
}

impl ByPayload {
    /// Chooses by this field: a name at the top level, or a JSON pointer (RFC 6901) if it begins with `/`.
    pub fn field(field: impl Into<String>) -> Self {
        Self {
            field: Field::new(field),
            cases: Cases::default(),
        }
    }

    /// Sets the policy for a value: a string, a number or a boolean. The first policy for a value is used.
    #[must_use]
    pub fn when(mut self, value: impl ToString, policy: impl AllocationPolicy + 'static) -> Self {
        self.cases.when(value.to_string(), policy);
        self
    }

    /// Sets the policy for all other values. Without it they are rejected.
    #[must_use]
    pub fn otherwise(mut self, policy: impl AllocationPolicy + 'static) -> Self {
        self.cases.otherwise(policy);
        self
    }
}

#[async_trait]
impl AllocationPolicy for ByPayload {
    async fn allocate(&self, request: &AllocationRequest) -> Result<Allocation, Rejection> {
        let value = self.field.of(request)?;
        let policy = self
            .cases
            .choose(&self.field, &[value], |case, value| case == value)?;
        policy.allocate(request).await
    }
}

/// A field of the payload.
#[derive(Debug, Clone)]
pub(super) struct Field(String);

impl Field {
    pub(super) fn new(field: impl Into<String>) -> Self {
        Self(field.into())
    }

    /// Returns the value of the field as text.
    pub(super) fn of(&self, request: &AllocationRequest) -> Result<String, Rejection> {
        let field = &self.0;
        let Some(payload) = &request.device_runtime_context.payload else {
            return Err(Rejection::new(format!(
                "the device sent no payload, so it has no {field:?}"
            )));
        };
        let decoded: Value;
        let payload = match payload.as_str().map(json::from_str) {
            Some(Ok(value)) => {
                decoded = value;
                &decoded
            }
            _ => payload,
        };
        let value = match field.starts_with('/') {
            true => payload.pointer(field),
            false => payload.get(field),
        };
        match value {
            None | Some(Value::Null) => Err(Rejection::new(format!(
                "the device's payload has no {field:?}"
            ))),
            Some(Value::String(text)) => Ok(text.clone()),
            Some(value @ (Value::Number(_) | Value::Bool(_))) => Ok(value.to_string()),
            Some(Value::Array(_) | Value::Object(_)) => Err(Rejection::new(format!(
                "{field:?} in the device's payload is not a string, a number or a boolean"
            ))),
        }
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
