//! The topics of messages between a device, or one of its modules, and the hub, and the properties that they hold.
//!
//! Source: azure-docs `iot/iot-mqtt-connect-to-iot-hub.md`, `iot-hub/iot-hub-devguide-messages-construct.md`.

use std::fmt;
use std::str::FromStr;

use super::{decode, encode};
use crate::{DeviceId, ModuleId, ParseError};

/// The names of the system properties, as the properties of a topic have them.
pub mod property {
    /// The message id.
    pub const MESSAGE_ID: &str = "$.mid";
    /// The correlation id.
    pub const CORRELATION_ID: &str = "$.cid";
    /// The user id.
    pub const USER_ID: &str = "$.uid";
    /// The content type, such as `application/json`.
    pub const CONTENT_TYPE: &str = "$.ct";
    /// The content encoding, such as `utf-8`.
    pub const CONTENT_ENCODING: &str = "$.ce";
    /// The time at which the device created the message.
    pub const CREATION_TIME: &str = "$.ctime";
    /// The time at which the message expires.
    pub const EXPIRY_TIME: &str = "$.exp";
    /// The destination of a cloud-to-device message.
    pub const TO: &str = "$.to";
    /// The output of a module.
    pub const OUTPUT: &str = "$.on";
    /// The component of an IoT Plug and Play model.
    pub const COMPONENT: &str = "$.sub";
    /// The feedback that the sender of a cloud-to-device message requests: `none`, `positive`, `negative` or `full`.
    pub const ACK: &str = "iothub-ack";
}

const EVENTS: &str = "messages/events";
const DEVICEBOUND: &str = "messages/devicebound";
const INPUTS: &str = "inputs/";

/// The topic filter for cloud-to-device messages.
pub fn devicebound_filter(device_id: &DeviceId) -> String {
    format!("{}{DEVICEBOUND}/#", Base(device_id, None))
}

/// The topic filter for messages to a module.
pub fn module_filter(device_id: &DeviceId, module_id: &ModuleId) -> String {
    format!("{}#", Base(device_id, Some(module_id)))
}

/// Properties of a message: names and values, in order. System properties have a name that begins with `$.`.
///
/// As text it is `name=value&name=value`, with percent-encoding; a `+` is a plus sign.
///
/// ```
/// use dps_types::protocol::hub_message::PropertyBag;
///
/// let mut properties = PropertyBag::new();
/// properties.insert("urgency", "high");
/// assert_eq!(properties.to_string(), "urgency=high");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertyBag(Vec<(String, String)>);

impl PropertyBag {
    /// No properties.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a property. A property with this name is replaced.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<String>) {
        let (name, value) = (name.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    /// The value of this property. Case matters.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter()
            .find_map(|(known, value)| (known == name).then_some(value))
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The number of properties.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True if there are no properties.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for PropertyBag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, value)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "&" };
            write!(f, "{separator}{}={}", encode(name), encode(value))?;
        }
        Ok(())
    }
}

impl FromStr for PropertyBag {
    type Err = ParseError;

    /// Parses the properties, with or without a `?` before or a `/` after them. A property without `=` has an empty value; of
    /// several with the same name the last one counts.
    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("properties of a message", reason);
        let text = text.strip_prefix('?').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        let mut properties = Self::new();
        for pair in text.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name).ok_or_else(|| wrong("a name is not UTF-8"))?;
            if name.is_empty() {
                return Err(wrong("a property has no name"));
            }
            let value = decode(value).ok_or_else(|| wrong("a value is not UTF-8"))?;
            properties.insert(name, value);
        }
        Ok(properties)
    }
}

/// The topic of a device-to-cloud message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EventsTopic {
    /// The device.
    pub device_id: DeviceId,
    /// The module, if a module sends the message.
    pub module_id: Option<ModuleId>,
    /// System and application properties.
    pub properties: PropertyBag,
}

impl EventsTopic {
    /// The topic of a message of this device, or of one of its modules.
    pub fn new(device_id: DeviceId, module_id: Option<ModuleId>, properties: PropertyBag) -> Self {
        Self {
            device_id,
            module_id,
            properties,
        }
    }
}

impl fmt::Display for EventsTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = Base(&self.device_id, self.module_id.as_ref());
        write!(f, "{base}{EVENTS}/{}", self.properties)
    }
}

impl FromStr for EventsTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("device-to-cloud topic", reason);
        let (device_id, module_id, rest) = base(text).map_err(wrong)?;
        let rest = rest
            .strip_prefix(EVENTS)
            .ok_or_else(|| wrong("it is not a topic for messages of a device"))?;
        Ok(Self {
            device_id: device_id.parse()?,
            module_id: module_id.map(|module_id| module_id.parse()).transpose()?,
            properties: properties(rest).map_err(wrong)?.parse()?,
        })
    }
}

/// The topic of a cloud-to-device message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeviceboundTopic {
    /// The device.
    pub device_id: DeviceId,
    /// System and application properties.
    pub properties: PropertyBag,
}

impl DeviceboundTopic {
    /// The topic of a message to this device.
    pub fn new(device_id: DeviceId, properties: PropertyBag) -> Self {
        Self {
            device_id,
            properties,
        }
    }
}

impl fmt::Display for DeviceboundTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = Base(&self.device_id, None);
        write!(f, "{base}{DEVICEBOUND}/{}", self.properties)
    }
}

impl FromStr for DeviceboundTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("cloud-to-device topic", reason);
        let (device_id, module_id, rest) = base(text).map_err(wrong)?;
        let rest = rest
            .strip_prefix(DEVICEBOUND)
            .filter(|_| module_id.is_none())
            .ok_or_else(|| wrong("it is not a topic for messages to a device"))?;
        Ok(Self {
            device_id: device_id.parse()?,
            properties: properties(rest).map_err(wrong)?.parse()?,
        })
    }
}

/// The topic of a message to an input of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct InputTopic {
    /// The device.
    pub device_id: DeviceId,
    /// The module.
    pub module_id: ModuleId,
    /// The name of the input.
    pub input: String,
    /// System and application properties.
    pub properties: PropertyBag,
}

impl InputTopic {
    /// The topic of a message to this input.
    pub fn new(
        device_id: DeviceId,
        module_id: ModuleId,
        input: impl Into<String>,
        properties: PropertyBag,
    ) -> Self {
        Self {
            device_id,
            module_id,
            input: input.into(),
            properties,
        }
    }
}

impl fmt::Display for InputTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let base = Base(&self.device_id, Some(&self.module_id));
        write!(
            f,
            "{base}{INPUTS}{}/{}",
            encode(&self.input),
            self.properties
        )
    }
}

impl FromStr for InputTopic {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let wrong = |reason| ParseError::new("topic of an input", reason);
        let (device_id, module_id, rest) = base(text).map_err(wrong)?;
        let rest = rest
            .strip_prefix(INPUTS)
            .ok_or_else(|| wrong("it is not a topic for messages to a module"))?;
        let module_id = module_id.ok_or_else(|| wrong("it has no module id"))?;
        let (input, rest) = match rest.find('/') {
            Some(end) => rest.split_at(end),
            None => (rest, ""),
        };
        Ok(Self {
            device_id: device_id.parse()?,
            module_id: module_id.parse()?,
            input: decode(input).ok_or_else(|| wrong("the name of its input is not UTF-8"))?,
            properties: properties(rest).map_err(wrong)?.parse()?,
        })
    }
}

/// The first part of every topic: `devices/{deviceId}/`, and `modules/{moduleId}/` for a module.
struct Base<'a>(&'a DeviceId, Option<&'a ModuleId>);

impl fmt::Display for Base<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "devices/{}/", encode(self.0.as_str()))?;
        match self.1 {
            Some(module_id) => write!(f, "modules/{}/", encode(module_id.as_str())),
            None => Ok(()),
        }
    }
}

/// The decoded device id, the decoded module id, and the rest.
fn base(text: &str) -> Result<(String, Option<String>, &str), &'static str> {
    let segment = |text: &'_ str| decode(text).ok_or("an id is not UTF-8");
    let (device_id, rest) = text
        .strip_prefix("devices/")
        .and_then(|rest| rest.split_once('/'))
        .ok_or("it does not begin with a device")?;
    let device_id = segment(device_id)?;
    match rest.strip_prefix("modules/") {
        Some(rest) => {
            let (module_id, rest) = rest
                .split_once('/')
                .ok_or("it has nothing after the module id")?;
            Ok((device_id, Some(segment(module_id)?), rest))
        }
        None => Ok((device_id, None, rest)),
    }
}

/// The properties after the fixed part of a topic.
fn properties(rest: &str) -> Result<&str, &'static str> {
    match rest.strip_prefix('/') {
        Some(properties) if !properties.trim_end_matches('/').contains('/') => Ok(properties),
        None if rest.is_empty() => Ok(""),
        _ => Err("it has more parts than such a topic has"),
    }
}
