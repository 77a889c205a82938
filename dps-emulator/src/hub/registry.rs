//! The identity registry: creates and updates devices and modules, and lists the modules of a device.
//!
//! Source: azure-rest-api-specs `iothub/data-plane`, `iot-hub/iot-hub-devguide-identity-registry.md`.

use dps_types::protocol::IfMatch;
use dps_types::{EncodedKey, ErrorCode, ModuleId, SymmetricKey};
use serde::Deserialize;
use serde_json::Value;

use super::view::View;
use super::{Authentication, Device, Hubs, Identity, Twin, check};
use crate::service_error::ServiceError;
use crate::state::store::{Expected, Pages, Table};
use crate::state::{decode_or_skip, encode};

/// The most modules of a device.
const MAX_MODULES: usize = 50;

/// 409001, IoT Hub's `DeviceAlreadyExists`.
const DEVICE_EXISTS: ErrorCode = ErrorCode::new(409_001);
/// 409301, IoT Hub's `ModuleAlreadyExistsOnDevice`.
const MODULE_EXISTS: ErrorCode = ErrorCode::new(409_301);

/// The document of a device or module, as a back end writes it. Fields that only the hub writes are ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct IdentityDocument {
    device_id: Option<String>,
    module_id: Option<String>,
    managed_by: Option<String>,
    status: Option<String>,
    authentication: Option<AuthenticationDocument>,
    capabilities: Option<Capabilities>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuthenticationDocument {
    #[serde(rename = "type")]
    kind: Option<String>,
    symmetric_key: Option<Keys>,
    x509_thumbprint: Option<Thumbprints>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Keys {
    primary_key: Option<String>,
    secondary_key: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thumbprints {
    primary_thumbprint: Option<String>,
    secondary_thumbprint: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Capabilities {
    iot_edge: Option<bool>,
}

impl Hubs {
    /// Creates a device or module, or updates it if there is a condition. A device that is disabled is disconnected.
    pub(crate) async fn put_identity(
        &self,
        identity: &Identity,
        document: &IdentityDocument,
        condition: Option<&IfMatch>,
    ) -> Result<View, ServiceError> {
        document.check_ids(identity)?;
        let enabled = document.enabled()?;
        match condition {
            None => self.create(identity, document, enabled).await?,
            Some(_) => {
                let now = self.now();
                self.change(identity, |device| {
                    check(condition, &device.etag)?;
                    let authentication = document.authentication(Some(&device.authentication))?;
                    let iot_edge = document.iot_edge().unwrap_or(device.iot_edge);
                    device.refresh(authentication, iot_edge);
                    device.managed_by = document.managed_by(device.managed_by.take());
                    device.set_enabled(enabled, now);
                    Ok(())
                })
                .await?;
            }
        }
        if !enabled {
            self.disconnect(identity).await?;
        }
        self.identity(identity).await
    }

    /// The identities of the modules of a device.
    pub(crate) async fn modules(&self, device: &Identity) -> Result<Value, ServiceError> {
        self.required(device).await?;
        let mut shown = Vec::new();
        for module in self.stored_modules(device).await? {
            shown.push(self.show_identity(&device.hub, &module).await?);
        }
        Ok(shown.into())
    }

    /// Removes the modules of a device.
    pub(super) async fn forget_modules(&self, device: &Identity) -> Result<(), ServiceError> {
        for module in self.stored_modules(device).await? {
            let identity = device.clone().with_module(module.module_id);
            let (table, key) = (identity.table(), identity.key());
            self.store.delete(table, &key, Expected::Anything).await?;
            self.end_session(&key);
        }
        Ok(())
    }

    /// Ends the connection of a device or module, and those of the modules of the device.
    pub(super) async fn disconnect(&self, identity: &Identity) -> Result<(), ServiceError> {
        self.end_connection(&identity.key());
        if identity.module_id.is_none() {
            for module in self.stored_modules(identity).await? {
                let module = identity.clone().with_module(module.module_id);
                self.end_connection(&module.key());
            }
        }
        Ok(())
    }

    async fn create(
        &self,
        identity: &Identity,
        document: &IdentityDocument,
        enabled: bool,
    ) -> Result<(), ServiceError> {
        let now = self.now();
        if identity.module_id.is_some() {
            let device = identity.of_device();
            self.required(&device).await?;
            if self.stored_modules(&device).await?.len() >= MAX_MODULES {
                return Err(ServiceError::invalid(format!(
                    "A device can have {MAX_MODULES} modules."
                )));
            }
        }
        let mut device = Device::new(
            identity.device_id.clone(),
            document.authentication(None)?,
            document.iot_edge().unwrap_or_default(),
            Twin::new(None, now)?,
            now,
        );
        device.module_id = identity.module_id.clone();
        device.managed_by = document.managed_by(None);
        device.enabled = enabled;
        let stored = encode(&device)?;
        let created = self
            .store
            .put(identity.table(), &identity.key(), Expected::Absent, stored)
            .await?;
        match created {
            true => Ok(()),
            false => Err(already_exists(identity)),
        }
    }

    async fn stored_modules(&self, device: &Identity) -> Result<Vec<Device>, ServiceError> {
        let prefix = format!("{}/", device.key());
        let stored = Pages::with_prefix(&*self.store, Table::HubModules, &prefix).collect();
        let stored = stored.await?;
        let modules = stored
            .iter()
            .filter_map(|(key, bytes)| decode_or_skip::<Device>(key, bytes));
        Ok(modules.collect())
    }
}

impl IdentityDocument {
    fn check_ids(&self, identity: &Identity) -> Result<(), ServiceError> {
        let module = identity.module_id.as_ref().map(ModuleId::as_str);
        let same = self.device_id.as_deref() == Some(identity.device_id.as_str())
            && (self.module_id.as_deref() == module || module.is_none());
        match same {
            true => Ok(()),
            false => Err(ServiceError::invalid(
                "The ids in the body must be those of the path.",
            )),
        }
    }

    fn enabled(&self) -> Result<bool, ServiceError> {
        match self.status.as_deref() {
            None => Ok(true),
            Some(status) if status.eq_ignore_ascii_case("enabled") => Ok(true),
            Some(status) if status.eq_ignore_ascii_case("disabled") => Ok(false),
            Some(status) => Err(ServiceError::invalid(format!(
                "The status must be enabled or disabled, and is '{status}'."
            ))),
        }
    }

    fn iot_edge(&self) -> Option<bool> {
        self.capabilities.as_ref()?.iot_edge
    }

    fn managed_by(&self, before: Option<String>) -> Option<String> {
        self.managed_by.clone().or(before)
    }

    /// The authentication of the document. Keys that are missing are those before, or random ones.
    fn authentication(
        &self,
        before: Option<&Authentication>,
    ) -> Result<Authentication, ServiceError> {
        let nothing = AuthenticationDocument::default();
        let document = self.authentication.as_ref().unwrap_or(&nothing);
        match (document.kind.as_deref(), before) {
            (None, Some(before)) => Ok(before.clone()),
            (None | Some("sas"), _) => document.keys(before),
            (Some("selfSigned"), _) => document.thumbprints(),
            (Some(other), _) => Err(ServiceError::invalid(format!(
                "The authentication type must be sas or selfSigned, and is '{other}'."
            ))),
        }
    }
}

impl AuthenticationDocument {
    fn keys(&self, before: Option<&Authentication>) -> Result<Authentication, ServiceError> {
        let (old_primary, old_secondary) = match before {
            Some(Authentication::Sas { primary, secondary }) => {
                (Some(primary.clone()), secondary.clone())
            }
            _ => (None, None),
        };
        let key = |text: Option<&String>, before: Option<EncodedKey>| match text {
            Some(text) if !text.is_empty() => {
                let key = SymmetricKey::from_base64(text).map_err(ServiceError::from)?;
                Ok::<_, ServiceError>(EncodedKey::from(&key))
            }
            _ => Ok(before.unwrap_or_else(|| (&SymmetricKey::generate()).into())),
        };
        let given = self.symmetric_key.as_ref();
        let primary = key(given.and_then(|it| it.primary_key.as_ref()), old_primary)?;
        let secondary = key(
            given.and_then(|it| it.secondary_key.as_ref()),
            old_secondary,
        )?;
        Ok(Authentication::Sas {
            primary,
            secondary: Some(secondary),
        })
    }

    fn thumbprints(&self) -> Result<Authentication, ServiceError> {
        let given = self.x509_thumbprint.as_ref();
        let primary = given.and_then(|it| it.primary_thumbprint.as_deref());
        let secondary = given.and_then(|it| it.secondary_thumbprint.as_deref());
        let primary = primary.filter(|it| !it.is_empty()).ok_or_else(|| {
            ServiceError::invalid(
                "The authentication type selfSigned requires a primaryThumbprint.",
            )
        })?;
        let secondary = secondary.filter(|it| !it.is_empty());
        Ok(Authentication::SelfSigned {
            primary: thumbprint(primary)?,
            secondary: secondary.map(thumbprint).transpose()?,
        })
    }
}

fn thumbprint(text: &str) -> Result<String, ServiceError> {
    let is_sha256 = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match is_sha256 {
        true => Ok(text.to_ascii_uppercase()),
        false => Err(ServiceError::invalid(
            "A thumbprint must be the SHA-256 of a certificate, as 64 hexadecimal digits.",
        )),
    }
}

fn already_exists(identity: &Identity) -> ServiceError {
    match identity.module_id {
        Some(_) => ServiceError::new(
            MODULE_EXISTS,
            format!("Module {identity} already registered on device."),
        ),
        None => ServiceError::new(
            DEVICE_EXISTS,
            format!("A device with ID '{identity}' is already registered."),
        ),
    }
}
