//! Carrying out one assignment: from `assigning` to `assigned` or `failed`.

use std::time::Duration;

use dps_types::enrollment::{AttestationMechanism, EnrollmentGroup, IndividualEnrollment};
use dps_types::{
    DeviceId, DeviceRuntimeContext, Enrollment, ErrorCode, HubHostname, OperationId, RegistrationId,
};
use serde_json::Value;

use super::reprovision::Reprovision;
use super::{Engine, credentials, tpm};
use crate::attest::{EnrollmentRef, Proof};
use crate::hub::{Arrival, Authentication, Settlement, Twin};
use crate::service_error::{ServiceError, ServiceFailure};
use crate::state::{Document, Pending, Record, Stored, Verdict};

/// How long to wait before a store that failed is tried again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(60);

impl Engine {
    /// Carries out the operation that is under way for this device, if there is one. A store that fails is tried again,
    /// since a record that stays `assigning` would hold the device until the next start.
    pub(super) async fn assign(&self, key: &str) {
        tokio::time::sleep(self.settings.assign_delay).await;
        let mut decided = None;
        let mut pause = FIRST_PAUSE;
        while let Err(refusal) = self.try_assign(key, &mut decided).await {
            tracing::error!(
                registration = key,
                reason = refusal.message(),
                "assignment not recorded yet"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Decides once, and writes until nobody else has written meanwhile: a webhook is not asked twice for the store's sake.
    async fn try_assign(
        &self,
        key: &str,
        decided: &mut Option<(OperationId, Result<Decision, ServiceFailure>)>,
    ) -> Result<(), ServiceError> {
        loop {
            let Some(stored) = self.state.registration(key).await? else {
                return Ok(());
            };
            let Some(pending) = &stored.record.pending else {
                return Ok(());
            };
            let (operation, outcome) = match &mut *decided {
                Some(decided) => decided,
                none => {
                    let outcome = self.decide(&stored.record, pending).await;
                    none.insert((stored.record.operation.clone(), outcome))
                }
            };
            if stored.record.operation != *operation {
                return Ok(());
            }
            if self.complete(&stored, outcome).await? {
                return Ok(());
            }
        }
    }

    /// Writes how it ended, in the record and in the hubs at once. False when someone else wrote meanwhile.
    async fn complete(
        &self,
        stored: &Stored,
        outcome: &Result<Decision, ServiceFailure>,
    ) -> Result<bool, ServiceError> {
        let record = completed(stored.record.clone(), outcome);
        let (record, settlement) = match outcome {
            Ok(decision) => match credentials::of(&record, &decision.attestation) {
                Ok(authentication) => {
                    let arrival = decision.arrival(&stored.record, authentication);
                    (record, Some(self.hubs.settle(arrival).await?))
                }
                Err(failure) => (completed(stored.record.clone(), &Err(failure)), None),
            },
            Err(_) => (record, None),
        };
        let changes = settlement.as_ref().map(Settlement::changes);
        let written = self
            .state
            .write_registration_with(Some(stored), record, changes.unwrap_or_default())
            .await?;
        let Some(record) = written else {
            return Ok(false);
        };
        if let Some(settlement) = &settlement {
            self.hubs.settled(settlement);
        }
        log(&record);
        Ok(true)
    }

    async fn decide(&self, record: &Record, pending: &Pending) -> Result<Decision, ServiceFailure> {
        let enrollment = self.enrollment_of(record).await?;
        let (terms, device_id) = match &enrollment {
            Enrollment::Individual(one) => (one.terms(), one.device_id.clone()),
            Enrollment::Group(group) => (group.terms(), None),
            _ => return Err(gone()),
        };
        let reprovision = Reprovision::of(terms.reprovision_policy, pending.api_version());
        let keep = record
            .hub
            .as_ref()
            .filter(|_| reprovision == Reprovision::Never);
        let placement = self
            .allocator
            .allocate(&enrollment, context(record, pending), keep)
            .await?;
        let initial = placement.initial_twin.as_ref().or(terms.initial_twin);
        let twin = Twin::new(initial, self.state.now()).map_err(|error| {
            ServiceFailure::new(
                ErrorCode::ARGUMENT_INVALID,
                format!("The initial twin is not valid: {error}."),
            )
        })?;
        Ok(Decision {
            device_id: match device_id {
                Some(id) => id,
                None => same_name(&record.registration_id)?,
            },
            reprovision,
            attestation: terms.attestation.clone(),
            iot_edge: terms.capabilities.is_some_and(|it| it.iot_edge),
            twin,
            hub: placement.hub,
            payload: placement.payload,
        })
    }

    /// The enrollment through which the device registered, as it is now.
    async fn enrollment_of(&self, record: &Record) -> Result<Enrollment, ServiceFailure> {
        let found = match &record.enrollment {
            EnrollmentRef::Individual => {
                let key = record.registration_id.to_lowercase();
                let one: Option<IndividualEnrollment> = self.state.enrollment(&key).await?;
                one.map(|one| Enrollment::Individual(Box::new(one)))
            }
            EnrollmentRef::Group(id) => {
                let group: Option<EnrollmentGroup> =
                    self.state.enrollment(&id.to_lowercase()).await?;
                group.map(|group| Enrollment::Group(Box::new(group)))
            }
        };
        found.ok_or_else(gone)
    }
}

/// A hub, under which name, how the device got there, and what it brings.
struct Decision {
    hub: HubHostname,
    device_id: DeviceId,
    payload: Option<Value>,
    reprovision: Reprovision,
    attestation: AttestationMechanism,
    iot_edge: bool,
    /// For a device that has no twin yet.
    twin: Twin,
}

impl Decision {
    fn arrival<'a>(&'a self, before: &'a Record, authentication: Authentication) -> Arrival<'a> {
        Arrival {
            hub: &self.hub,
            device_id: &self.device_id,
            authentication,
            iot_edge: self.iot_edge,
            initial: &self.twin,
            previous: before.hub.as_ref().zip(before.device_id.as_ref()),
            carry: self.reprovision.carry(),
        }
    }
}

fn completed(mut record: Record, outcome: &Result<Decision, ServiceFailure>) -> Record {
    record.pending = None;
    record.verdict = Some(match outcome {
        Ok(decision) => {
            let substatus = decision
                .reprovision
                .substatus(record.hub.as_ref(), &decision.hub);
            record.hub_key = tpm::hub_key(&record, &decision.hub);
            record.hub = Some(decision.hub.clone());
            record.device_id = Some(decision.device_id.clone());
            Verdict::Assigned {
                substatus,
                payload: decision.payload.clone(),
            }
        }
        Err(failure) => Verdict::Failed(failure.clone()),
    });
    record
}

fn context(record: &Record, pending: &Pending) -> DeviceRuntimeContext {
    let mut context = DeviceRuntimeContext::new(record.registration_id.clone());
    context = match &record.proof {
        Proof::SymmetricKey | Proof::LowerCaseKey => context.with_symmetric_key(),
        Proof::X509 { leaf } => context.with_client_certificate(leaf),
        Proof::Tpm(_) => context,
    };
    context.tpm = record.proof.tpm().map(|proof| proof.keys.shown());
    context.current_iot_hub_host_name.clone_from(&record.hub);
    context.current_device_id.clone_from(&record.device_id);
    context.payload.clone_from(&pending.payload);
    context
}

/// Without a name of its own in the hub, a device goes by its registration id: every character that DPS
/// takes in one, a hub takes in the other.
fn same_name(id: &RegistrationId) -> Result<DeviceId, ServiceFailure> {
    DeviceId::new(id.as_str())
        .map_err(|error| ServiceFailure::new(ErrorCode::ARGUMENT_INVALID, error.to_string()))
}

fn gone() -> ServiceFailure {
    ServiceFailure::new(
        ErrorCode::ENROLLMENT_NOT_FOUND,
        "The enrollment was deleted.",
    )
}

fn log(record: &Record) {
    let registration_id = &record.registration_id;
    match (&record.verdict, &record.hub) {
        (Some(Verdict::Failed(failure)), _) => {
            tracing::warn!(%registration_id, error_code = failure.code.get(), message = failure.message, "registration failed");
        }
        (_, Some(hub)) => tracing::info!(%registration_id, %hub, "assigned"),
        _ => {}
    }
}
