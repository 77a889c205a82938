//! A device at its IoT hub over MQTT 3.1.1: the username, the resource of its SAS token, and the topics of the twin.
//!
//! Port and WebSocket path are those of DPS: see [`mqtt`](super::mqtt).
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`.

use std::fmt;
use std::str::FromStr;

use super::text::{encode_raw, http_status, mark};
use super::{ApiVersion, encode, query_parameter, single_query_parameter};
use crate::{DeviceId, HubHostname, ModuleId, ParseError};

/// The api-version of the hub that a device uses.
pub const API_VERSION: ApiVersion = ApiVersion::released(2021, 4, 12);

/// The topic filter for responses to twin requests.
pub const TWIN_RESPONSE_FILTER: &str = "$iothub/twin/res/#";
/// The topic filter for changes of the desired properties.
pub const DESIRED_FILTER: &str = "$iothub/twin/PATCH/properties/desired/#";

const TWIN_GET: &str = "$iothub/twin/GET/";
const PATCH_REPORTED: &str = "$iothub/twin/PATCH/properties/reported/";
const TWIN_RESPONSE: &str = "$iothub/twin/res/";
const PATCH_DESIRED: &str = "$iothub/twin/PATCH/properties/desired/";

/// The resource of a device's SAS token at its hub: `{hub}/devices/{deviceId}`, without a policy.
pub fn resource(hub: &HubHostname, device_id: &DeviceId) -> String {
    format!("{hub}/devices/{device_id}")
}

/// The resource of a module's SAS token: `{hub}/devices/{deviceId}/modules/{moduleId}`, without a policy.
pub fn module_resource(hub: &HubHostname, device_id: &DeviceId, module_id: &ModuleId) -> String {
    format!("{hub}/devices/{device_id}/modules/{module_id}")
}

/// The MQTT client identifier: `{deviceId}`, and `{deviceId}/{moduleId}` for a module.
pub fn client_id(device_id: &DeviceId, module_id: Option<&ModuleId>) -> String {
    match module_id {
        Some(module_id) => format!("{device_id}/{module_id}"),
        None => device_id.to_string(),
    }
}

/// The username of a device's connection, or of a module's. It has the ids as they are, without encoding, like the client id.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Username {
    /// The hub, which may differ from the host of the connection.
    pub hub: HubHostname,
    /// The device.
    pub device_id: DeviceId,
    /// The module of the device, if it is the connection of a module.
    pub module_id: Option<ModuleId>,
    /// The api-version.
    pub api_version: ApiVersion,
    /// The name of the client: `DeviceClientType`.
    pub client_type: Option<String>,
    /// The device's IoT Plug and Play model, such as `dtmi:com:example:Toaster;1`: `model-id`.
    pub model_id: Option<String>,
}

impl Username {
    /// Creates a username with the [`API_VERSION`] and without optional parameters.
    pub fn new(hub: HubHostname, device_id: DeviceId) -> Self {
        Self {
            hub,
            device_id,
            module_id: None,
            api_version: API_VERSION,
            client_type: None,
            model_id: None,
        }
    }

    /// Makes it the username of this module of the device.
    #[must_use]
    pub fn with_module(mut self, module_id: ModuleId) -> Self {
        self.module_id = Some(module_id);
        self
    }

    /// Adds the name of the client.
    #[must_use]
    pub fn with_client_type(mut self, agent: impl Into<String>) -> Self {
        self.client_type = Some(agent.into());
        self
    }

    /// Adds the device's model.
    #[must_use]
    pub fn with_model_id(mut self, model: impl Into<String>) -> Self {
        self.model_id = Some(model.into());
        self
    }
}

impl fmt::Display for Username {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            hub,
            device_id,
            module_id,
            api_version,
            client_type,
            model_id,
        } = self;
        let id = client_id(device_id, module_id.as_ref());
        write!(f, "{hub}/{id}/?api-version={api_version}")?;
        for (name, value) in [("DeviceClientType", client_type), ("model-id", model_id)] {
            if let Some(value) = value {
                write!(f, "&{name}={}", encode(value))?;
            }
        }
        Ok(())
    }
}

impl FromStr for Username {
    type Err = ParseError;

    /// Parses the username, with or without a `?` before the parameters.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("MQTT username for a hub", reason);
        let few = || wrong("it has fewer than three parts");
        let (hub, rest) = text.split_once('/').ok_or_else(few)?;
        let (device_id, rest) = rest.split_once('/').ok_or_else(few)?;
        // The value of a parameter may have a slash, so what looks like a parameter is not a module id.
        let (module_id, parameters) = match rest.split_once('/') {
            Some((id, parameters)) if !id.starts_with('?') && !id.contains('=') => {
                (Some(id.parse()?), parameters)
            }
            _ => (None, rest),
        };
        let (hub, device_id) = (hub.parse()?, device_id.parse()?);
        let parameters = parameters.strip_prefix('?').unwrap_or(parameters);
        let api_version = single_query_parameter(parameters, ApiVersion::PARAMETER)?
            .ok_or_else(|| wrong("it has no api-version"))?
            .parse()?;
        Ok(Self {
            hub,
            device_id,
            module_id,
            api_version,
            client_type: single_query_parameter(parameters, "DeviceClientType")?,
            model_id: single_query_parameter(parameters, "model-id")?,
        })
    }
}

/// A request about the twin of a device. `rid` is the device's request id, which the response returns exactly as the
/// topic has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum TwinRequestTopic {
    /// Download the twin. The body is empty, or a space.
    Get {
        /// The request id of the device.
        rid: String,
    },
    /// Patch the reported properties. The body is the patch.
    PatchReported {
        /// The request id of the device.
        rid: String,
    },
}

impl fmt::Display for TwinRequestTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (path, rid) = match self {
            Self::Get { rid } => (TWIN_GET, rid),
            Self::PatchReported { rid } => (PATCH_REPORTED, rid),
        };
        write!(f, "{path}?$rid={}", encode_raw(rid))
    }
}

impl FromStr for TwinRequestTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("twin request topic", reason);
        let rid = |path| {
            let query = text.strip_prefix(path)?.strip_prefix('?')?;
            Some(mark(query).map_err(wrong))
        };
        if let Some(rid) = rid(TWIN_GET) {
            return Ok(Self::Get { rid: rid? });
        }
        if let Some(rid) = rid(PATCH_REPORTED) {
            return Ok(Self::PatchReported { rid: rid? });
        }
        Err(wrong(
            "it is not a request for the twin or for a change of it",
        ))
    }
}

/// The topic of a response to a twin request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TwinResponseTopic {
    /// As an HTTP status: 200 with a twin, 204 for a patch.
    pub status: u16,
    /// The request id.
    pub rid: String,
    /// The version of the reported properties after a patch.
    pub version: Option<u64>,
    /// The number of seconds to wait before the next request, as the topic has it.
    pub retry_after: Option<String>,
}

impl TwinResponseTopic {
    /// Creates a response to the request with this id.
    pub fn new(status: u16, rid: impl Into<String>) -> Self {
        Self {
            status,
            rid: rid.into(),
            version: None,
            retry_after: None,
        }
    }

    /// Adds the version of the reported properties.
    #[must_use]
    pub fn with_version(mut self, version: u64) -> Self {
        self.version = Some(version);
        self
    }

    /// Adds a wait before the next request, in whole seconds.
    #[must_use]
    pub fn with_retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds.to_string());
        self
    }
}

impl fmt::Display for TwinResponseTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, rid, .. } = self;
        write!(f, "{TWIN_RESPONSE}{status}/?$rid={}", encode_raw(rid))?;
        if let Some(version) = self.version {
            write!(f, "&$version={version}")?;
        }
        match &self.retry_after {
            Some(seconds) => write!(f, "&retry-after={}", encode(seconds)),
            None => Ok(()),
        }
    }
}

impl FromStr for TwinResponseTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("twin response topic", reason);
        let (status, query) = text
            .strip_prefix(TWIN_RESPONSE)
            .ok_or_else(|| wrong("it is not a response about a twin"))?
            .split_once("/?")
            .ok_or_else(|| wrong("it has no parameters"))?;
        Ok(Self {
            status: http_status(status).map_err(wrong)?,
            rid: mark(query).map_err(wrong)?,
            version: version(query).map_err(wrong)?,
            retry_after: query_parameter(query, "retry-after"),
        })
    }
}

/// The topic of a change of the desired properties. The payload is the patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DesiredTopic {
    /// The version of the desired properties after the change.
    pub version: u64,
}

impl DesiredTopic {
    /// Creates the topic of a change with this version.
    pub fn new(version: u64) -> Self {
        Self { version }
    }
}

impl fmt::Display for DesiredTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PATCH_DESIRED}?$version={}", self.version)
    }
}

impl FromStr for DesiredTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("desired properties topic", reason);
        let query = text
            .strip_prefix(PATCH_DESIRED)
            .and_then(|rest| rest.strip_prefix('?'))
            .ok_or_else(|| wrong("it is not a change of the desired properties"))?;
        match version(query).map_err(wrong)? {
            Some(version) => Ok(Self { version }),
            None => Err(wrong("it has no $version")),
        }
    }
}

fn version(query: &str) -> Result<Option<u64>, &'static str> {
    let version = single_query_parameter(query, "$version");
    let Some(text) = version.map_err(|_| "its $version occurs more than once")? else {
        return Ok(None);
    };
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse().ok().filter(|_| digits) {
        Some(version) => Ok(Some(version)),
        None => Err("its $version is not a number"),
    }
}
