//! Runs a scenario with a client against the emulator, and compares the result with the expected one.

use dps_types::{HubHostname, RegistrationStatus};
use serde_json::Value;

use crate::client::{Client, Outcome, Report};
use crate::emulator::Emulator;
use crate::scenario::{Enrollment, Expected, Proof, Scenario};

/// Enrolls the device, registers it with the client, and checks the result. Starts its own emulator.
pub(crate) async fn run(client: &Client, scenario: impl FnOnce() -> Scenario) {
    let scenario = scenario();
    let emulator = Emulator::start().await;
    scenario.enroll(&emulator).await;
    let outcome = scenario.register(client, &emulator).await;
    scenario.check(client, &outcome);
    scenario.check_webhook();
    scenario.check_record(&emulator).await;
    emulator.stop().await;
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
        enrolled.expect("the enrollment is created");
    }

    async fn register(&self, client: &Client, emulator: &Emulator) -> Outcome {
        let registration = client.register(emulator, self);
        match &self.webhook {
            Some(webhook) => webhook.serve_during(registration).await,
            None => registration.await,
        }
    }

    pub(crate) fn check(&self, client: &Client, outcome: &Outcome) {
        let report = match &self.expected {
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
            Expected::Failed { .. } => Report::Answer,
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
            panic!("expected {:?}, got {outcome:?}", self.expected);
        };
        match (report, &self.expected) {
            (Report::Error(expected, words), _) => assert_eq!(
                (name.as_deref(), message.as_deref()),
                (Some(expected), Some(words))
            ),
            (
                Report::Answer,
                Expected::Refused {
                    status: answered,
                    error_code: code,
                },
            ) => assert_eq!(
                (*status, *error_code),
                (Some(*answered), Some(*code)),
                "{outcome:?}"
            ),
            (Report::Answer, Expected::Failed { error_code: code }) => {
                assert_eq!(*error_code, Some(*code), "{outcome:?}");
                assert_state(body.as_ref(), "failed");
            }
            (Report::Answer, _) => assert_state(body.as_ref(), "disabled"),
        }
    }

    /// The webhook received one request, with the payload of the device and the keys of its TPM.
    fn check_webhook(&self) {
        let Some(webhook) = &self.webhook else {
            return;
        };
        let requests = webhook.requests();
        let [device] = requests.as_slice() else {
            panic!("expected one request: {requests:?}");
        };
        assert_eq!(device.registration_id, self.device);
        assert_eq!(device.payload, self.payload);
        let tpm = match &self.proof {
            Proof::Tpm(tpm) => Some(tpm.keys()),
            Proof::Certificate(_) | Proof::Key(_) => None,
        };
        assert_eq!(device.tpm, tpm);
    }

    /// The registration record matches the result that the device received.
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
        assert_eq!(record.device_id.expect("a device id").as_str(), *device_id);
    }
}

/// The service's answer is an operation with this status.
fn assert_state(body: Option<&Value>, status: &str) {
    let body = body.expect("the service's answer");
    assert_eq!(body["status"], status, "{body}");
    assert_eq!(body["registrationState"]["status"], status, "{body}");
}
