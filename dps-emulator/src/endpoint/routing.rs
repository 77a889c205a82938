//! Chooses the instance that a request or a connection is for. The first instance refuses what no instance is for, with its reason.

use std::sync::Arc;

use ::http::header::{AUTHORIZATION, HOST};
use dps_mqtt::Connect;
use dps_types::protocol::device::DeviceRoute;
use dps_types::protocol::mqtt::Username;
use dps_types::sas::SasToken;
use dps_types::{ErrorCode, IdScope};

use super::call::Call;
use super::{Api, Gateway, blob, mqtt};
use crate::instances::{InstanceName, Instances};
use crate::service_error::ServiceError;

type Chosen = Result<Arc<Gateway>, ServiceError>;

impl Instances {
    /// The instance of a device: the one with its id scope.
    pub(super) async fn for_device(&self, id_scope: &IdScope) -> Chosen {
        let found = Box::pin(self.of_id_scope(id_scope)).await?;
        Ok(found.unwrap_or_else(|| Arc::clone(self.first())))
    }

    /// The instance of an MQTT client, by its username: that with the id scope, or the one that has linked the hub.
    pub(super) async fn for_mqtt(&self, connect: &Connect) -> Chosen {
        let username = connect.username.as_deref().unwrap_or_default();
        if mqtt::is_for_hub(connect) {
            let hub = username.split('/').next().unwrap_or_default();
            return self.for_hub(hub).await;
        }
        match username.parse::<Username>() {
            Ok(username) => self.for_device(&username.id_scope).await,
            Err(_) => Ok(Arc::clone(self.first())),
        }
    }

    /// The instance of an HTTP request.
    pub(super) async fn for_call(&self, api: Api, call: &Call) -> Chosen {
        match api {
            Api::Device => match DeviceRoute::parse(&call.method, &call.path) {
                Ok(route) => self.for_device(&route.id_scope).await,
                Err(_) => Ok(Arc::clone(self.first())),
            },
            Api::Service => self.for_service(call).await,
            Api::Hub => self.for_hub_api(call).await,
            Api::Blob => Ok(self.for_blob(call)),
            Api::ControlPlane => Ok(Arc::clone(self.first())),
        }
    }

    /// The instance that the `Host` header or the token's resource names, or whose policy signed the token.
    async fn for_service(&self, call: &Call) -> Chosen {
        let host = call.text(HOST).ok().flatten().unwrap_or_default();
        if !self.first().is_own_host(host)
            && let Some(name) = InstanceName::of_host(host)
        {
            let found = self.named(&name).await?;
            return found.ok_or_else(|| no_instance(&name));
        }
        let Some(token) = token(call) else {
            return Ok(Arc::clone(self.first()));
        };
        let resource = InstanceName::of_host(token_host(&token));
        if let Some(name) = resource
            && let Some(found) = self.named(&name).await?
        {
            return Ok(found);
        }
        let found = self.of_policy(&token).await?;
        Ok(found.unwrap_or_else(|| Arc::clone(self.first())))
    }

    /// The instance that has linked the hub which the token's resource or the `Host` header names, or whose key signed the token.
    async fn for_hub_api(&self, call: &Call) -> Chosen {
        let token = token(call);
        let host = call.text(HOST).ok().flatten().unwrap_or_default();
        let named = match &token {
            Some(token) => token_host(token),
            None => host.split(':').next().unwrap_or_default(),
        };
        if let Some(found) = self.of_hub(named).await? {
            return Ok(found);
        }
        let found = match &token {
            Some(token) if token.policy().is_some() => self.of_hub_key(token).await?,
            _ => None,
        };
        Ok(found.unwrap_or_else(|| Arc::clone(self.first())))
    }

    async fn for_hub(&self, name: &str) -> Chosen {
        let found = self.of_hub(name).await?;
        Ok(found.unwrap_or_else(|| Arc::clone(self.first())))
    }

    /// The instance that has signed the address of an upload. It is in memory, because it has the upload.
    fn for_blob(&self, call: &Call) -> Arc<Gateway> {
        let signed = |gateway: &Arc<Gateway>| {
            let name = blob::name(call).ok();
            name.is_some_and(|name| {
                gateway
                    .instance
                    .hubs
                    .signed_blob(&name, &call.query)
                    .is_ok()
            })
        };
        let found = self.in_memory().into_iter().find(signed);
        found.unwrap_or_else(|| Arc::clone(self.first()))
    }
}

/// The shared access signature of a request, if it has one.
fn token(call: &Call) -> Option<SasToken> {
    call.text(AUTHORIZATION).ok()??.parse().ok()
}

/// The host of a token's resource, without a port.
fn token_host(token: &SasToken) -> &str {
    let resource = token.resource();
    resource.split(['/', ':']).next().unwrap_or(resource)
}

fn no_instance(name: &InstanceName) -> ServiceError {
    ServiceError::new(
        ErrorCode::NOT_FOUND,
        format!("There is no provisioning service '{name}' in this emulator."),
    )
}
