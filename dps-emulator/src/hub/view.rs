//! The documents of the hub's REST API: device identities and twins.

use dps_types::{ETag, HubHostname, Timestamp};
use serde_json::{Value, json};

use super::device::{Authentication, Device};
use super::{Hubs, Identity};
use crate::document::add;
use crate::service_error::ServiceError;

/// The value of a time that is not set. It is .NET's smallest time.
const NEVER: &str = "0001-01-01T00:00:00Z";

/// A document and its ETag, for the `ETag` header.
pub(crate) struct View {
    pub(crate) document: Value,
    pub(crate) etag: ETag,
}

impl Hubs {
    /// `GET /devices/{id}`
    pub(crate) async fn identity(&self, identity: &Identity) -> Result<View, ServiceError> {
        let (device, _) = self.required(identity).await?;
        Ok(View {
            document: self.show_identity(&identity.hub, &device).await?,
            etag: device.etag,
        })
    }

    /// `GET /devices`
    pub(crate) async fn identities(
        &self,
        hub: &HubHostname,
        top: usize,
    ) -> Result<Value, ServiceError> {
        let devices = self.devices(hub, top).await?;
        let mut shown = Vec::with_capacity(devices.len());
        for device in &devices {
            shown.push(self.show_identity(hub, device).await?);
        }
        Ok(shown.into())
    }

    /// `GET /twins/{id}`
    pub(crate) async fn twin(&self, identity: &Identity) -> Result<View, ServiceError> {
        let (device, _) = self.required(identity).await?;
        let twin = &device.twin;
        let key = identity.key();
        let mut document = json!({
            "deviceId": device.device_id,
            "etag": twin.etag(),
            "deviceEtag": device.etag,
            "status": status(&device),
            "statusUpdateTime": time(device.status_updated),
            "connectionState": self.connection_state(&key),
            "lastActivityTime": time(self.connections.last_activity(&key)),
            "cloudToDeviceMessageCount": self.waiting(identity).await?.len(),
            "authenticationType": kind(&device.authentication),
            "x509Thumbprint": thumbprints(&device.authentication),
            "modelId": self.connections.model_id(&key).unwrap_or_default(),
            "version": twin.version,
        });
        if let Some(module_id) = &device.module_id {
            add(&mut document, "moduleId", module_id.as_str());
        }
        if !twin.tags.is_empty() {
            add(&mut document, "tags", twin.tags.clone());
        }
        add(&mut document, "properties", twin.properties());
        add(
            &mut document,
            "capabilities",
            json!({ "iotEdge": device.iot_edge }),
        );
        Ok(View {
            document,
            etag: twin.etag(),
        })
    }

    pub(super) async fn show_identity(
        &self,
        hub: &HubHostname,
        device: &Device,
    ) -> Result<Value, ServiceError> {
        let identity = Identity::device(hub, &device.device_id);
        let identity = identity.with_module(device.module_id.clone());
        let key = identity.key();
        let keys = match &device.authentication {
            Authentication::Sas { primary, secondary } => {
                json!({ "primaryKey": primary, "secondaryKey": secondary })
            }
            Authentication::SelfSigned { .. } | Authentication::CertificateAuthority(_) => {
                json!({ "primaryKey": null, "secondaryKey": null })
            }
        };
        let mut document = json!({
            "deviceId": device.device_id,
            "generationId": device.generation_id,
            "etag": device.etag,
            "connectionState": self.connection_state(&key),
            "status": status(device),
            "statusReason": null,
            "connectionStateUpdatedTime": NEVER,
            "statusUpdatedTime": time(device.status_updated),
            "lastActivityTime": time(self.connections.last_activity(&key)),
            "cloudToDeviceMessageCount": self.waiting(&identity).await?.len(),
            "authentication": {
                "symmetricKey": keys,
                "x509Thumbprint": thumbprints(&device.authentication),
                "type": kind(&device.authentication),
            },
        });
        match &device.module_id {
            Some(module_id) => {
                add(&mut document, "moduleId", module_id.as_str());
                add(&mut document, "managedBy", device.managed_by.clone());
            }
            None => add(
                &mut document,
                "capabilities",
                json!({ "iotEdge": device.iot_edge }),
            ),
        }
        Ok(document)
    }

    fn connection_state(&self, key: &str) -> &'static str {
        match self.connections.is_connected(key) {
            true => "Connected",
            false => "Disconnected",
        }
    }
}

fn status(device: &Device) -> &'static str {
    match device.enabled {
        true => "enabled",
        false => "disabled",
    }
}

fn kind(authentication: &Authentication) -> &'static str {
    match authentication {
        Authentication::Sas { .. } => "sas",
        Authentication::SelfSigned { .. } => "selfSigned",
        Authentication::CertificateAuthority(_) => "certificateAuthority",
    }
}

fn thumbprints(authentication: &Authentication) -> Value {
    match authentication {
        Authentication::SelfSigned { primary, secondary } => {
            json!({ "primaryThumbprint": primary, "secondaryThumbprint": secondary })
        }
        Authentication::Sas { .. } | Authentication::CertificateAuthority(_) => {
            json!({ "primaryThumbprint": null, "secondaryThumbprint": null })
        }
    }
}

fn time(time: Option<Timestamp>) -> Value {
    time.map_or_else(|| NEVER.into(), |time| json!(time))
}
