//! Described lists: the form of every performative and of most other structures (AMQP 1.4).

use serde_amqp::Value;
use serde_amqp::described::Described;
use serde_amqp::descriptor::Descriptor;
use serde_amqp::primitives::{OrderedMap, Symbol};

use crate::error::Error;
use crate::value;

/// A described value: its numeric descriptor and its content.
#[derive(Debug)]
pub(crate) struct Composite {
    pub(crate) code: u64,
    pub(crate) value: Value,
}

/// Reads the fields of a described list by position. A missing field is null, and one of another type is an error.
#[derive(Debug)]
pub(crate) struct Fields {
    values: Vec<Value>,
    what: &'static str,
}

impl Composite {
    /// Decodes the first described value, and returns it with the bytes after it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, &[u8]), Error> {
        let (value, rest) = value::decode(bytes)?;
        Ok((Self::from_value(value)?, rest))
    }

    pub(crate) fn from_value(value: Value) -> Result<Self, Error> {
        let Value::Described(described) = value else {
            return Err(Error::malformed("a described value was expected"));
        };
        let Described { descriptor, value } = *described;
        let code = match descriptor {
            Descriptor::Code(code) => code,
            Descriptor::Name(name) => code_of(name.as_str())
                .ok_or_else(|| Error::malformed("a value has a descriptor that is not known"))?,
        };
        Ok(Self { code, value })
    }

    pub(crate) fn fields(self, what: &'static str) -> Result<Fields, Error> {
        match self.value {
            Value::List(values) => Ok(Fields { values, what }),
            _ => Err(Error::malformed(format!("{what} is not a list"))),
        }
    }
}

/// A described list. Null fields at the end are left out.
pub(crate) fn list(code: u64, mut fields: Vec<Value>) -> Value {
    while fields.last() == Some(&Value::Null) {
        fields.pop();
    }
    described(code, Value::List(fields))
}

pub(crate) fn described(code: u64, value: Value) -> Value {
    Value::Described(Box::new(Described {
        descriptor: Descriptor::Code(code),
        value,
    }))
}

pub(crate) fn optional<T: Into<Value>>(value: Option<T>) -> Value {
    value.map_or(Value::Null, Into::into)
}

pub(crate) fn symbol(text: &str) -> Value {
    Value::Symbol(Symbol::from(text))
}

impl Fields {
    fn take(&mut self, index: usize) -> Value {
        self.values
            .get_mut(index)
            .map_or(Value::Null, std::mem::take)
    }

    fn wrong(&self, index: usize, expected: &str) -> Error {
        Error::malformed(format!("field {index} of {} is not {expected}", self.what))
    }

    pub(crate) fn uint(&mut self, index: usize) -> Result<Option<u32>, Error> {
        match self.take(index) {
            Value::Null => Ok(None),
            Value::Ubyte(number) => Ok(Some(number.into())),
            Value::Ushort(number) => Ok(Some(number.into())),
            Value::Uint(number) => Ok(Some(number)),
            Value::Ulong(number) => u32::try_from(number)
                .map(Some)
                .map_err(|_| self.wrong(index, "an uint")),
            _ => Err(self.wrong(index, "an uint")),
        }
    }

    pub(crate) fn ushort(&mut self, index: usize) -> Result<Option<u16>, Error> {
        match self.uint(index)? {
            None => Ok(None),
            Some(number) => u16::try_from(number)
                .map(Some)
                .map_err(|_| self.wrong(index, "an ushort")),
        }
    }

    pub(crate) fn ulong(&mut self, index: usize) -> Result<Option<u64>, Error> {
        match self.take(index) {
            Value::Ulong(number) => Ok(Some(number)),
            Value::Null => Ok(None),
            other => {
                if let Some(field) = self.values.get_mut(index) {
                    *field = other;
                }
                Ok(self.uint(index)?.map(Into::into))
            }
        }
    }

    pub(crate) fn required_uint(&mut self, index: usize) -> Result<u32, Error> {
        self.uint(index)?
            .ok_or_else(|| self.wrong(index, "present"))
    }

    pub(crate) fn boolean(&mut self, index: usize) -> Result<Option<bool>, Error> {
        match self.take(index) {
            Value::Null => Ok(None),
            Value::Bool(flag) => Ok(Some(flag)),
            _ => Err(self.wrong(index, "a boolean")),
        }
    }

    pub(crate) fn string(&mut self, index: usize) -> Result<Option<String>, Error> {
        match self.take(index) {
            Value::Null => Ok(None),
            Value::String(text) => Ok(Some(text)),
            Value::Symbol(text) => Ok(Some(text.into_inner())),
            _ => Err(self.wrong(index, "a string")),
        }
    }

    pub(crate) fn binary(&mut self, index: usize) -> Result<Option<Vec<u8>>, Error> {
        match self.take(index) {
            Value::Null => Ok(None),
            Value::Binary(bytes) => Ok(Some(bytes.into_vec())),
            _ => Err(self.wrong(index, "binary")),
        }
    }

    /// Symbols: one, or an array or a list of them (AMQP 1.4, `multiple`).
    pub(crate) fn symbols(&mut self, index: usize) -> Result<Vec<String>, Error> {
        let values = match self.take(index) {
            Value::Null => Vec::new(),
            Value::Array(array) => array.0,
            Value::List(list) => list,
            one => vec![one],
        };
        values
            .into_iter()
            .map(|value| match value {
                Value::Symbol(text) => Ok(text.into_inner()),
                Value::String(text) => Ok(text),
                _ => Err(self.wrong(index, "a symbol")),
            })
            .collect()
    }

    pub(crate) fn map(&mut self, index: usize) -> Result<Vec<(String, Value)>, Error> {
        match self.take(index) {
            Value::Null => Ok(Vec::new()),
            Value::Map(map) => Ok(text_keys(map)),
            _ => Err(self.wrong(index, "a map")),
        }
    }

    pub(crate) fn value(&mut self, index: usize) -> Value {
        self.take(index)
    }
}

/// The entries whose keys are symbols or strings. Nothing that is read here has others.
pub(crate) fn text_keys(map: OrderedMap<Value, Value>) -> Vec<(String, Value)> {
    map.into_inner()
        .into_iter()
        .filter_map(|(key, value)| match key {
            Value::Symbol(key) => Some((key.into_inner(), value)),
            Value::String(key) => Some((key, value)),
            _ => None,
        })
        .collect()
}

/// A map whose keys are symbols.
pub(crate) fn symbol_map(entries: &[(&str, Value)]) -> Value {
    let mut map = OrderedMap::new();
    for (key, value) in entries {
        map.insert(symbol(key), value.clone());
    }
    Value::Map(map)
}

/// The numeric descriptors of the structures that a peer may describe by name (AMQP 2.7, 2.8.14, 3.2, 3.4, 3.5, 5.3.3).
fn code_of(name: &str) -> Option<u64> {
    Some(match name {
        "amqp:open:list" => 0x10,
        "amqp:begin:list" => 0x11,
        "amqp:attach:list" => 0x12,
        "amqp:flow:list" => 0x13,
        "amqp:transfer:list" => 0x14,
        "amqp:disposition:list" => 0x15,
        "amqp:detach:list" => 0x16,
        "amqp:end:list" => 0x17,
        "amqp:close:list" => 0x18,
        "amqp:error:list" => 0x1d,
        "amqp:received:list" => 0x23,
        "amqp:accepted:list" => 0x24,
        "amqp:rejected:list" => 0x25,
        "amqp:released:list" => 0x26,
        "amqp:modified:list" => 0x27,
        "amqp:source:list" => 0x28,
        "amqp:target:list" => 0x29,
        "amqp:coordinator:list" => 0x30,
        "amqp:sasl-mechanisms:list" => 0x40,
        "amqp:sasl-init:list" => 0x41,
        "amqp:sasl-challenge:list" => 0x42,
        "amqp:sasl-response:list" => 0x43,
        "amqp:sasl-outcome:list" => 0x44,
        "amqp:header:list" => 0x70,
        "amqp:delivery-annotations:map" => 0x71,
        "amqp:message-annotations:map" => 0x72,
        "amqp:properties:list" => 0x73,
        "amqp:application-properties:map" => 0x74,
        "amqp:data:binary" => 0x75,
        "amqp:amqp-sequence:list" => 0x76,
        "amqp:amqp-value:*" => 0x77,
        "amqp:footer:map" => 0x78,
        _ => return None,
    })
}
