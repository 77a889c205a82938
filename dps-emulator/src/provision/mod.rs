//! The engine: (enrollments, proof, request) to challenge, refusal or assignment. No sockets.
//!
//! A registration answers at once with an operation id. The allocation goes on in a task that the engine
//! owns, joins on shutdown, and takes up again after a restart.

mod assign;
mod challenges;
mod credentials;
mod operation;
mod reprovision;
#[cfg(test)]
mod tests;
mod tpm;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use dps_types::enrollment::TpmAttestation;
use dps_types::protocol::ApiVersion;
use dps_types::{
    Clock, DeviceRegistrationResult, ErrorCode, IdScope, OperationId, RegistrationId,
    RegistrationOperationStatus, RegistrationRequest, RegistrationStatus, json,
};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::allocate::Allocator;
use crate::attest::{self, Authenticated, Candidates, ChainVerifier, Context, Enrolled, Presented};
use crate::ca_certificates::CaCertificates;
use crate::hub::Hubs;
use crate::limits::Throttle;
use crate::service_error::ServiceError;
use crate::state::{Outcome, Pending, Record, State, Stored};
use challenges::Challenges;

/// How an instance behaves.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) id_scope: IdScope,
    /// How long an assignment takes at least.
    pub(crate) assign_delay: Duration,
    pub(crate) require_verified_ca: bool,
}

/// A device that asks, and what it shows.
#[derive(Debug)]
pub(crate) struct Device<'a> {
    pub(crate) id_scope: &'a IdScope,
    pub(crate) registration_id: &'a RegistrationId,
    pub(crate) presented: Presented<'a>,
    pub(crate) api_version: ApiVersion,
    /// Whether a challenge can reach it: a TPM comes over HTTPS, and not over MQTT.
    pub(crate) takes_challenge: bool,
}

#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) state: State,
    pub(crate) cas: CaCertificates,
    pub(crate) throttle: Throttle,
    pub(crate) allocator: Allocator,
    hubs: Arc<Hubs>,
    challenges: Challenges,
    chains: ChainVerifier,
    clock: Arc<dyn Clock>,
    settings: Settings,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Engine {
    pub(crate) fn new(
        state: State,
        cas: CaCertificates,
        allocator: Allocator,
        hubs: Arc<Hubs>,
        clock: Arc<dyn Clock>,
        settings: Settings,
        stop: CancellationToken,
    ) -> Self {
        let throttle = Throttle::new(state.limits());
        Self {
            state,
            cas,
            throttle,
            allocator,
            hubs,
            challenges: Challenges::default(),
            chains: ChainVerifier::default(),
            clock,
            settings,
            tasks: TaskTracker::new(),
            stop,
        }
    }

    /// Goes on with the registrations that were under way when the emulator stopped.
    pub(crate) async fn resume(self: &Arc<Self>) -> Result<(), ServiceError> {
        for key in self.state.assigning().await? {
            self.begin(key);
        }
        Ok(())
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Waits for every allocation to stop. They must have been told to before.
    pub(crate) async fn stopped(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Whether the device may come in at all: its proof is verified again with every request.
    pub(crate) async fn admit(&self, device: Device<'_>) -> Result<(), ServiceError> {
        let known = Box::pin(self.authenticate(&device, None, None)).await?;
        known.enrolled().map(drop)
    }

    /// `PUT …/register`
    pub(crate) async fn register(
        self: &Arc<Self>,
        device: Device<'_>,
        request: RegistrationRequest,
    ) -> Result<RegistrationOperationStatus, ServiceError> {
        check_body(&device, &request)?;
        self.throttle.registration(self.now())?;
        let known = Box::pin(self.authenticate(&device, request.tpm.as_ref(), None)).await?;
        let enrolled = match known {
            Authenticated::Enrolled(enrolled) => enrolled,
            Authenticated::NotEnrolled(proof) => return Ok(self.register_stranger(&device, proof)),
        };
        let key = device.registration_id.to_lowercase();
        let before = self.state.registration(&key).await?;
        if let Some(stored @ Stored { record, .. }) = &before
            && record.pending.is_some()
            && !enrolled.is_disabled()
        {
            // A second registration joins the one under way.
            let status = under_way(record);
            self.keep_latest_key(stored, enrolled.proof).await?;
            return Ok(status);
        }
        let record = self.next_record(before.as_ref(), &device, &enrolled, request);
        let record = self.record(before, record).await?;
        if record.pending.is_none() {
            return Ok(record.operation_status(device.api_version));
        }
        Ok(under_way(&record))
    }

    /// `GET …/operations/{operationId}`
    pub(crate) async fn operation_status(
        &self,
        device: Device<'_>,
        operation: &OperationId,
    ) -> Result<RegistrationOperationStatus, ServiceError> {
        let id = device.registration_id;
        let stored = self.state.registration(&id.to_lowercase()).await?;
        let record = stored.map(|stored| stored.record);
        let known = Box::pin(self.authenticate(&device, None, record.as_ref())).await?;
        self.throttle.poll(&id.to_lowercase(), self.now())?;
        let record = match &known {
            Authenticated::Enrolled(_) => record.filter(|record| record.operation == *operation),
            Authenticated::NotEnrolled(proof) => {
                self.challenges.failed(id, proof, operation, self.now())
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

    /// `POST …/registrations/{registrationId}`: where is the device, without registering it.
    pub(crate) async fn lookup(
        &self,
        device: Device<'_>,
        request: RegistrationRequest,
    ) -> Result<DeviceRegistrationResult, ServiceError> {
        check_body(&device, &request)?;
        self.throttle.registration(self.now())?;
        let id = device.registration_id;
        let stored = self.state.registration(&id.to_lowercase()).await?;
        let record = stored.map(|stored| stored.record);
        let known =
            Box::pin(self.authenticate(&device, request.tpm.as_ref(), record.as_ref())).await?;
        let enrolled = known.enrolled()?;
        let unregistered = |status| DeviceRegistrationResult::new(id.clone(), status);
        if enrolled.is_disabled() {
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

    /// `shown` are the keys of a TPM in the request, `registered` what is known of the device, when that is enough to
    /// recognise it: a TPM needs a challenge to register, and from then on signs with the same key.
    async fn authenticate(
        &self,
        device: &Device<'_>,
        shown: Option<&TpmAttestation>,
        registered: Option<&Record>,
    ) -> Result<Authenticated, ServiceError> {
        if *device.id_scope != self.settings.id_scope {
            return Err(ServiceError::unauthorized().with_reason(format!(
                "the id scope is '{}', and this instance has '{}'",
                device.id_scope, self.settings.id_scope
            )));
        }
        let (mut challenge, mut tpm) = (None, Vec::new());
        if device.takes_challenge {
            let answered = self.answered(device);
            challenge = shown.filter(|shown| self.may_challenge(device, shown, answered.as_ref()));
            tpm.extend(answered);
            tpm.extend(registered.and_then(|record| record.proof.tpm()).cloned());
        }
        let verified_cas = match device.presented {
            Presented::Chain(_) => self.cas.verified().await?,
            _ => Vec::new(),
        };
        let context = Context {
            id_scope: device.id_scope.clone(),
            registration_id: device.registration_id.clone(),
            now: self.now(),
            verified_cas,
            require_verified_ca: self.settings.require_verified_ca,
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
                Err(self.challenge(device, shown, enrolled_key.as_ref()))
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
        match self.state.enrollment(&id.to_lowercase()).await? {
            Some(individual) => Ok(Candidates::Individual(Box::new(individual))),
            None => Ok(Candidates::Groups(self.state.enrollments().await?)),
        }
    }

    /// The record of a registration that begins: what is known of the device stays, the operation is new.
    fn next_record(
        &self,
        before: Option<&Stored>,
        device: &Device<'_>,
        enrolled: &Enrolled,
        request: RegistrationRequest,
    ) -> Record {
        let now = self.state.now();
        let (pending, outcome) = match enrolled.is_disabled() {
            true => (None, Some(Outcome::Disabled)),
            false => {
                let api_version = device.api_version.to_string();
                (
                    Some(Pending {
                        payload: request.payload,
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
            enrollment: enrolled.reference(),
            proof: enrolled.proof.clone(),
            created: known.as_ref().map_or(now, |record| record.created),
            last_updated: now,
            etag: self.state.new_version(),
            operation: operation::new_id(&self.settings.id_scope),
            pending,
            hub: known.as_ref().and_then(|record| record.hub.clone()),
            device_id: known.and_then(|record| record.device_id),
            hub_key,
            outcome,
        }
    }

    /// Writes the record and begins the operation, in a task that the engine owns: a device that hangs up in between
    /// must not leave an operation that nobody carries out, and that its next registration would join.
    async fn record(
        self: &Arc<Self>,
        before: Option<Stored>,
        record: Record,
    ) -> Result<Record, ServiceError> {
        let engine = Arc::clone(self);
        let written = self.tasks.spawn(async move {
            let record = engine
                .state
                .write_registration(before.as_ref(), record)
                .await?
                .ok_or_else(ServiceError::conflict)?;
            tracing::info!(registration_id = %record.registration_id, status = %record.status(), "registration");
            if record.pending.is_some() {
                engine.begin(record.registration_id.to_lowercase());
            }
            Ok(record)
        });
        written.await.unwrap_or_else(|error| {
            tracing::error!(%error, "a registration broke off");
            Err(ServiceError::new(
                ErrorCode::SERVER_ERROR,
                "The registration broke off. The cause is in the emulator's log.",
            ))
        })
    }

    fn begin(self: &Arc<Self>, key: String) {
        let engine = Arc::clone(self);
        self.tasks.spawn(async move {
            tokio::select! {
                () = engine.stop.cancelled() => {}
                () = engine.assign(&key) => {}
            }
        });
    }
}

/// The answer to a registration: the operation, and nothing about the device yet.
fn under_way(record: &Record) -> RegistrationOperationStatus {
    RegistrationOperationStatus::new(
        Some(record.operation.clone()),
        RegistrationStatus::Assigning,
        None,
    )
}

/// The id in the body, when there is one, must be the one in the path. Certificates are not issued here: a device that
/// asks for one must not believe that it got one.
fn check_body(device: &Device<'_>, request: &RegistrationRequest) -> Result<(), ServiceError> {
    if request.extra.get("csr").is_some_and(|csr| !csr.is_null()) {
        return Err(ServiceError::invalid(
            "A csr needs an enrollment with a credentialPolicyName, which this emulator does not have.",
        ));
    }
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
