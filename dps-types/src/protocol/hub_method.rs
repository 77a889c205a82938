//! The topics of direct methods, which a hub invokes on a device or on one of its modules.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`, `iot-hub/iot-hub-devguide-direct-methods.md`.

use std::fmt;
use std::str::FromStr;

use super::text::{encode_raw, mark};
use super::{decode, encode};
use crate::ParseError;

/// The topic filter for direct methods.
pub const METHOD_FILTER: &str = "$iothub/methods/POST/#";

const REQUEST: &str = "$iothub/methods/POST/";
const RESPONSE: &str = "$iothub/methods/res/";

/// The topic of a method that the device has to execute. The payload is the method's payload as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodRequestTopic {
    /// The name of the method.
    pub name: String,
    /// The request id of the hub, which the response returns exactly as the topic has it.
    pub rid: String,
}

impl MethodRequestTopic {
    /// The topic of a method with this name.
    pub fn new(name: impl Into<String>, rid: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            rid: rid.into(),
        }
    }
}

impl fmt::Display for MethodRequestTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rid = encode_raw(&self.rid);
        write!(f, "{REQUEST}{}/?$rid={rid}", encode(&self.name))
    }
}

impl FromStr for MethodRequestTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("topic of a direct method", reason);
        let (name, query) = text
            .strip_prefix(REQUEST)
            .ok_or_else(|| wrong("it is not a direct method"))?
            .split_once("/?")
            .ok_or_else(|| wrong("it has no parameters"))?;
        let name = decode(name).ok_or_else(|| wrong("its name is not UTF-8"))?;
        if name.is_empty() {
            return Err(wrong("it has no name"));
        }
        Ok(Self {
            name,
            rid: mark(query).map_err(wrong)?,
        })
    }
}

/// The topic of the response to a direct method. The payload is the response as JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MethodResponseTopic {
    /// The status that the device chooses, such as 200. The hub passes it to the caller.
    pub status: i32,
    /// The request id of the hub.
    pub rid: String,
}

impl MethodResponseTopic {
    /// The topic of the response to the request with this id.
    pub fn new(status: i32, rid: impl Into<String>) -> Self {
        Self {
            status,
            rid: rid.into(),
        }
    }
}

impl fmt::Display for MethodResponseTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { status, rid } = self;
        write!(f, "{RESPONSE}{status}/?$rid={}", encode_raw(rid))
    }
}

impl FromStr for MethodResponseTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("topic of a method's response", reason);
        let (status, query) = text
            .strip_prefix(RESPONSE)
            .ok_or_else(|| wrong("it is not the response to a direct method"))?
            .split_once("/?")
            .ok_or_else(|| wrong("it has no parameters"))?;
        let digits = status.strip_prefix('-').unwrap_or(status);
        let status = match digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => status.parse().ok(),
            false => None,
        };
        Ok(Self {
            status: status.ok_or_else(|| wrong("its status is not an integer"))?,
            rid: mark(query).map_err(wrong)?,
        })
    }
}
