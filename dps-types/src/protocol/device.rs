//! The device API: paths, and the resource of a device's SAS token.
//!
//! Source: `device.json` of api-version 2021-10-01; azure-docs `iot-dps/iot-dps-https-sym-key-support.md`.

use super::route::segments;
use super::{RouteError, encode};
use crate::{IdScope, OperationId, RegistrationId};

/// The host of the global device endpoint.
pub const GLOBAL_HOST: &str = "global.azure-devices-provisioning.net";

/// The policy name (`skn`) in a device's SAS token.
pub const SAS_POLICY: &str = "registration";

/// The resource of a device's SAS token: `{idScope}/registrations/{registrationId}`.
pub fn resource(id_scope: &IdScope, registration_id: &RegistrationId) -> String {
    format!("{id_scope}/registrations/{registration_id}")
}

/// A request of the device API.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceRoute {
    /// The instance.
    pub id_scope: IdScope,
    /// The device.
    pub registration_id: RegistrationId,
    /// The operation.
    pub action: DeviceAction,
}

/// An operation of the device API.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceAction {
    /// `PUT /{idScope}/registrations/{registrationId}/register`
    Register,
    /// `GET /{idScope}/registrations/{registrationId}/operations/{operationId}`
    OperationStatus(OperationId),
    /// `POST /{idScope}/registrations/{registrationId}`
    Lookup,
}

impl DeviceRoute {
    /// A request about this device.
    pub fn new(id_scope: IdScope, registration_id: RegistrationId, action: DeviceAction) -> Self {
        Self {
            id_scope,
            registration_id,
            action,
        }
    }

    /// The HTTP method.
    pub fn method(&self) -> &'static str {
        match self.action {
            DeviceAction::Register => "PUT",
            DeviceAction::OperationStatus(_) => "GET",
            DeviceAction::Lookup => "POST",
        }
    }

    /// The path, encoded.
    pub fn path(&self) -> String {
        let device = format!(
            "/{}/registrations/{}",
            encode(self.id_scope.as_str()),
            encode(self.registration_id.as_str())
        );
        match &self.action {
            DeviceAction::Register => format!("{device}/register"),
            DeviceAction::OperationStatus(operation) => {
                format!("{device}/operations/{}", encode(operation.as_str()))
            }
            DeviceAction::Lookup => device,
        }
    }

    /// Parses a method and a path. Fixed segments are compared without regard to case, ids are decoded.
    ///
    /// # Errors
    /// If the path is not one of the API, the method is not allowed for it, or an id is not valid.
    pub fn parse(method: &str, path: &str) -> Result<Self, RouteError> {
        let segments = segments(path).ok_or(RouteError::NotFound)?;
        let words: Vec<&str> = segments.iter().map(String::as_str).collect();
        let [scope, registrations, id, rest @ ..] = words.as_slice() else {
            return Err(RouteError::NotFound);
        };
        if !registrations.eq_ignore_ascii_case("registrations") {
            return Err(RouteError::NotFound);
        }
        let (expected, action) = match rest {
            [] => ("POST", DeviceAction::Lookup),
            [word] if word.eq_ignore_ascii_case("register") => ("PUT", DeviceAction::Register),
            [word, operation] if word.eq_ignore_ascii_case("operations") => {
                ("GET", DeviceAction::OperationStatus(operation.parse()?))
            }
            _ => return Err(RouteError::NotFound),
        };
        if method != expected {
            return Err(RouteError::MethodNotAllowed);
        }
        Ok(Self::new(scope.parse()?, id.parse()?, action))
    }
}
