//! A status lookup: the registration record of the device, without a registration.

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

impl ProvisioningClient {
    /// Asks for the registration record of the device. Unlike a registration it changes nothing and is free of charge.
    ///
    /// It does not change the device either: a TPM opens a challenge, but a hub key in the answer is not stored.
    ///
    /// The record may have any status: `unassigned`, `disabled` and `failed` are not errors here.
    ///
    /// # Errors
    /// Awaiting returns [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) for a device that has never registered,
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported) for a transport without lookup, and other kinds as they apply.
    pub fn lookup(&self) -> Lookup {
        Lookup {
            client: self.clone(),
            timeout: Self::DEFAULT_DEADLINE,
        }
    }
}

/// A status lookup that has not started: set it up, then await it.
///
/// ```no_run
/// # async fn example(client: dps_device::ProvisioningClient) -> Result<(), dps_device::Error> {
/// let record = client.lookup().await?; // changes nothing
/// println!("{:?} {:?}", record.status, record.assigned_hub);
/// # Ok(())
/// # }
/// ```
#[must_use = "a lookup does nothing unless it is awaited"]
#[derive(Debug, Clone)]
pub struct Lookup {
    client: ProvisioningClient,
    timeout: Duration,
}

impl Lookup {
    /// Sets the limit for the lookup, retries and waits included. The default is [`ProvisioningClient::DEFAULT_DEADLINE`].
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
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
            let events = Events::disabled();
            let mut exchange =
                Exchange::new(&self.client, body, self.timeout, events, span.clone());
            let reply = exchange.ask(Question::Lookup).await?;
            answer::lookup(&reply, exchange.registration_id())
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
