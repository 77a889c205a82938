//! What the service knows about the device, without registering it.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use dps_types::{DeviceRegistrationResult, RegistrationRequest};
use tracing::{Instrument, field, info_span};

use crate::answer;
use crate::client::ProvisioningClient;
use crate::error::Error;
use crate::event::Events;
use crate::exchange::{Exchange, Question};

/// A status lookup to be: set it up, then await it.
#[must_use = "a lookup does nothing unless it is awaited"]
#[derive(Debug, Clone)]
pub struct Lookup {
    client: ProvisioningClient,
    deadline: Duration,
}

impl Lookup {
    /// How long the lookup may take, retries and waits included. The default is [`ProvisioningClient::DEFAULT_DEADLINE`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.deadline = limit;
        self
    }

    pub(crate) fn new(client: ProvisioningClient) -> Self {
        Self {
            client,
            deadline: ProvisioningClient::DEFAULT_DEADLINE,
        }
    }

    async fn run(self) -> Result<DeviceRegistrationResult, Error> {
        let target = &self.client.target;
        let span = info_span!(
            "lookup",
            registration_id = %target.registration_id(),
            id_scope = %target.id_scope(),
            attempt = field::Empty,
        );
        let body = RegistrationRequest::new(target.registration_id().clone());
        async {
            let events = Events::nobody();
            let mut exchange =
                Exchange::new(&self.client, body, self.deadline, events, span.clone());
            let reply = exchange.ask(Question::Lookup).await?;
            answer::lookup(&reply)
        }
        .instrument(span.clone())
        .await
    }
}

impl IntoFuture for Lookup {
    type Output = Result<DeviceRegistrationResult, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
