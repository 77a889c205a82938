//! A fault as JSON.

use std::time::Duration;

use dps_types::ErrorCode;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::rule::{Effect, Fault, Step};

/// The longest pattern of a device, in characters: a device id and a module id with a slash between them.
const MAX_PATTERN: usize = 128 + 1 + 128;

/// A fault as the control endpoint and the configuration file have it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct FaultDocument {
    step: Step,
    effect: Name,
    /// Registration id or device id, with `*` and `?`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    device: Option<String>,
    /// How often it happens. The default is 1, or without a limit if there is a probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    count: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    /// In seconds, for `throttle`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    /// For `fail`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    /// In milliseconds, for `delay`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    milliseconds: Option<u64>,
    /// For `failed` and `refuse`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    error_code: Option<u32>,
    /// For `tlsAlert`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    alert: Option<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Name {
    Throttle,
    Fail,
    Refuse,
    Drop,
    DropAfter,
    Delay,
    Malformed,
    Silence,
    Failed,
    Disabled,
    TlsAlert,
    AnswerTwice,
    WrongRequestId,
}

/// The name as the document has it.
fn name_of(variant: impl Serialize) -> String {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}

impl<'de> Deserialize<'de> for Fault {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let document = FaultDocument::deserialize(deserializer)?;
        document.try_into().map_err(D::Error::custom)
    }
}

impl Serialize for Fault {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        FaultDocument::from(self.clone()).serialize(serializer)
    }
}

impl TryFrom<FaultDocument> for Fault {
    type Error = String;

    fn try_from(document: FaultDocument) -> Result<Self, String> {
        let effect = match document.effect {
            Name::Throttle => Effect::Throttle {
                retry_after: Duration::from_secs(document.retry_after.unwrap_or(1)),
            },
            Name::Fail => Effect::Fail(document.status.unwrap_or(500)),
            Name::Refuse => match document.error_code {
                Some(code @ 400_000..600_000) => Effect::Refuse(ErrorCode::new(code)),
                _ => {
                    return Err(
                        "the effect refuse requires an errorCode of 400000 to 599999".to_owned(),
                    );
                }
            },
            Name::Drop => Effect::Drop,
            Name::DropAfter => Effect::DropAfter,
            Name::Delay => match document.milliseconds {
                Some(milliseconds) => Effect::Delay(Duration::from_millis(milliseconds)),
                None => return Err("the effect delay requires milliseconds".to_owned()),
            },
            Name::Malformed => Effect::Malformed,
            Name::Silence => Effect::Silence,
            Name::Failed => Effect::Failed(document.error_code.unwrap_or(500_000)),
            Name::Disabled => Effect::Disabled,
            // handshake_failure
            Name::TlsAlert => Effect::TlsAlert(document.alert.unwrap_or(40)),
            Name::AnswerTwice => Effect::AnswerTwice,
            Name::WrongRequestId => Effect::WrongRequestId,
        };
        if !effect.applies_to(document.step) {
            return Err(format!(
                "the effect {} does not apply to the step {}",
                name_of(document.effect),
                name_of(document.step)
            ));
        }
        if document.step == Step::Connect && document.device.is_some() {
            return Err("at the step connect the device is not known: leave out device".to_owned());
        }
        if let Some(device) = &document.device
            && device.chars().count() > MAX_PATTERN
        {
            return Err(format!("the device has more than {MAX_PATTERN} characters"));
        }
        if let Some(status) = document.status
            && !(500..600).contains(&status)
        {
            return Err(format!("'{status}' is not a valid status: 500 to 599"));
        }
        if let Some(probability) = document.probability
            && !(0.0..=1.0).contains(&probability)
        {
            return Err(format!(
                "'{probability}' is not a valid probability: 0 to 1"
            ));
        }
        let unlimited = document.probability.map_or(1, |_| usize::MAX);
        Ok(Self {
            step: document.step,
            effect,
            times: document.count.unwrap_or(unlimited),
            device: document.device,
            probability: document.probability,
        })
    }
}

impl From<Fault> for FaultDocument {
    fn from(fault: Fault) -> Self {
        let mut document = Self {
            step: fault.step,
            effect: Name::Drop,
            device: fault.device,
            count: (fault.times != usize::MAX || fault.probability.is_none())
                .then_some(fault.times),
            probability: fault.probability,
            retry_after: None,
            status: None,
            milliseconds: None,
            error_code: None,
            alert: None,
        };
        document.effect = match fault.effect {
            Effect::Throttle { retry_after } => {
                document.retry_after = Some(retry_after.as_secs());
                Name::Throttle
            }
            Effect::Fail(status) => {
                document.status = Some(status);
                Name::Fail
            }
            Effect::Refuse(code) => {
                document.error_code = Some(code.get());
                Name::Refuse
            }
            Effect::Drop => Name::Drop,
            Effect::DropAfter => Name::DropAfter,
            Effect::Delay(delay) => {
                let milliseconds = u64::try_from(delay.as_millis());
                document.milliseconds = Some(milliseconds.unwrap_or(u64::MAX));
                Name::Delay
            }
            Effect::Malformed => Name::Malformed,
            Effect::Silence => Name::Silence,
            Effect::Failed(code) => {
                document.error_code = Some(code);
                Name::Failed
            }
            Effect::Disabled => Name::Disabled,
            Effect::TlsAlert(alert) => {
                document.alert = Some(alert);
                Name::TlsAlert
            }
            Effect::AnswerTwice => Name::AnswerTwice,
            Effect::WrongRequestId => Name::WrongRequestId,
        };
        document
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(document: Value) -> Result<Fault, String> {
        serde_json::from_value(document).map_err(|error| error.to_string())
    }

    #[test]
    fn a_document_is_a_fault_and_back() {
        for document in [
            json!({ "step": "register", "effect": "throttle", "device": "dev-*", "count": 2, "retryAfter": 7 }),
            json!({ "step": "poll", "effect": "fail", "count": 1, "status": 503 }),
            json!({ "step": "connect", "effect": "drop", "count": 0 }),
            json!({ "step": "telemetry", "effect": "dropAfter", "probability": 0.25 }),
            json!({ "step": "twinGet", "effect": "delay", "count": 1, "milliseconds": 5 }),
            json!({ "step": "twinReport", "effect": "malformed", "count": 1 }),
            json!({ "step": "hubConnect", "effect": "silence", "count": 1 }),
            json!({ "step": "poll", "effect": "failed", "count": 1, "errorCode": 400_207 }),
            json!({ "step": "register", "effect": "disabled", "count": 1 }),
            json!({ "step": "connect", "effect": "tlsAlert", "count": 1, "alert": 80 }),
            json!({ "step": "poll", "effect": "answerTwice", "count": 1 }),
            json!({ "step": "poll", "effect": "drop", "count": usize::MAX }),
            json!({ "step": "poll", "effect": "wrongRequestId", "count": 1 }),
        ] {
            let fault = read(document.clone()).expect("valid");
            assert_eq!(serde_json::to_value(fault).expect("JSON"), document);
        }
    }

    #[test]
    fn a_fault_happens_once_unless_there_is_a_count_or_a_probability() {
        let once = read(json!({ "step": "poll", "effect": "drop" })).expect("valid");
        assert_eq!(once, Fault::new(Step::Poll, Effect::Drop));
        let often = json!({ "step": "poll", "effect": "drop", "probability": 1 });
        let often = read(often).expect("valid");
        assert_eq!(
            often,
            Fault::new(Step::Poll, Effect::Drop)
                .probability(1.0)
                .times(usize::MAX)
        );
    }

    #[test]
    fn a_document_that_is_not_a_fault_is_refused_with_the_reason() {
        for (document, words) in [
            (json!({ "step": "poll" }), "missing field `effect`"),
            (
                json!({ "step": "x", "effect": "drop" }),
                "unknown variant `x`",
            ),
            (
                json!({ "step": "poll", "effect": "drop", "times": 1 }),
                "unknown field `times`",
            ),
            (
                json!({ "step": "poll", "effect": "delay" }),
                "requires milliseconds",
            ),
            (
                json!({ "step": "poll", "effect": "fail", "status": 404 }),
                "500 to 599",
            ),
            (
                json!({ "step": "poll", "effect": "drop", "probability": 2 }),
                "0 to 1",
            ),
            (
                json!({ "step": "poll", "effect": "tlsAlert" }),
                "does not apply to the step poll",
            ),
            (
                json!({ "step": "connect", "effect": "drop", "device": "d" }),
                "leave out device",
            ),
            (
                json!({ "step": "poll", "effect": "drop", "device": "d".repeat(258) }),
                "more than 257 characters",
            ),
            (
                json!({ "step": "poll", "effect": "drop", "count": -1 }),
                "invalid value",
            ),
        ] {
            let error = read(document).expect_err("refused");
            assert!(error.contains(words), "{error}");
        }
    }
}
