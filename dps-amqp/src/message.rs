//! Messages: the sections that DPS and its devices use (AMQP 3.2).

use std::fmt;

use serde_amqp::Value;
use serde_amqp::primitives::OrderedMap;

use crate::composite::{Composite, described, list, text_keys};
use crate::condition_value::{int, seconds};
use crate::error::Error;
use crate::value;

const HEADER: u64 = 0x70;
const DELIVERY_ANNOTATIONS: u64 = 0x71;
const MESSAGE_ANNOTATIONS: u64 = 0x72;
const PROPERTIES: u64 = 0x73;
const APPLICATION_PROPERTIES: u64 = 0x74;
const DATA: u64 = 0x75;
const SEQUENCE: u64 = 0x76;
const VALUE: u64 = 0x77;
const FOOTER: u64 = 0x78;

/// The index of the correlation id in the properties (AMQP 3.2.4).
const CORRELATION_ID: usize = 5;

/// A message: correlation id, application properties and body. Other properties and annotations are dropped.
///
/// Debug output leaves the body out: it may hold a secret of the user.
#[non_exhaustive]
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Ties an answer to its request.
    pub correlation_id: Option<CorrelationId>,
    /// The application properties, in their order.
    pub properties: Vec<(String, Property)>,
    /// The body.
    pub body: Body,
}

/// The value that ties an answer to its request: text, a number, a UUID or bytes, and kept as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CorrelationId(Value);

/// The value of an application property.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// A string or a symbol.
    Text(String),
    /// A boolean.
    Boolean(bool),
    /// A whole number of any type. It is sent as AMQP int.
    Number(u32),
    /// A value of another type, which is not read.
    Other,
}

/// The body of a message.
#[non_exhaustive]
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Body {
    /// There is no body section.
    #[default]
    None,
    /// Data sections, joined.
    Data(Vec<u8>),
    /// A value section that holds a string.
    Text(String),
    /// A value or sequence section that holds something else.
    Other,
}

impl CorrelationId {
    /// A correlation id that is a string.
    pub fn text(text: impl Into<String>) -> Self {
        Self(Value::String(text.into()))
    }
}

impl Message {
    /// A message with a data section.
    pub fn data(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            body: Body::Data(bytes.into()),
            ..Self::default()
        }
    }

    /// Sets the correlation id.
    #[must_use]
    pub fn with_correlation_id(mut self, id: Option<CorrelationId>) -> Self {
        self.correlation_id = id;
        self
    }

    /// Adds an application property.
    #[must_use]
    pub fn with_property(mut self, name: impl Into<String>, value: Property) -> Self {
        self.properties.push((name.into(), value));
        self
    }

    /// The first property with this name, in any case.
    pub fn property(&self, name: &str) -> Option<&Property> {
        self.properties
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The first property with this name, in any case, if it is text.
    pub fn text_property(&self, name: &str) -> Option<&str> {
        match self.property(name)? {
            Property::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The wait in seconds in the property `retry-after` or `Retry-After`: a whole number, or text with one.
    pub fn retry_after(&self) -> Option<u32> {
        match self.property("retry-after")? {
            Property::Number(seconds) => Some(*seconds),
            Property::Text(text) => text.trim().parse().ok(),
            _ => None,
        }
    }

    pub(crate) fn decode(mut bytes: &[u8]) -> Result<Self, Error> {
        let mut message = Self::default();
        while !bytes.is_empty() {
            let (section, rest) = Composite::decode(bytes)?;
            bytes = rest;
            message.add(section)?;
        }
        Ok(message)
    }

    fn add(&mut self, section: Composite) -> Result<(), Error> {
        match section.code {
            HEADER | DELIVERY_ANNOTATIONS | MESSAGE_ANNOTATIONS | FOOTER => {}
            PROPERTIES => {
                let id = section.fields("properties")?.value(CORRELATION_ID);
                self.correlation_id = CorrelationId::from_value(id)?;
            }
            APPLICATION_PROPERTIES => match section.value {
                Value::Map(map) => {
                    self.properties = text_keys(map)
                        .into_iter()
                        .map(|(key, value)| (key, Property::from_value(value)))
                        .collect();
                }
                _ => return Err(Error::malformed("the application properties are not a map")),
            },
            DATA => match (section.value, &mut self.body) {
                (Value::Binary(more), Body::Data(bytes)) => bytes.extend_from_slice(&more),
                (Value::Binary(bytes), body) => *body = Body::Data(bytes.into_vec()),
                _ => return Err(Error::malformed("a data section is not binary")),
            },
            VALUE => {
                self.body = match section.value {
                    Value::Null => Body::None,
                    Value::String(text) => Body::Text(text),
                    Value::Binary(bytes) => Body::Data(bytes.into_vec()),
                    _ => Body::Other,
                };
            }
            SEQUENCE => self.body = Body::Other,
            code => {
                return Err(Error::malformed(format!(
                    "{code:#x} does not describe a section of a message"
                )));
            }
        }
        Ok(())
    }

    pub(crate) fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if let Some(CorrelationId(id)) = &self.correlation_id {
            let mut fields = vec![Value::Null; CORRELATION_ID];
            fields.push(id.clone());
            bytes.extend(value::encode(&list(PROPERTIES, fields))?);
        }
        if !self.properties.is_empty() {
            let mut map = OrderedMap::new();
            for (key, property) in &self.properties {
                map.insert(Value::String(key.clone()), property.to_value());
            }
            bytes.extend(value::encode(&described(
                APPLICATION_PROPERTIES,
                Value::Map(map),
            ))?);
        }
        // A message has at least one body section (AMQP 3.2).
        let body = match &self.body {
            Body::Data(data) => described(DATA, Value::Binary(data.clone().into())),
            Body::None => described(DATA, Value::Binary(Vec::new().into())),
            Body::Text(text) => described(VALUE, Value::String(text.clone())),
            Body::Other => described(VALUE, Value::Null),
        };
        bytes.extend(value::encode(&body)?);
        Ok(bytes)
    }
}

impl CorrelationId {
    fn from_value(value: Value) -> Result<Option<Self>, Error> {
        match value {
            Value::Null => Ok(None),
            Value::String(_) | Value::Ulong(_) | Value::Uuid(_) | Value::Binary(_) => {
                Ok(Some(Self(value)))
            }
            _ => Err(Error::malformed(
                "a correlation id is not a string, an ulong, a uuid or binary",
            )),
        }
    }
}

impl Property {
    fn from_value(value: Value) -> Self {
        match value {
            Value::String(text) => Self::Text(text),
            Value::Symbol(text) => Self::Text(text.into_inner()),
            Value::Bool(flag) => Self::Boolean(flag),
            other => seconds(&other).map_or(Self::Other, Self::Number),
        }
    }

    fn to_value(&self) -> Value {
        match self {
            Self::Text(text) => Value::String(text.clone()),
            Self::Boolean(flag) => Value::Bool(*flag),
            Self::Number(number) => int(*number),
            Self::Other => Value::Null,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("correlation_id", &self.correlation_id)
            .field("properties", &self.properties)
            .field("body", &self.body)
            .finish()
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Data(data) => write!(f, "Data({} bytes)", data.len()),
            Self::Text(text) => write!(f, "Text({} bytes)", text.len()),
            Self::Other => f.write_str("Other"),
        }
    }
}
