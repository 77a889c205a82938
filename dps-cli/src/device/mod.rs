//! Commands that act as a device: its credentials, its transport, and the client that the options select.

mod attestation;
pub(crate) mod connect;
mod issued;
pub(crate) mod lookup;
pub(crate) mod register;
pub(crate) mod renew;
mod stop;
mod tpm_key;
mod transport;

use std::time::Duration;

use clap::Args;
use dps_device::{Host, IdScope, ProvisioningClient, RegistrationId, SymmetricKey};

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::service::Network;
use attestation::AttestationOptions;
pub(crate) use transport::{TransportName, TransportOptions};

/// How a device reaches the service, and how it authenticates.
#[derive(Args)]
#[command(next_help_heading = "Device options")]
pub(crate) struct DeviceOptions {
    /// Id scope of the instance, such as 0ne00000001
    #[arg(long, env = "DPS_ID_SCOPE", value_name = "SCOPE")]
    id_scope: Option<IdScope>,
    /// Host that devices connect to; global.azure-devices-provisioning.net by default
    #[arg(long, env = "DPS_HOST", value_name = "HOST")]
    host: Option<Host>,
    #[command(flatten)]
    attestation: AttestationOptions,
    #[command(flatten)]
    transport: TransportOptions,
    #[command(flatten)]
    network: Network,
    /// Longest time of the registration, with its retries
    #[arg(long, value_name = "SECONDS", default_value_t = ProvisioningClient::DEFAULT_DEADLINE.as_secs())]
    timeout: u64,
}

impl DeviceOptions {
    pub(crate) async fn client(&self, context: &Context) -> Result<ProvisioningClient> {
        let attestation = self.attestation.attestation().await?;
        let mut client = ProvisioningClient::new(
            self.id_scope(context)?,
            attestation,
            self.transport.transport(),
        )
        .with_host(self.host(context)?);
        if let Some(roots) = self.network.roots(context)? {
            client = client.with_roots(roots);
        }
        if let Some(proxy) = self.network.proxy(context)? {
            client = client.with_proxy(proxy);
        }
        Ok(client)
    }

    pub(crate) fn id_scope(&self, context: &Context) -> Result<IdScope> {
        match (&self.id_scope, &context.profile.id_scope) {
            (Some(scope), _) => Ok(scope.clone()),
            (None, Some(text)) => Ok(text.parse()?),
            (None, None) => Err(Failure::usage("the id scope is missing").with_hint(
                "use --id-scope or DPS_ID_SCOPE; the overview page of the instance shows it",
            )),
        }
    }

    pub(crate) fn host(&self, context: &Context) -> Result<Host> {
        match (&self.host, &context.profile.host) {
            (Some(host), _) => Ok(host.clone()),
            (None, Some(text)) => Ok(text.parse()?),
            (None, None) => Ok(Host::GLOBAL),
        }
    }

    pub(crate) fn attestation(&self) -> &AttestationOptions {
        &self.attestation
    }

    pub(crate) fn transport_options(&self) -> &TransportOptions {
        &self.transport
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    pub(crate) fn registration_id(&self) -> Option<&RegistrationId> {
        self.attestation.registration_id.as_ref()
    }

    /// The key that signs the tokens of the device, if the options contain one.
    pub(crate) fn symmetric_key(&self) -> Result<Option<SymmetricKey>> {
        Ok(
            match (self.attestation.any_key()?, self.registration_id()) {
                (Some((key, false)), _) => Some(key),
                (Some((key, true)), Some(id)) => Some(key.derive_device_key(id)),
                _ => None,
            },
        )
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout)
    }
}
