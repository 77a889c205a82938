//! One question until there is an answer: sessions, retries and waits, all before one deadline.

use std::time::Duration;

use dps_types::{OperationId, RegistrationRequest};
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Span;

use crate::answer;
use crate::assignment::Assignment;
use crate::attestation::{Attestation, Proof, TpmKeys};
use crate::client::ProvisioningClient;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Events};
use crate::poll::{self, Pace, after};
use crate::transport::{Reply, Session, TransportError};
use crate::wrapped_key::keep_hub_key;

/// What a device asks the service.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Question<'q> {
    Register,
    Status(&'q OperationId),
    Lookup,
}

/// A talk with the service. It keeps its session as long as the session works.
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
    /// The operation was lost and the device registers again: that it can is no sign that things are well.
    anew: bool,
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
            anew: false,
            attempts: 0,
            last_failure: None,
        }
    }

    /// Asks until the service answers with a success. What may get better is asked again.
    pub(crate) async fn ask(&mut self, question: Question<'_>) -> Result<Reply, Error> {
        loop {
            let error = match self.attempt(question).await {
                Ok(reply) => {
                    self.succeeded(question);
                    return Ok(reply);
                }
                Err(error) => error,
            };
            match error.kind() {
                ErrorKind::Unauthorized if self.can_fall_back(&error) => self.fall_back(error),
                kind if kind.is_retried() => self.wait_to_retry(error).await?,
                _ => return Err(error),
            }
        }
    }

    /// Waits before asking how far the operation is.
    pub(crate) async fn wait_to_poll(
        &mut self,
        operation_id: &OperationId,
        retry_after: Option<Duration>,
    ) -> Result<(), Error> {
        let wait = self.next_wait(retry_after)?;
        self.events.tell(Event::Assigning {
            operation_id: operation_id.clone(),
            wait,
        });
        sleep(wait).await;
        Ok(())
    }

    /// Waits before trying again what failed.
    pub(crate) async fn wait_to_retry(&mut self, error: Error) -> Result<(), Error> {
        self.pace.failed();
        self.last_failure = Some(error.clone());
        let wait = self.next_wait(error.retry_after())?;
        self.events.tell(Event::Retrying { error, wait });
        sleep(wait).await;
        Ok(())
    }

    /// Waits before registering again because the operation is lost: longer every time, until a poll succeeds.
    pub(crate) async fn wait_to_begin_anew(&mut self, error: Error) -> Result<(), Error> {
        self.anew = true;
        self.wait_to_retry(error).await
    }

    /// Gives the hub key of the assignment to the TPM that proved who the device is, if one did.
    pub(crate) async fn keep_hub_key(&mut self, assignment: &Assignment) -> Result<(), Error> {
        let Some(tpm) = self.tpm() else {
            return Ok(());
        };
        let limit = self.client.target.request_timeout();
        let kept = timeout_at(self.deadline, keep_hub_key(tpm, assignment, limit));
        kept.await.unwrap_or_else(|_| Err(self.out_of_time(None)))
    }

    /// Whether a poll may be refused only because the service, or the TPM, has forgotten the key of the challenge: a new
    /// registration brings a new one. Twice without a poll that succeeds is a refusal.
    pub(crate) fn has_lost_challenge(&self, refusal: &Error) -> bool {
        refusal.status() == Some(401) && !self.anew && self.tpm().is_some()
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
            Ok(Ok(reply)) => return answer::accept(reply),
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
        if self
            .session
            .as_ref()
            .is_some_and(|session| session.is_stale())
        {
            self.session = None;
        }
        let session = match &mut self.session {
            Some(session) => session,
            none => {
                self.events.tell(Event::Connecting);
                let client = self.client;
                let proof = proof(&*client.attestation, self.on_secondary);
                none.insert(client.transport.open(&client.target, proof).await?)
            }
        };
        match question {
            Question::Register => {
                self.events.tell(Event::Registering);
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

    /// A 403 refuses the device and not its key. A refused MQTT connection has no status.
    fn succeeded(&mut self, question: Question<'_>) {
        if self.anew && matches!(question, Question::Register) {
            return;
        }
        self.anew = false;
        self.pace.succeeded();
        self.last_failure = None;
    }

    fn can_fall_back(&self, refusal: &Error) -> bool {
        matches!(refusal.status(), Some(401) | None)
            && !self.on_secondary
            && self.client.attestation.secondary_proof().is_some()
    }

    fn fall_back(&mut self, error: Error) {
        self.events.tell(Event::FallingBack { error });
        self.on_secondary = true;
        self.session = None;
    }

    fn next_wait(&self, retry_after: Option<Duration>) -> Result<Duration, Error> {
        let remaining = self.deadline.saturating_duration_since(Instant::now());
        self.pace
            .wait(retry_after, poll::draw(), remaining)
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

/// The proof, or the second one where it is that one's turn and there is one.
pub(crate) fn proof(attestation: &dyn Attestation, secondary: bool) -> Proof<'_> {
    let second = secondary.then(|| attestation.secondary_proof()).flatten();
    second.unwrap_or_else(|| attestation.proof())
}
