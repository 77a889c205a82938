//! AMQP 1.0: the address of the links, the properties of a request, and the error conditions.
//!
//! Sources: the AMQP transports of Microsoft's provisioning device SDKs for C, C#, Java and Node.

use std::fmt;
use std::str::FromStr;

use super::decode;
use crate::{IdScope, OperationId, ParseError, RegistrationId};

/// The path of AMQP over WebSocket, as the C, Java and Node SDKs request it. The C# SDK requests `/`.
pub const WEBSOCKET_PATH: &str = "/$iothub/websocket";
/// The WebSocket subprotocol.
pub const WEBSOCKET_PROTOCOL: &str = "AMQPWSB10";
/// The link property with the api-version.
pub const API_VERSION: &str = "com.microsoft:api-version";
/// The link property with the name and version of the client.
pub const CLIENT_VERSION: &str = "com.microsoft:client-version";
/// The application property with the delay before the next request, in seconds. The C# SDK reads [`RETRY_AFTER_CSHARP`].
pub const RETRY_AFTER: &str = "retry-after";
/// The spelling of [`RETRY_AFTER`] that the C# SDK reads.
pub const RETRY_AFTER_CSHARP: &str = "Retry-After";

/// The application property with the kind of the request.
pub const OPERATION_TYPE: &str = "iotdps-operation-type";
/// The application property with the operation id of a status request.
pub const OPERATION_ID: &str = "iotdps-operation-id";
/// The application property that the C# and Node SDKs add to a register request. Its value is always false.
pub const FORCE_REGISTRATION: &str = "iotdps-forceRegistration";

const REGISTER: &str = "iotdps-register";
const OPERATION_STATUS: &str = "iotdps-get-operationstatus";

/// The address of both links, and the user name of SASL PLAIN: `{idScope}/registrations/{registrationId}`.
///
/// Parsing accepts a URL (C SDK: `amqps://host/…`), a leading slash (Java SDK), and any case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Address {
    /// The DPS instance.
    pub id_scope: IdScope,
    /// The device.
    pub registration_id: RegistrationId,
}

impl Address {
    /// The address of a device.
    pub fn new(id_scope: IdScope, registration_id: RegistrationId) -> Self {
        Self {
            id_scope,
            registration_id,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/registrations/{}",
            self.id_scope, self.registration_id
        )
    }
}

impl FromStr for Address {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("AMQP address", reason);
        let path = match text.split_once("://") {
            Some((_, rest)) => {
                let (_, path) = rest
                    .split_once('/')
                    .ok_or_else(|| wrong("the URL has no path"))?;
                path
            }
            None => text.strip_prefix('/').unwrap_or(text),
        };
        let mut parts = path.split('/');
        let (Some(id_scope), Some(middle), Some(registration_id), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong(
                "it does not have the form idScope/registrations/registrationId",
            ));
        };
        if !middle.eq_ignore_ascii_case("registrations") {
            return Err(wrong("its second part is not 'registrations'"));
        }
        let registration_id =
            decode(registration_id).ok_or_else(|| wrong("its third part is not UTF-8"))?;
        Ok(Self {
            id_scope: id_scope.parse()?,
            registration_id: registration_id.parse()?,
        })
    }
}

/// The operation of a request, in its application properties.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Registers the device.
    Register,
    /// Returns the status of a registration.
    OperationStatus(OperationId),
}

impl Operation {
    /// The value of [`OPERATION_TYPE`].
    pub fn name(&self) -> &'static str {
        match self {
            Self::Register => REGISTER,
            Self::OperationStatus(_) => OPERATION_STATUS,
        }
    }

    /// The operation id, if the request has one.
    pub fn operation_id(&self) -> Option<&OperationId> {
        match self {
            Self::Register => None,
            Self::OperationStatus(id) => Some(id),
        }
    }

    /// Reads the values of [`OPERATION_TYPE`] and [`OPERATION_ID`].
    ///
    /// # Errors
    /// If the type is missing or unknown, or a status request has no valid operation id.
    pub fn parse(name: Option<&str>, operation_id: Option<&str>) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("AMQP request", reason);
        match name {
            Some(REGISTER) => Ok(Self::Register),
            Some(OPERATION_STATUS) => {
                let id = operation_id
                    .ok_or_else(|| wrong("the property iotdps-operation-id is missing"))?;
                Ok(Self::OperationStatus(id.parse()?))
            }
            Some(_) => Err(wrong(
                "the property iotdps-operation-type is neither iotdps-register nor iotdps-get-operationstatus",
            )),
            None => Err(wrong("the property iotdps-operation-type is missing")),
        }
    }
}

/// The error condition for an HTTP status. Node's SDK maps these conditions to its errors.
pub fn condition(status: u16) -> &'static str {
    match status {
        400 => "com.microsoft:argument-error",
        401 => "amqp:unauthorized-access",
        403 | 405 => "amqp:not-allowed",
        404 => "amqp:not-found",
        408 | 504 => "com.microsoft:timeout",
        409 | 412 => "com.microsoft:precondition-failed",
        413 => "amqp:resource-limit-exceeded",
        429 => "com.microsoft:device-container-throttled",
        501 => "amqp:not-implemented",
        _ => "amqp:internal-error",
    }
}

/// The HTTP status for an error condition, for a peer whose description has no error code.
pub fn status(condition: &str) -> Option<u16> {
    Some(match condition {
        "com.microsoft:argument-error"
        | "com.microsoft:argument-out-of-range"
        | "amqp:invalid-field"
        | "amqp:decode-error" => 400,
        "amqp:unauthorized-access" => 401,
        "amqp:not-allowed" => 403,
        "amqp:not-found" => 404,
        "com.microsoft:timeout" => 408,
        "com.microsoft:precondition-failed" | "amqp:precondition-failed" => 412,
        "com.microsoft:device-container-throttled" | "amqp:resource-limit-exceeded" => 429,
        "amqp:internal-error" | "amqp:link:detach-forced" | "amqp:connection:forced" => 500,
        "amqp:not-implemented" => 501,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_addresses_of_all_sdks_are_the_same_device() {
        for text in [
            "0ne00000001/registrations/toaster-7",
            "/0ne00000001/registrations/toaster-7",
            "amqps://global.azure-devices-provisioning.net/0ne00000001/registrations/toaster-7",
            "amqps://localhost:5671/0ne00000001/Registrations/toaster-7",
        ] {
            let address: Address = text.parse().unwrap();
            assert_eq!(address.to_string(), "0ne00000001/registrations/toaster-7");
        }
    }

    #[test]
    fn other_addresses_are_refused() {
        for text in [
            "",
            "/",
            "amqps://localhost",
            "0ne00000001/registrations",
            "0ne00000001/devices/toaster-7",
            "0ne00000001/registrations/toaster-7/x",
            "0ne00000001/registrations/",
            "0ne00000001/registrations/a b",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn requests_are_read_from_their_properties() {
        let id = "4.d0a671905ea5b2c8.42d78160-4c78-479e-8be7-61d5e55dac0d";
        assert_eq!(
            Operation::parse(Some("iotdps-register"), None),
            Ok(Operation::Register)
        );
        let status = Operation::parse(Some("iotdps-get-operationstatus"), Some(id)).unwrap();
        assert_eq!(status.name(), "iotdps-get-operationstatus");
        assert_eq!(status.operation_id().unwrap().as_str(), id);
        for (name, id) in [
            (None, None),
            (Some("iotdps-get-registration"), None),
            (Some("iotdps-get-operationstatus"), None),
            (Some("iotdps-get-operationstatus"), Some("")),
        ] {
            assert!(Operation::parse(name, id).is_err(), "{name:?} {id:?}");
        }
    }

    #[test]
    fn a_condition_keeps_the_class_of_its_status() {
        for code in [400, 401, 403, 404, 408, 412, 429, 500, 501] {
            assert_eq!(status(condition(code)), Some(code), "{code}");
        }
        assert_eq!(status("amqp:something-else"), None);
    }
}
