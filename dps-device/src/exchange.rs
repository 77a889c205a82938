//! Sends requests to the service: sessions, retries and waits under one deadline.

use std::time::{Duration, SystemTime};

use dps_types::{OperationId, RegistrationId, RegistrationRequest};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Span;

use crate::answer;
use crate::assignment::Assignment;
use crate::attestation::proof::{Proof, proof};
use crate::attestation::tpm_keys::TpmKeys;
use crate::client::ProvisioningClient;
use crate::clock_skew;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Events};
use crate::hub_key::keep_hub_key;
use crate::poll::{Pace, after};
use crate::retry::{Reaction, Situation, reaction};
use crate::transport::error::TransportError;
use crate::transport::reply::Reply;
use crate::transport::session::Session;

/// A request of a device.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question<'q> {
    Register,
    Status(&'q OperationId),
    Lookup,
}

/// Sends requests and retries them until the deadline. It uses one session until that fails or is stale.
pub(crate) struct Exchange<'a> {
    client: &'a ProvisioningClient,
    body: RegistrationRequest,
    events: Events,
    span: Span,
    pace: Pace,
    limit: Duration,
    deadline: Instant,
    session: Option<Box<dyn Session + 'a>>,
    on_secondary: bool,
    /// The device registers again because the service lost the operation. A registration that succeeds then does not end
    /// the backoff, only a poll does.
    reregistering: bool,
    attempts: u64,
    last_failure: Option<Error>,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(
        client: &'a ProvisioningClient,
        body: RegistrationRequest,
        limit: Duration,
        events: Events,
        span: Span,
    ) -> Self {
        Self {
            client,
            body,
            events,
            span,
            pace: Pace::new(client.min_poll_interval),
            limit,
            deadline: after(limit),
            session: None,
            on_secondary: false,
            reregistering: false,
            attempts: 0,
            last_failure: None,
        }
    }

    /// Sends a request until the service answers with a success. Failures that may recover are retried.
    pub(crate) async fn ask(&mut self, question: Question<'_>) -> Result<Reply, Error> {
        loop {
            let error = match self.attempt(question).await {
                Ok(reply) => {
                    self.succeeded(question);
                    return Ok(reply);
                }
                Err(error) => error,
            };
            let polling = matches!(question, Question::Status(_));
            match self.reaction(&error, polling) {
                Reaction::UseSecondary => self.use_secondary(error),
                Reaction::Retry => self.wait_to_retry(error).await?,
                Reaction::RegisterAgain | Reaction::Fail => return Err(error),
            }
        }
    }

    /// Waits before the next poll of the operation.
    pub(crate) async fn wait_to_poll(
        &mut self,
        operation_id: &OperationId,
        retry_after: Option<Duration>,
    ) -> Result<(), Error> {
        let wait = self.next_wait(retry_after)?;
        self.events.emit(Event::Assigning {
            operation_id: operation_id.clone(),
            wait,
        });
        sleep(wait).await;
        Ok(())
    }

    /// Waits before a failed request is sent again.
    pub(crate) async fn wait_to_retry(&mut self, error: Error) -> Result<(), Error> {
        self.pace.failed_as(error.kind());
        self.last_failure = Some(error.clone());
        let wait = self.next_wait(error.retry_after())?;
        self.events.emit(Event::Retrying { error, wait });
        sleep(wait).await;
        Ok(())
    }

    /// Waits before the device registers again because the operation is lost. The wait grows until a poll succeeds.
    pub(crate) async fn wait_to_register_again(&mut self, error: Error) -> Result<(), Error> {
        self.reregistering = true;
        self.wait_to_retry(error).await
    }

    /// Stores the hub key of the assignment in the TPM, if the proof is a TPM.
    pub(crate) async fn keep_hub_key(&mut self, assignment: &Assignment) -> Result<(), Error> {
        let Some(tpm) = self.tpm() else {
            return Ok(());
        };
        // With an issued certificate the device needs no hub key.
        if self.body.csr.is_some() && assignment.hub_key().is_none() {
            return Ok(());
        }
        let limit = self.client.target.request_timeout();
        let stored = timeout_at(self.deadline, keep_hub_key(tpm, assignment, limit));
        stored.await.unwrap_or_else(|_| Err(self.out_of_time(None)))
    }

    /// Decides what to do after a failure.
    pub(crate) fn reaction(&self, error: &Error, polling: bool) -> Reaction {
        let has_secondary =
            !self.on_secondary && self.client.attestation.secondary_proof().is_some();
        let situation = Situation {
            polling,
            has_secondary,
            can_lose_challenge: !self.reregistering && self.tpm().is_some(),
        };
        reaction(error, situation)
    }

    pub(crate) fn registration_id(&self) -> &RegistrationId {
        self.client.target.registration_id()
    }

    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// One request, one reply. A session that failed is not used again.
    async fn attempt(&mut self, question: Question<'_>) -> Result<Reply, Error> {
        self.attempts += 1;
        self.span.record("attempt", self.attempts);
        let time_limit = self.client.target.request_timeout();
        let until = after(time_limit).min(self.deadline);
        let error = match timeout_at(until, self.send(question)).await {
            Ok(Ok(reply)) => {
                let date = reply.date;
                return answer::accept(reply).map_err(|error| self.explain(error, date));
            }
            Ok(Err(error)) => error.into(),
            Err(_) if until == self.deadline => self.out_of_time(None),
            Err(_) => Error::new(
                ErrorKind::Connect,
                format!("there was no answer within {time_limit:?}"),
            ),
        };
        self.session = None;
        Err(error)
    }

    async fn send(&mut self, question: Question<'_>) -> Result<Reply, TransportError> {
        self.session = self.session.take().filter(|session| !session.is_stale());
        let session = match &mut self.session {
            Some(session) => session,
            empty => {
                self.events.emit(Event::Connecting);
                let client = self.client;
                let proof = proof(&*client.attestation, self.on_secondary);
                empty.insert(client.transport.open(&client.target, proof).await?)
            }
        };
        match question {
            Question::Register => {
                self.events.emit(Event::Registering);
                session.register(&self.body).await
            }
            Question::Status(operation) => session.status(operation).await,
            Question::Lookup => session.lookup(&self.body).await,
        }
    }

    fn tpm(&self) -> Option<&'a dyn TpmKeys> {
        match proof(&*self.client.attestation, self.on_secondary) {
            Proof::Tpm(tpm) => Some(tpm),
            _ => None,
        }
    }

    fn succeeded(&mut self, question: Question<'_>) {
        if self.reregistering && matches!(question, Question::Register) {
            return;
        }
        self.reregistering = false;
        self.pace.succeeded();
        self.last_failure = None;
    }

    /// A wrong clock is a common cause of a refusal: tokens and certificates seem to have expired.
    fn explain(&self, error: Error, date: Option<SystemTime>) -> Error {
        if error.status() != Some(401) {
            return error;
        }
        let now = self.client.target.clock().now();
        match date.and_then(|date| clock_skew::describe(now, date)) {
            Some(note) => error.with_note(note),
            None => error,
        }
    }

    fn use_secondary(&mut self, error: Error) {
        self.events.emit(Event::FallingBack { error });
        self.on_secondary = true;
        self.session = None;
    }

    fn next_wait(&self, retry_after: Option<Duration>) -> Result<Duration, Error> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        self.pace
            .wait(retry_after, self.client.draws.next(), remaining)
            .ok_or_else(|| self.out_of_time(retry_after))
    }

    fn out_of_time(&self, retry_after: Option<Duration>) -> Error {
        let limit = self.limit;
        let what = match retry_after {
            Some(wait) => {
                format!("no result within {limit:?}: the service asks for a wait of {wait:?}")
            }
            None => format!("no result within {limit:?}"),
        };
        let error = Error::new(ErrorKind::Deadline, what).with_retry_after(retry_after);
        match &self.last_failure {
            Some(failure) => error.with_source(failure.clone()),
            None => error,
        }
    }
}
