//! Carries out an assignment: from `assigning` to `assigned` or `failed`.

use std::time::Duration;

use dps_types::enrollment::{AttestationMechanism, IndividualEnrollment};
use dps_types::{DeviceId, DeviceRuntimeContext, ErrorCode, HubHostname, OperationId};
use serde_json::Value;

use super::reprovision::Reprovision;
use super::{Engine, credentials, tpm};
use crate::attest::{DeviceEnrollment, EnrollmentRef, Proof};
use crate::hub::{AssignmentChange, Authentication, NewAssignment, Twin};
use crate::issuance::{Credential, IssuerName};
use crate::service_error::{ServiceError, ServiceFailure};
use crate::state::store::{Change, Expected, Table};
use crate::state::{Outcome, Pending, Record, Stored, sentence};

/// The first and the longest pause before a store that failed is used again.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(60);

impl Engine {
    /// Carries out the operation in progress of this device, if there is one. Retries when the store fails, because a record
    /// that stays `assigning` would block the device until the next start.
    pub(super) async fn assign(&self, key: &str, operation: &OperationId) {
        let delay = self.instance.settings.assign_delay;
        // tokio's shortest sleep is the rest of a millisecond.
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let mut decided = None;
        let mut pause = FIRST_PAUSE;
        while let Err(refusal) = self.try_assign(key, operation, &mut decided).await {
            tracing::error!(
                registration = key,
                reason = refusal.message(),
                "the assignment cannot be written; retrying"
            );
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    }

    /// Decides once, and retries the write when another request wrote the record: a webhook must not be called twice. Ends without
    /// a write if the operation has ended or another replica has taken it over.
    async fn try_assign(
        &self,
        key: &str,
        operation: &OperationId,
        decided: &mut Option<Result<Allocated, ServiceFailure>>,
    ) -> Result<(), ServiceError> {
        loop {
            let Some(stored) = self.instance.state.registration(key).await? else {
                return Ok(());
            };
            let Some(pending) = &stored.record.pending else {
                return Ok(());
            };
            if stored.record.operation != *operation {
                return Ok(());
            }
            let outcome = match &mut *decided {
                Some(decided) => decided,
                none => none.insert(self.decide(&stored.record, pending).await),
            };
            if self.complete(&stored, outcome).await?
                || !self.instance.state.carries_out(key, operation).await?
            {
                return Ok(());
            }
        }
    }

    /// Writes the result to the record and to the hubs in one change. Returns false if another request wrote the record, or if
    /// another replica carries the operation out.
    async fn complete(
        &self,
        stored: &Stored,
        outcome: &Result<Allocated, ServiceFailure>,
    ) -> Result<bool, ServiceError> {
        let settled = match outcome {
            Ok(decision) => {
                let settled = self.settle(&stored.record, decision).await;
                settled.map(|settled| (decision, settled))
            }
            Err(failure) => Err(failure.clone()),
        };
        let (record, change) = match settled {
            Ok((decision, (record, authentication))) => {
                let assignment = decision.assignment(&stored.record, authentication);
                let change = self.instance.hubs.plan_assignment(assignment).await?;
                (record, Some(change))
            }
            Err(failure) => (failed(stored.record.clone(), failure), None),
        };
        let state = &self.instance.state;
        let key = stored.record.registration_id.to_lowercase();
        let entry = state.operation_entry(&stored.record.operation);
        let mut changes = change
            .as_ref()
            .map(AssignmentChange::changes)
            .unwrap_or_default();
        changes.push(Change::check(
            Table::Operations,
            &key,
            Expected::Exactly(&entry),
        ));
        let written = state
            .write_registration_with(Some(stored), record, changes)
            .await?;
        let Some(record) = written else {
            return Ok(false);
        };
        if let Some(change) = &change {
            self.instance.hubs.committed(change).await;
        }
        log(&record);
        Ok(true)
    }

    /// The record of a successful assignment, and how the device authenticates to its hub. A certificate request of the device
    /// is answered now.
    async fn settle(
        &self,
        before: &Record,
        decision: &Allocated,
    ) -> Result<(Record, Authentication), ServiceFailure> {
        let mut record = assigned(before.clone(), decision);
        let csr = before.pending.as_ref().and_then(|it| it.csr.as_deref());
        record.credential = match (&decision.issuer, csr) {
            (Ok(issuer), Some(_)) => {
                let kept = record.credential.take();
                let kept = kept.filter(|credential| credential.issuer == *issuer);
                let new = || Credential::new(record.registration_id.clone(), issuer.clone());
                Some(kept.unwrap_or_else(new))
            }
            (Ok(_), None) => record.credential.take(),
            (Err(failure), Some(_)) => return Err(failure.clone()),
            (Err(_), None) => None,
        };
        if let (Some(csr), Some(credential)) = (csr, &record.credential) {
            record.issued_chain = self.instance.issuance.issue(csr, credential).await?;
        }
        let authentication = credentials::of(&record, &decision.attestation)?;
        Ok((record, authentication))
    }

    async fn decide(
        &self,
        record: &Record,
        pending: &Pending,
    ) -> Result<Allocated, ServiceFailure> {
        let enrollment = self.enrollment_of(record).await?;
        let terms = enrollment.terms();
        let reprovision = Reprovision::of(terms.reprovision_policy, pending.api_version());
        let keep = record
            .hub
            .as_ref()
            .filter(|_| reprovision == Reprovision::Never);
        let allocation = self
            .instance
            .allocator
            .allocate(&enrollment, context(record, pending), keep)
            .await?;
        let initial = allocation.initial_twin.as_ref().or(terms.initial_twin);
        let initial_twin = Twin::new(initial, self.instance.state.now()).map_err(|error| {
            ServiceFailure::new(
                ErrorCode::ARGUMENT_INVALID,
                sentence(format!("The initial twin is not valid: {error}")),
            )
        })?;
        Ok(Allocated {
            device_id: match enrollment.device_id() {
                Some(id) => id.clone(),
                None => default_device_id(record)?,
            },
            reprovision,
            attestation: terms.attestation.clone(),
            issuer: self.instance.issuance.issuer(&terms).map_err(Into::into),
            iot_edge: terms.capabilities.is_some_and(|it| it.iot_edge),
            initial_twin,
            hub: allocation.hub,
            payload: allocation.payload,
        })
    }

    /// The enrollment through which the device registered, as it is now.
    async fn enrollment_of(&self, record: &Record) -> Result<DeviceEnrollment, ServiceFailure> {
        let found = match &record.enrollment {
            EnrollmentRef::Individual => {
                let key = record.registration_id.to_lowercase();
                let one: Option<IndividualEnrollment> =
                    self.instance.state.enrollment(&key).await?;
                one.map(|one| DeviceEnrollment::Individual(Box::new(one)))
            }
            EnrollmentRef::Group(id) => {
                let group = self.instance.state.group(&id.to_lowercase()).await?;
                group.map(DeviceEnrollment::Group)
            }
        };
        found.ok_or_else(enrollment_deleted)
    }
}

/// A successful allocation: the hub, the device id there, and what is written with it.
struct Allocated {
    hub: HubHostname,
    device_id: DeviceId,
    payload: Option<Value>,
    reprovision: Reprovision,
    attestation: AttestationMechanism,
    /// The certificate authority of the enrollment, or the reason for which it has no certificate authority.
    issuer: Result<IssuerName, ServiceFailure>,
    iot_edge: bool,
    /// The twin for a device that has no twin yet.
    initial_twin: Twin,
}

impl Allocated {
    fn assignment<'a>(
        &'a self,
        before: &'a Record,
        authentication: Authentication,
    ) -> NewAssignment<'a> {
        NewAssignment {
            hub: &self.hub,
            device_id: &self.device_id,
            authentication,
            iot_edge: self.iot_edge,
            initial_twin: &self.initial_twin,
            previous: before.hub.as_ref().zip(before.device_id.as_ref()),
            twin_transfer: self.reprovision.twin_transfer(),
        }
    }
}

fn assigned(mut record: Record, decision: &Allocated) -> Record {
    record.pending = None;
    let substatus = decision
        .reprovision
        .substatus(record.hub.as_ref(), &decision.hub);
    record.hub_key = tpm::hub_key(&record, &decision.hub);
    record.hub = Some(decision.hub.clone());
    record.device_id = Some(decision.device_id.clone());
    record.outcome = Some(Outcome::Assigned {
        substatus,
        payload: decision.payload.clone(),
    });
    record
}

fn failed(mut record: Record, failure: ServiceFailure) -> Record {
    record.pending = None;
    record.outcome = Some(Outcome::Failed(failure));
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

/// The device id if the enrollment does not name one: the registration id.
///
/// Registration ids are case-insensitive and device ids are not. A device that registers again with its id in another case
/// keeps its device id, so that it has one identity in the hub.
fn default_device_id(record: &Record) -> Result<DeviceId, ServiceFailure> {
    let id = record.registration_id.as_str();
    let is_same = |kept: &&DeviceId| kept.as_str().eq_ignore_ascii_case(id);
    if let Some(kept) = record.device_id.as_ref().filter(is_same) {
        return Ok(kept.clone());
    }
    DeviceId::new(id)
        .map_err(|error| ServiceFailure::new(ErrorCode::ARGUMENT_INVALID, error.to_string()))
}

fn enrollment_deleted() -> ServiceFailure {
    ServiceFailure::new(
        ErrorCode::ENROLLMENT_NOT_FOUND,
        "The enrollment was deleted.",
    )
}

fn log(record: &Record) {
    let registration_id = &record.registration_id;
    match (&record.outcome, &record.hub) {
        (Some(Outcome::Failed(failure)), _) => {
            tracing::warn!(%registration_id, error_code = failure.code.get(), message = failure.message, "registration failed");
        }
        (_, Some(hub)) => tracing::info!(%registration_id, %hub, "assigned"),
        _ => {}
    }
}
