//! A fault: the step and the device that it is for, its effect, and how often it happens.

use std::time::Duration;

use dps_types::ErrorCode;
use serde::{Deserialize, Serialize};

/// A step of a device at which a fault can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum Step {
    /// A TLS connection is complete, on any port, and no request was sent. Connections of service clients count as well.
    Connect,
    /// A registration. A TPM sends two requests over HTTPS, for its challenge and with the answer, and both count. To reach
    /// only the second, let the first pass with a [`Delay`](Effect::Delay) of zero.
    Register,
    /// A poll for the status of a registration.
    Poll,
    /// A device connects to its hub: an MQTT CONNECT.
    HubConnect,
    /// A device reads its twin at its hub.
    TwinGet,
    /// A device patches its reported properties at its hub.
    TwinReport,
    /// A device sends telemetry to its hub.
    Telemetry,
    /// DPS or a hub issues a certificate to a device, after it has accepted the request: the device waits or polls.
    IssueCertificate,
}

/// The effect of a fault.
///
/// At [`Step::Connect`] there is no request to answer or to carry out: every effect but [`Delay`](Self::Delay),
/// [`Silence`](Self::Silence) and [`TlsAlert`](Self::TlsAlert) closes the connection. At [`Step::HubConnect`],
/// [`Throttle`](Self::Throttle) and [`Fail`](Self::Fail) are answered with CONNACK 3 (server unavailable), and
/// [`Malformed`](Self::Malformed) closes the connection. At [`Step::Telemetry`], which has no answer, those three close the
/// connection. At [`Step::IssueCertificate`], every effect but [`Delay`](Self::Delay) and [`Silence`](Self::Silence) makes the
/// issuance fail with an error code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// 429 with error code 429001. The request is not carried out.
    Throttle {
        /// The value of `Retry-After`, in whole seconds.
        retry_after: Duration,
    },
    /// The service fails with this status, 500 to 599. The request is not carried out. Another status is replaced by 500.
    Fail(u16),
    /// The service refuses the request with this error code, such as 503001. The request is not carried out.
    Refuse(ErrorCode),
    /// The connection is closed before the request is carried out.
    Drop,
    /// The request is carried out, and the connection is closed before any answer.
    DropAfter,
    /// The request is carried out after this time.
    Delay(Duration),
    /// The answer has status 200 and a body that is not JSON. The request is not carried out.
    Malformed,
    /// The request is not carried out and has no answer. The connection stays open.
    Silence,
    /// The registration ends with the status `failed` and this error code. The request is not carried out.
    /// [`Step::Register`] and [`Step::Poll`] only.
    Failed(u32),
    /// The registration ends with the status `disabled`. The request is not carried out. [`Step::Register`] and
    /// [`Step::Poll`] only.
    Disabled,
    /// The handshake ends with a fatal TLS alert of this number, such as 40 (handshake_failure) or 80 (internal_error).
    /// [`Step::Connect`] only.
    TlsAlert(u8),
    /// The answer is sent twice. [`Step::Register`] and [`Step::Poll`] over MQTT only.
    AnswerTwice,
    /// The answer has the `$rid` of another request. [`Step::Register`] and [`Step::Poll`] over MQTT only.
    WrongRequestId,
}

impl Effect {
    /// Whether the effect can happen at this step.
    pub fn applies_to(&self, step: Step) -> bool {
        match self {
            Self::TlsAlert(_) => step == Step::Connect,
            Self::Failed(_) | Self::Disabled | Self::AnswerTwice | Self::WrongRequestId => {
                matches!(step, Step::Register | Step::Poll)
            }
            _ => true,
        }
    }
}

/// A fault at a step, once or several times, for all devices or for some.
///
/// As JSON it is one object, which the control endpoint and the configuration file of the program accept:
/// `{"step": "register", "effect": "throttle", "retryAfter": 7, "device": "dev-*", "count": 2, "probability": 0.5}`.
///
/// ```no_run
/// # async fn example(dps: &dps_emulator::Emulator) {
/// use dps_emulator::fault::{Effect, Fault, Step};
///
/// dps.faults().next(Fault::new(Step::Register, Effect::Fail(503)).times(3).device("toaster-*"));
/// # }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    pub(super) step: Step,
    pub(super) effect: Effect,
    pub(super) times: usize,
    pub(super) device: Option<String>,
    pub(super) probability: Option<f64>,
}

impl Fault {
    /// A fault that happens once. An effect that [does not apply](Effect::applies_to) to the step never happens.
    pub fn new(step: Step, effect: Effect) -> Self {
        Self {
            step,
            effect,
            times: 1,
            device: None,
            probability: None,
        }
    }

    /// Makes it happen this many times in a row. With 0 it does not happen.
    #[must_use]
    pub fn times(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Limits it to devices whose registration id or device id matches. In the pattern, `*` matches any text and `?` for one
    /// character; case does not matter. At [`Step::Connect`] the device is not known yet, so that such a fault never happens.
    #[must_use]
    pub fn device(mut self, pattern: impl Into<String>) -> Self {
        self.device = Some(pattern.into());
        self
    }

    /// Makes it happen to a request with this probability, 0 to 1, until it has happened as often as it should.
    #[must_use]
    pub fn probability(mut self, probability: f64) -> Self {
        self.probability = Some(probability.clamp(0.0, 1.0));
        self
    }

    /// Whether the fault is for this step of this device. `device` is `None` while the device is not known.
    pub fn is_for(&self, step: Step, device: Option<&str>) -> bool {
        let is_device = match (&self.device, device) {
            (None, _) => true,
            (Some(pattern), Some(device)) => matches(pattern, device),
            (Some(_), None) => false,
        };
        self.step == step && self.times > 0 && is_device && self.effect.applies_to(step)
    }
}

/// Whether a text matches a pattern with `*` and `?`, without regard to the case of ASCII letters.
fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at_pattern, mut at_text) = (0, 0);
    // The place after the last `*`, and the end of the text that it matches.
    let mut star: Option<(usize, usize)> = None;
    while let Some(found) = text.get(at_text) {
        match pattern.get(at_pattern) {
            Some('*') => {
                at_pattern += 1;
                star = Some((at_pattern, at_text));
            }
            Some(letter) if *letter == '?' || letter.eq_ignore_ascii_case(found) => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => {
                let Some((after, end)) = star else {
                    return false;
                };
                star = Some((after, end + 1));
                (at_pattern, at_text) = (after, end + 1);
            }
        }
    }
    pattern.iter().skip(at_pattern).all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_matches_whole_ids() {
        for (pattern, id, expected) in [
            ("dev-1", "dev-1", true),
            ("dev-1", "DEV-1", true),
            ("dev-1", "dev-10", false),
            ("dev-*", "dev-10", true),
            ("dev-*", "dev-", true),
            ("*-1*", "dev-2-1x", true),
            ("dev-?", "dev-1", true),
            ("dev-?", "dev-", false),
            ("*", "", true),
            ("", "", true),
            ("", "d", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(matches(pattern, id), expected, "{pattern} {id}");
        }
    }

    proptest! {
        #[test]
        fn a_text_matches_itself_and_what_it_contains(before in "[a-z]{0,9}", text in "[a-z]{0,9}", after in "[a-z]{0,9}") {
            let whole = format!("{before}{text}{after}");
            prop_assert!(matches(&text, &text));
            let pattern = format!("*{text}*");
            prop_assert!(matches(&pattern, &whole));
            let pattern = format!("{text}*?");
            prop_assert!(!matches(&pattern, &text));
        }
    }
}
