//! A registration: one polling loop from the first request to the outcome.

use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use dps_types::{OperationId, RegistrationRequest};
use serde_json::Value;
use tracing::{Instrument, field, info_span};

use crate::answer::{self, Progress};
use crate::assignment::Assignment;
use crate::client::ProvisioningClient;
use crate::error::Error;
use crate::event::{Event, Events, RegistrationEvents};
use crate::exchange::{Exchange, Question};
use crate::retry::Reaction;

impl ProvisioningClient {
    /// Registers the device and waits for its assignment: `Ok` means assigned.
    ///
    /// # Errors
    /// Awaiting returns any [`ErrorKind`](crate::ErrorKind); each documents who must act.
    pub fn register(&self) -> Register {
        Register {
            client: self.clone(),
            payload: None,
            timeout: Self::DEFAULT_DEADLINE,
        }
    }
}

/// A registration that has not started: set it up, then await it, or watch its [`events`](Self::events).
///
/// Nothing is sent before it is polled. Dropping the future ends the registration and closes its connection.
///
/// ```no_run
/// # async fn example(client: dps_device::ProvisioningClient) -> Result<(), dps_device::Error> {
/// use std::time::Duration;
///
/// let payload = serde_json::json!({"model": "toaster"}); // for the allocation webhook
/// let assignment = client.register().payload(payload).timeout(Duration::from_secs(300)).await?;
/// # drop(assignment);
/// # Ok(())
/// # }
/// ```
#[must_use = "a registration does nothing unless it is awaited"]
#[derive(Clone)]
pub struct Register {
    pub(crate) client: ProvisioningClient,
    payload: Option<Value>,
    timeout: Duration,
}

impl Register {
    /// Sends this JSON value to the custom allocation webhook of the enrollment.
    pub fn payload(mut self, payload: impl Into<Value>) -> Self {
        self.payload = Some(payload.into());
        self
    }

    /// Sets the limit for the whole registration, all retries and waits included. It counts from the first poll of the future.
    /// The default is [`ProvisioningClient::DEFAULT_DEADLINE`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// Registers, and returns the events as a stream.
    pub fn events(self) -> RegistrationEvents {
        RegistrationEvents::new(|events| self.run(events))
    }

    async fn run(self, events: Events) -> Result<Assignment, Error> {
        let outcome = self.run_with(Ok(None), events, |_, _| Ok(())).await;
        outcome.map(|(assignment, ())| assignment)
    }

    /// Registers with this certificate request, and accepts the certificate that the assignment has for it.
    pub(crate) async fn run_with<T>(
        self,
        csr: Result<Option<String>, Error>,
        events: Events,
        accept: impl FnOnce(&Assignment, &Events) -> Result<T, Error>,
    ) -> Result<(Assignment, T), Error> {
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
        body.csr = csr.as_ref().ok().cloned().flatten();
        async {
            let mut exchange =
                Exchange::new(&self.client, body, self.timeout, events, span.clone());
            let outcome = match csr {
                Ok(_) => drive(&mut exchange).await,
                Err(error) => Err(error),
            };
            let outcome = outcome.and_then(|assignment| {
                let accepted = accept(&assignment, exchange.events())?;
                Ok((assignment, accepted))
            });
            exchange.events().emit(match &outcome {
                Ok((assignment, _)) => Event::Assigned(Box::new(assignment.clone())),
                Err(error) => Event::Failed(error.clone()),
            });
            outcome
        }
        .instrument(span.clone())
        .await
    }
}

/// Registers, then polls until there is an outcome. An operation that the service has lost is registered again.
async fn drive(exchange: &mut Exchange<'_>) -> Result<Assignment, Error> {
    let mut operation = None;
    loop {
        match step(exchange, operation.as_ref()).await {
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
            Err(error) => match exchange.reaction(&error, operation.is_some()) {
                Reaction::RegisterAgain => {
                    exchange.wait_to_register_again(error).await?;
                    operation = None;
                }
                _ => return Err(error),
            },
        }
    }
}

async fn step(
    exchange: &mut Exchange<'_>,
    operation: Option<&OperationId>,
) -> Result<Progress, Error> {
    let question = match operation {
        None => Question::Register,
        Some(id) => Question::Status(id),
    };
    let reply = exchange.ask(question).await?;
    answer::progress(&reply, operation, exchange.registration_id())
}

impl IntoFuture for Register {
    type Output = Result<Assignment, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run(Events::disabled()))
    }
}

impl fmt::Debug for Register {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The payload may hold a secret.
        f.debug_struct("Register")
            .field("client", &self.client)
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}
