//! The engine: from a device's request and proof to a challenge, an error or an assignment. It has no sockets.
//!
//! A registration is answered at once with an operation id. The allocation continues in a task that the engine owns and waits for
//! on shutdown. After a restart, or if the emulator shares its store and dies, an engine takes the operation over.

mod assign;
mod challenges;
mod credentials;
mod operation;
mod reprovision;
mod take_over;
#[cfg(test)]
mod tests;
mod tpm;

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use dps_types::enrollment::TpmAttestation;
use dps_types::protocol::ApiVersion;
use dps_types::{
    DeviceRegistrationResult, ErrorCode, IdScope, OperationId, RegistrationId,
    RegistrationOperationStatus, RegistrationRequest, RegistrationStatus, json,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attest::{
    self, Authenticated, Candidates, ChainVerifier, Context, Enrolled, Presented, Proof,
};
use crate::instance::Instance;
use crate::service_error::ServiceError;
use crate::state::{Outcome, Pending, Record, Stored, issues_certificates};
use challenges::Challenges;
#[cfg(fuzzing)]
pub(crate) use challenges::StoredChallenge;

/// A device that sends a request, with its proof.
#[derive(Debug)]
pub(crate) struct Device<'a> {
    pub(crate) id_scope: &'a IdScope,
    pub(crate) registration_id: &'a RegistrationId,
    pub(crate) presented: Presented<'a>,
    pub(crate) api_version: ApiVersion,
    /// Whether the transport can carry a challenge to a TPM: HTTPS can, MQTT cannot.
    pub(crate) takes_challenge: bool,
    /// The network address of the client.
    pub(crate) source: IpAddr,
}

#[derive(Debug)]
pub(crate) struct Engine {
    instance: Arc<Instance>,
    challenges: Challenges,
    chains: ChainVerifier,
    tasks: TaskTracker,
    /// The operations that have a task.
    running: Mutex<HashSet<OperationId>>,
    stop: CancellationToken,
}

impl Engine {
    pub(crate) fn new(instance: Arc<Instance>, stop: CancellationToken) -> Self {
        Self {
            challenges: Challenges::new(
                instance.state.limits().tpm_challenges_per_address,
                instance
                    .state
                    .is_shared()
                    .then(|| Arc::clone(instance.state.store())),
            ),
            instance,
            chains: ChainVerifier::default(),
            tasks: TaskTracker::new(),
            running: Mutex::default(),
            stop,
        }
    }

    fn now(&self) -> SystemTime {
        self.instance.now()
    }

    /// Waits until every allocation has stopped. The stop signal must have been sent before.
    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Checks the proof of a device that connects. It is verified again with every request.
    pub(crate) async fn admit(&self, device: Device<'_>) -> Result<(), ServiceError> {
        let known = Box::pin(self.authenticate(&device, None, None)).await?;
        known.enrolled().map(drop)
    }

    /// `PUT …/register`
    pub(crate) async fn register(
        self: &Arc<Self>,
        device: Device<'_>,
        mut request: RegistrationRequest,
    ) -> Result<RegistrationOperationStatus, ServiceError> {
        check_body(&device, &request)?;
        if !issues_certificates(device.api_version) {
            request.csr = None;
        }
        self.instance.throttle.registration(self.now()).await?;
        let known = Box::pin(self.authenticate(&device, request.tpm.as_ref(), None)).await?;
        let enrolled = match known {
            Authenticated::Enrolled(enrolled) => enrolled,
            Authenticated::NotEnrolled(proof) => {
                return self.register_not_enrolled(&device, proof).await;
            }
        };
        if let (Some(csr), false) = (&request.csr, enrolled.enrollment.is_disabled()) {
            self.check_csr(csr, &device, &enrolled)?;
        }
        let key = device.registration_id.to_lowercase();
        let before = self.instance.state.registration(&key).await?;
        if let Some(stored @ Stored { record, .. }) = &before
            && record.pending.is_some()
            && !enrolled.enrollment.is_disabled()
        {
            // A second registration joins the one in progress.
            let status = in_progress(record);
            self.keep_latest(stored, enrolled.proof, request.csr)
                .await?;
            return Ok(status);
        }
        if request.csr.is_some() {
            let id = device.registration_id;
            self.instance.throttle.certificate(id, self.now()).await?;
        }
        let record = self.next_record(before.as_ref(), &device, &enrolled, request);
        let record = self.record(before, record).await?;
        if record.pending.is_none() {
            return Ok(record.operation_status(device.api_version));
        }
        Ok(in_progress(&record))
    }

    /// `GET …/operations/{operationId}`
    pub(crate) async fn operation_status(
        &self,
        device: Device<'_>,
        operation: &OperationId,
    ) -> Result<RegistrationOperationStatus, ServiceError> {
        let id = device.registration_id;
        let stored = self.instance.state.registration(&id.to_lowercase()).await?;
        let record = stored.map(|stored| stored.record);
        let known = Box::pin(self.authenticate(&device, None, record.as_ref())).await?;
        self.instance
            .throttle
            .poll(&id.to_lowercase(), self.now())
            .await?;
        let record = match &known {
            Authenticated::Enrolled(_) => record.filter(|record| record.operation == *operation),
            Authenticated::NotEnrolled(proof) => {
                let now = self.now();
                self.challenges.failed(id, proof, operation, now).await?
            }
        };
        let record = record
            .ok_or_else(|| ServiceError::new(ErrorCode::NOT_FOUND, "Operation not found."))?;
        let mut status = record.operation_status(device.api_version);
        if let (Some(state), Authenticated::Enrolled(enrolled)) =
            (&mut status.registration_state, &known)
        {
            tpm::deliver(state, &record, &enrolled.proof);
        }
        Ok(status)
    }

    /// `POST …/registrations/{registrationId}`: looks up the assignment of a device without registering it.
    pub(crate) async fn lookup(
        &self,
        device: Device<'_>,
        request: RegistrationRequest,
    ) -> Result<DeviceRegistrationResult, ServiceError> {
        check_body(&device, &request)?;
        if request.csr.is_some() && issues_certificates(device.api_version) {
            return Err(ServiceError::invalid(
                "A status look-up must not have a csr: register to get a certificate.",
            ));
        }
        self.instance.throttle.registration(self.now()).await?;
        let id = device.registration_id;
        let stored = self.instance.state.registration(&id.to_lowercase()).await?;
        let record = stored.map(|stored| stored.record);
        let known =
            Box::pin(self.authenticate(&device, request.tpm.as_ref(), record.as_ref())).await?;
        let enrolled = known.enrolled()?;
        let unregistered = |status| DeviceRegistrationResult::new(id.clone(), status);
        if enrolled.enrollment.is_disabled() {
            return Ok(unregistered(RegistrationStatus::Disabled));
        }
        match record {
            Some(record) => {
                let mut result = record.result(device.api_version);
                tpm::deliver(&mut result, &record, &enrolled.proof);
                Ok(result)
            }
            None => Ok(unregistered(RegistrationStatus::Unassigned)),
        }
    }

    /// The answer to a request of a device whose registration a fault ends: failed with an error, or disabled.
    pub(crate) fn ended_by_fault(
        &self,
        registration_id: &RegistrationId,
        operation: Option<&OperationId>,
        error: Option<ErrorCode>,
    ) -> RegistrationOperationStatus {
        let status = match error {
            Some(_) => RegistrationStatus::Failed,
            None => RegistrationStatus::Disabled,
        };
        let mut state = DeviceRegistrationResult::new(registration_id.clone(), status.clone());
        state.error_code = error;
        state.error_message = error.map(|_| "An injected fault.".to_owned());
        // The service returns no operation id if the enrollment is disabled.
        let operation = error.map(|_| match operation {
            Some(operation) => operation.clone(),
            None => operation::new_id(&self.instance.id_scope, self.instance.state.random()),
        });
        RegistrationOperationStatus::new(operation, status, Some(state))
    }

    /// Verifies the proof of a device. `shown` are the keys of a TPM in the request. `registered` is the device's record, if it
    /// may identify the device: a TPM needs a challenge to register, and then signs polls with the same key.
    async fn authenticate(
        &self,
        device: &Device<'_>,
        shown: Option<&TpmAttestation>,
        registered: Option<&Record>,
    ) -> Result<Authenticated, ServiceError> {
        let own = &self.instance.id_scope;
        if device.id_scope != own {
            return Err(ServiceError::unauthorized().with_reason(format!(
                "the id scope is '{}', and this instance has '{own}'",
                device.id_scope
            )));
        }
        let (mut challenge, mut tpm) = (None, Vec::new());
        if device.takes_challenge {
            let answered = self.answered(device).await?;
            if let Some(shown) = shown
                && self.may_challenge(device, shown, answered.as_ref()).await?
            {
                challenge = Some(shown);
            }
            tpm.extend(answered);
            tpm.extend(registered.and_then(|record| record.proof.tpm()).cloned());
        }
        let verified_cas = match device.presented {
            Presented::Chain(_) => self.instance.cas.verified().await?,
            _ => Vec::new(),
        };
        let context = Context {
            id_scope: device.id_scope.clone(),
            registration_id: device.registration_id.clone(),
            now: self.now(),
            verified_cas,
            require_verified_ca: self.instance.settings.require_verified_ca,
            tpm,
        };
        let candidates = self.candidates(device.registration_id).await?;
        let enrolled_key = challenge.and_then(|_| tpm::enrolled_key(&candidates));
        let presented = &device.presented;
        let known = Box::pin(attest::authenticate(
            &self.chains,
            candidates,
            context,
            presented,
        ))
        .await;
        match (known, challenge) {
            (Err(refusal), Some(shown)) if refusal.status() == 401 => {
                Err(self.challenge(device, shown, enrolled_key.as_ref()).await)
            }
            (Ok(known), _) => {
                if let (Some(proof), Some(shown)) = (known.tpm(), shown) {
                    tpm::check_keys(proof, shown)?;
                }
                Ok(known)
            }
            (refused, _) => refused,
        }
    }

    /// Reads the enrollments that may apply to a device.
    async fn candidates(&self, id: &RegistrationId) -> Result<Candidates, ServiceError> {
        match self.instance.state.enrollment(&id.to_lowercase()).await? {
            Some(individual) => Ok(Candidates::Individual(Box::new(individual))),
            None => Ok(Candidates::Groups(self.instance.state.groups().await?)),
        }
    }

    /// A device that registers again while its registration is in progress continues with its latest key and its latest
    /// certificate request: a TPM was challenged again, and a device may have made a new key pair.
    async fn keep_latest(
        &self,
        stored: &Stored,
        proof: Proof,
        csr: Option<String>,
    ) -> Result<(), ServiceError> {
        let mut record = stored.record.clone();
        if proof.tpm().is_some() && proof != record.proof {
            record.hub_key = tpm::kept_hub_key(&record, &proof);
            record.proof = proof;
        }
        if let (Some(pending), Some(csr)) = (&mut record.pending, csr) {
            if pending.csr.as_ref() != Some(&csr) {
                let id = &record.registration_id;
                self.instance.throttle.certificate(id, self.now()).await?;
            }
            pending.csr = Some(csr);
        }
        if record == stored.record {
            return Ok(());
        }
        let written = self.instance.state.write_registration(Some(stored), record);
        match written.await? {
            Some(_) => Ok(()),
            None => Err(ServiceError::conflict()),
        }
    }

    /// Checks that the enrollment's certificate authority can answer a certificate request.
    fn check_csr(
        &self,
        csr: &str,
        device: &Device<'_>,
        enrolled: &Enrolled,
    ) -> Result<(), ServiceError> {
        let issuance = &self.instance.issuance;
        let issuer = issuance.issuer(&enrolled.enrollment.terms())?;
        issuance.check(csr, device.registration_id, &issuer)
    }

    /// The record of a new registration: it keeps the device's assignment and has a new operation.
    fn next_record(
        &self,
        before: Option<&Stored>,
        device: &Device<'_>,
        enrolled: &Enrolled,
        request: RegistrationRequest,
    ) -> Record {
        let now = self.instance.state.now();
        let (pending, outcome) = match enrolled.enrollment.is_disabled() {
            true => (None, Some(Outcome::Disabled)),
            false => {
                let api_version = device.api_version.to_string();
                (
                    Some(Pending {
                        payload: request.payload,
                        csr: request.csr,
                        api_version,
                    }),
                    None,
                )
            }
        };
        let known = before.map(|stored| stored.record.clone());
        let hub_key = known
            .as_ref()
            .and_then(|known| tpm::kept_hub_key(known, &enrolled.proof));
        Record {
            registration_id: device.registration_id.clone(),
            enrollment: enrolled.enrollment.reference(),
            proof: enrolled.proof.clone(),
            created: known.as_ref().map_or(now, |record| record.created),
            last_updated: now,
            etag: self.instance.state.new_version(),
            operation: operation::new_id(&self.instance.id_scope, self.instance.state.random()),
            pending,
            hub: known.as_ref().and_then(|record| record.hub.clone()),
            credential: known.as_ref().and_then(|record| record.credential.clone()),
            device_id: known.and_then(|record| record.device_id),
            hub_key,
            outcome,
            issued_chain: Vec::new(),
        }
    }

    /// Writes the record and starts the operation, in a task that the engine owns. A device that disconnects in between must
    /// not leave an operation that never runs, because its next registration would join it.
    async fn record(
        self: &Arc<Self>,
        before: Option<Stored>,
        record: Record,
    ) -> Result<Record, ServiceError> {
        let engine = Arc::clone(self);
        // Boxed, because tokio moves a task several times before its first poll.
        let written = self.tasks.spawn(Box::pin(async move {
            let key = record.registration_id.to_lowercase();
            let operation = record.operation.clone();
            let is_pending = record.pending.is_some();
            let written = engine.instance.state.write_registration(before.as_ref(), record);
            let written = written.await;
            if is_pending && written.is_err() {
                // It is unknown whether the record was written.
                engine.begin(key.clone(), operation.clone());
            }
            let record = written?.ok_or_else(ServiceError::conflict)?;
            tracing::info!(registration_id = %record.registration_id, status = %record.status(), "registration");
            if record.pending.is_some() {
                engine.begin(key, operation);
            }
            Ok(record)
        }));
        written.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a registration failed to run");
            Err(ServiceError::new(
                ErrorCode::SERVER_ERROR,
                "The registration failed. The cause is in the emulator's log.",
            ))
        })
    }

    /// Carries the operation out in a task, unless one does so.
    fn begin(self: &Arc<Self>, key: String, operation: OperationId) {
        if !self.running().insert(operation.clone()) {
            return;
        }
        let engine = Arc::clone(self);
        // Boxed as in `record`.
        self.tasks.spawn(Box::pin(async move {
            let running = Running(&engine, &operation);
            tokio::select! {
                () = engine.stop.cancelled() => {}
                () = engine.assign(&key, &operation) => {}
            }
            drop(running);
        }));
    }

    fn running(&self) -> MutexGuard<'_, HashSet<OperationId>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Removes the operation from those that have a task, also if the task panics.
struct Running<'a>(&'a Engine, &'a OperationId);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running().remove(self.1);
    }
}

/// The answer to a registration: the operation, without the device's state.
fn in_progress(record: &Record) -> RegistrationOperationStatus {
    RegistrationOperationStatus::new(
        Some(record.operation.clone()),
        RegistrationStatus::Assigning,
        None,
    )
}

/// Checks that the id in the body, if there is one, is the one in the path.
fn check_body(device: &Device<'_>, request: &RegistrationRequest) -> Result<(), ServiceError> {
    if let Some(payload) = &request.payload {
        json::check_depth(payload)?;
    }
    match &request.registration_id {
        Some(id) if id != device.registration_id => Err(ServiceError::invalid(
            "The registrationId in the body is not the one in the path.",
        )),
        _ => Ok(()),
    }
}
