//! MQTT 3.1.1: the username, and the topics of a registration.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-dps.md`.

use std::fmt;
use std::str::FromStr;

use super::text::{encode_raw, http_status, mark};
use super::{ApiVersion, decode, encode, query_parameter, single_query_parameter};
use crate::{IdScope, OperationId, ParseError, RegistrationId};

/// The topic filter that a device subscribes to.
pub const RESPONSE_FILTER: &str = "$dps/registrations/res/#";
/// The path of MQTT over WebSocket.
pub const WEBSOCKET_PATH: &str = "/$iothub/websocket";
/// The WebSocket subprotocol.
pub const WEBSOCKET_PROTOCOL: &str = "mqtt";

const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/";
const STATUS: &str = "$dps/registrations/GET/iotdps-get-operationstatus/";
const RESPONSE: &str = "$dps/registrations/res/";

/// The username of a connection: the device, the instance and the api-version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Username {
    /// The instance.
    pub id_scope: IdScope,
    /// The device.
    pub registration_id: RegistrationId,
    /// The api-version.
    pub api_version: ApiVersion,
    /// The name of the client.
    pub client_version: Option<String>,
}

impl Username {
    /// Creates a username without a client version.
    pub fn new(
        id_scope: IdScope,
        registration_id: RegistrationId,
        api_version: ApiVersion,
    ) -> Self {
        Self {
            id_scope,
            registration_id,
            api_version,
            client_version: None,
        }
    }

    /// Adds the name of the client.
    #[must_use]
    pub fn with_client_version(mut self, agent: impl Into<String>) -> Self {
        self.client_version = Some(agent.into());
        self
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id_scope,
            registration_id,
            api_version,
            client_version,
        } = self;
        write!(
            f,
            "{id_scope}/registrations/{registration_id}/api-version={api_version}"
        )?;
        match client_version {
            Some(agent) => write!(f, "&ClientVersion={}", encode(agent)),
            None => Ok(()),
        }
    }
}

impl FromStr for Username {
    type Err = ParseError;

    /// Parses the username, with or without a `?` before the parameters.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("MQTT username", reason);
        let mut parts = text.splitn(4, '/');
        let mut part = || {
            parts
                .next()
                .ok_or_else(|| wrong("it has fewer than four parts"))
        };
        let id_scope = part()?.parse()?;
        if !part()?.eq_ignore_ascii_case("registrations") {
            return Err(wrong("its second part is not 'registrations'"));
        }
        let registration_id = decode(part()?)
            .ok_or_else(|| wrong("its third part is not UTF-8"))?
            .parse()?;
        let parameters = part()?;
        let parameters = parameters.strip_prefix('?').unwrap_or(parameters);
        let api_version = single_query_parameter(parameters, ApiVersion::PARAMETER)?
            .ok_or_else(|| wrong("it has no api-version"))?
            .parse()?;
        let client_version = single_query_parameter(parameters, "ClientVersion")?;
        Ok(Self {
            id_scope,
            registration_id,
            api_version,
            client_version,
        })
    }
}

/// A topic that a device publishes to. `rid` is the device's request id, which the response returns exactly as the topic
/// has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RequestTopic {
    /// Register.
    Register {
        /// The request id of the device.
        rid: String,
    },
    /// Polls the status of the registration.
    OperationStatus {
        /// The request id of the device.
        rid: String,
        /// The registration in progress.
        operation_id: OperationId,
    },
}

impl fmt::Display for RequestTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register { rid } => write!(f, "{REGISTER}?$rid={}", encode_raw(rid)),
            Self::OperationStatus { rid, operation_id } => {
                write!(
                    f,
                    "{STATUS}?$rid={}&operationId={operation_id}",
                    encode_raw(rid)
                )
            }
        }
    }
}

impl FromStr for RequestTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("DPS request topic", reason);
        let rid = |query: &str| mark(query).map_err(wrong);
        if let Some(query) = text
            .strip_prefix(REGISTER)
            .and_then(|rest| rest.strip_prefix('?'))
        {
            return Ok(Self::Register { rid: rid(query)? });
        }
        if let Some(query) = text
            .strip_prefix(STATUS)
            .and_then(|rest| rest.strip_prefix('?'))
        {
            let operation_id = single_query_parameter(query, "operationId")?
                .ok_or_else(|| wrong("it has no operationId"))?;
            return Ok(Self::OperationStatus {
                rid: rid(query)?,
                operation_id: operation_id.parse()?,
            });
        }
        Err(wrong("it is neither a registration nor a status request"))
    }
}

/// A topic that the service publishes to: it has the status, the payload has the details.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResponseTopic {
    /// As an HTTP status: 202 while assigning, 200 when done.
    pub status: u16,
    /// The request id.
    pub rid: String,
    /// The number of seconds to wait before the next request, as the topic has it.
    pub retry_after: Option<String>,
}

impl ResponseTopic {
    /// Creates a response to the request with this id.
    pub fn new(status: u16, rid: impl Into<String>) -> Self {
        Self {
            status,
            rid: rid.into(),
            retry_after: None,
        }
    }

    /// Adds a wait before the next request, in whole seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.to_string());
        self
    }
}

impl fmt::Display for ResponseTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{RESPONSE}{}/?$rid={}",
            self.status,
            encode_raw(&self.rid)
        )?;
        match &self.retry_after {
            Some(seconds) => write!(f, "&retry-after={}", encode(seconds)),
            None => Ok(()),
        }
    }
}

impl FromStr for ResponseTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("DPS response topic", reason);
        let rest = text
            .strip_prefix(RESPONSE)
            .ok_or_else(|| wrong("it is not a response to a registration"))?;
        let (status, query) = rest
            .split_once("/?")
            .ok_or_else(|| wrong("it has no parameters"))?;
        let status = http_status(status).map_err(wrong)?;
        let rid = mark(query).map_err(wrong)?;
        Ok(Self {
            status,
            rid,
            retry_after: query_parameter(query, "retry-after"),
        })
    }
}
