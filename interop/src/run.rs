//! A scenario played with a client against the emulator, and what came of it held against what must.

use std::env;
use std::io::{Write, stderr};

use dps_types::{HubHostname, RegistrationStatus};
use serde_json::Value;

use crate::client::{Account, Client, Outcome};
use crate::emulator::Emulator;
use crate::scenario::{Enrollment, Expected, Proof, Scenario};

/// Enrolls, registers with the client, and checks, against an emulator of its own.
///
/// # Panics
/// When something is not as expected.
pub async fn run(client: &Client, scenario: impl FnOnce() -> Scenario) {
    if skipped() {
        return;
    }
    let scenario = scenario();
    let emulator = Emulator::start().await;
    scenario.enroll(&emulator).await;
    let outcome = scenario.register(client, &emulator).await;
    scenario.check(client, &outcome);
    scenario.check_webhook();
    scenario.check_record(&emulator).await;
    emulator.stop().await;
}

/// Whether there is nothing here to test against; it says so.
pub fn skipped() -> bool {
    let skipped = env::var_os("DPS_INTEROP").is_none_or(|value| value != "1");
    if skipped {
        // Not eprintln!: the test runner would keep it to itself.
        let _ = writeln!(stderr(), "SKIPPED, not tested: set DPS_INTEROP=1");
    }
    skipped
}

impl Scenario {
    pub(crate) async fn enroll(&self, emulator: &Emulator) {
        let dps = emulator.service();
        let enrolled = match &self.enrollment {
            Enrollment::Group(group) => dps.enrollment_groups().create(group).await.map(drop),
            Enrollment::Individual(enrollment) => dps
                .individual_enrollments()
                .create(enrollment)
                .await
                .map(drop),
            Enrollment::Nothing => Ok(()),
        };
        enrolled.expect("the operator can enroll");
    }

    async fn register(&self, client: &Client, emulator: &Emulator) -> Outcome {
        let registration = client.register(emulator, self);
        match &self.webhook {
            Some(webhook) => webhook.serve_during(registration).await,
            None => registration.await,
        }
    }

    pub(crate) fn check(&self, client: &Client, outcome: &Outcome) {
        let account = match &self.expected {
            Expected::Assigned { hub, device_id } => {
                let echo = self.webhook.as_ref().and(self.payload.as_ref());
                let assigned = Outcome::Assigned {
                    assigned_hub: (*hub).to_owned(),
                    device_id: (*device_id).to_owned(),
                    substatus: Some("initialAssignment".to_owned()),
                    payload: echo.map(|payload| client.reads(payload)),
                    status: Some("assigned".to_owned()),
                };
                assert_eq!(*outcome, assigned);
                return;
            }
            Expected::Failed { .. } => Account::Answer,
            Expected::Refused { .. } => client.unauthorized(),
            Expected::Disabled => client.disabled(),
        };
        let Outcome::Error {
            name,
            message,
            status,
            error_code,
            body,
        } = outcome
        else {
            panic!("{:?} was expected, not {outcome:?}", self.expected);
        };
        match (account, &self.expected) {
            (Account::Error(expected, words), _) => assert_eq!(
                (name.as_deref(), message.as_deref()),
                (Some(expected), Some(words))
            ),
            (
                Account::Answer,
                Expected::Refused {
                    status: answered,
                    error_code: code,
                },
            ) => assert_eq!(
                (*status, *error_code),
                (Some(*answered), Some(*code)),
                "{outcome:?}"
            ),
            (Account::Answer, Expected::Failed { error_code: code }) => {
                assert_eq!(*error_code, Some(*code), "{outcome:?}");
                assert_state(body.as_ref(), "failed");
            }
            (Account::Answer, _) => assert_state(body.as_ref(), "disabled"),
        }
    }

    /// That the webhook was asked once, heard the device, and saw the keys of its TPM.
    fn check_webhook(&self) {
        let Some(webhook) = &self.webhook else {
            return;
        };
        let heard = webhook.heard();
        let [device] = heard.as_slice() else {
            panic!("one question was expected: {heard:?}");
        };
        assert_eq!(device.registration_id, self.device);
        assert_eq!(device.payload, self.payload);
        let tpm = match &self.proof {
            Proof::Tpm(tpm) => Some(tpm.keys()),
            Proof::Certificate(_) | Proof::Key(_) => None,
        };
        assert_eq!(device.tpm, tpm);
    }

    /// That the operator sees what the device was told.
    pub(crate) async fn check_record(&self, emulator: &Emulator) {
        let Expected::Assigned { hub, device_id } = &self.expected else {
            return;
        };
        let record = emulator.service().registrations().get(&self.device).await;
        let record = record.expect("a registration record");
        assert_eq!(record.status, Some(RegistrationStatus::Assigned));
        assert_eq!(
            record.assigned_hub.as_ref().map(HubHostname::as_str),
            Some(*hub)
        );
        assert_eq!(record.device_id.expect("a name").as_str(), *device_id);
    }
}

/// That the service's answer is an operation in this state.
fn assert_state(body: Option<&Value>, status: &str) {
    let body = body.expect("the service's answer");
    assert_eq!(body["status"], status, "{body}");
    assert_eq!(body["registrationState"]["status"], status, "{body}");
}
