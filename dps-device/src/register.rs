//! A registration from start to end, in the one polling loop.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use dps_types::{ErrorCode, OperationId, RegistrationRequest};
use serde_json::Value;
use tracing::{Instrument, field, info_span};

use crate::answer::{self, Progress};
use crate::assignment::Assignment;
use crate::client::ProvisioningClient;
use crate::error::{Error, ErrorKind};
use crate::event::{Event, Events, RegistrationEvents};
use crate::exchange::{Exchange, Question};

/// A registration to be: set it up, then await it, or watch its [`events`](Self::events).
///
/// Nothing happens before. Dropping the future ends the registration and closes its connection.
#[must_use = "a registration does nothing unless it is awaited"]
#[derive(Clone)]
pub struct Register {
    client: ProvisioningClient,
    payload: Option<Value>,
    deadline: Duration,
}

impl Register {
    /// Sends this along to the operator's custom allocation webhook. Any JSON value.
    pub fn payload(mut self, payload: impl Into<Value>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// How long the whole registration may take, all retries and waits included. It counts from the first poll of the future.
    /// The default is [`ProvisioningClient::DEFAULT_DEADLINE`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    /// Registers, and tells what happens on the way.
    pub fn events(self) -> RegistrationEvents {
        RegistrationEvents::new(|events| self.run(events))
    }

    pub(crate) fn new(client: ProvisioningClient) -> Self {
        Self {
            client,
            payload: None,
            deadline: ProvisioningClient::DEFAULT_DEADLINE,
        }
    }

    async fn run(self, events: Events) -> Result<Assignment, Error> {
        let target = &self.client.target;
        let span = info_span!(
            "register",
            registration_id = %target.registration_id(),
            id_scope = %target.id_scope(),
            attempt = field::Empty,
            operation_id = field::Empty,
        );
        let mut body = RegistrationRequest::new(target.registration_id().clone());
        body.payload = self.payload;
        async {
            let mut exchange =
                Exchange::new(&self.client, body, self.deadline, events, span.clone());
            let outcome = drive(&mut exchange).await;
            exchange.events().tell(match outcome.clone() {
                Ok(assignment) => Event::Assigned(Box::new(assignment)),
                Err(error) => Event::Failed(error),
            });
            outcome
        }
        .instrument(span.clone())
        .await
    }
}

/// Registers, then asks how far it is, until it has an end. An operation that the service has lost is registered again.
async fn drive(exchange: &mut Exchange<'_>) -> Result<Assignment, Error> {
    let mut operation = None;
    loop {
        let question = match &operation {
            None => Question::Register,
            Some(id) => Question::Status(id),
        };
        let progress = exchange
            .ask(question)
            .await
            .and_then(|reply| answer::progress(&reply, operation.as_ref()));
        match progress {
            Ok(Progress::Assigned(assignment)) => {
                exchange.keep_hub_key(&assignment).await?;
                return Ok(*assignment);
            }
            Ok(Progress::Pending {
                operation_id,
                retry_after,
            }) => {
                exchange
                    .span()
                    .record("operation_id", field::display(&operation_id));
                exchange.wait_to_poll(&operation_id, retry_after).await?;
                operation = Some(operation_id);
            }
            Err(error) if begins_anew(exchange, &error, operation.as_ref()) => {
                exchange.wait_to_begin_anew(error).await?;
                operation = None;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Whether the operation is lost, or lost against another registration of the same device, or only its challenge is, and
/// not the device refused.
fn begins_anew(exchange: &Exchange<'_>, error: &Error, operation: Option<&OperationId>) -> bool {
    match error.kind() {
        ErrorKind::NotFound => operation.is_some(),
        ErrorKind::Unauthorized => operation.is_some() && exchange.has_lost_challenge(error),
        ErrorKind::Failed => error.code() == Some(ErrorCode::REGISTRATION_CONFLICT),
        _ => false,
    }
}

impl IntoFuture for Register {
    type Output = Result<Assignment, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run(Events::nobody()))
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What the device tells the webhook is its own business.
        f.debug_struct("Register")
            .field("client", &self.client)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
