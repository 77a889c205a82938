//! Documents that lose nothing: fields nobody knows survive a read, a change and a write.
//!
//! The service adds fields in newer api-versions and tells `null` from absent (an enrollment sent
//! with `"provisioningStatus": null` is echoed with it). Both are kept in [`Extra`].

use std::ops::{Deref, DerefMut};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Fields of a document that its type does not name, and named fields that were sent as `null`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extra(Map<String, Value>);

impl Extra {
    /// Whether the field came as an explicit `null`.
    pub fn is_null(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(Value::is_null)
    }

    /// Forgets explicit nulls, apart from those of the fields named here.
    pub fn drop_nulls(&mut self, except: &[&str]) {
        self.0
            .retain(|name, value| !value.is_null() || except.contains(&name.as_str()));
    }
}

impl Deref for Extra {
    type Target = Map<String, Value>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl DerefMut for Extra {
    fn deref_mut(&mut self) -> &mut Self::Target {
        &mut self.0
    }
}

/// Takes a document apart, field by field. What is left at the end is [`Extra`].
pub(crate) struct Reader {
    fields: Map<String, Value>,
    nulls: Map<String, Value>,
}

impl Reader {
    pub(crate) fn new(fields: Map<String, Value>) -> Self {
        Self {
            fields,
            nulls: Map::new(),
        }
    }

    /// The field under any of its names, upper or lower case; `null` when there is none.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, names: &[&str]) -> Result<T, String> {
        let value = names.iter().find_map(|name| self.remove(name));
        let found = value.is_some();
        let value = value.unwrap_or_default();
        if found && value.is_null() {
            self.nulls.insert(names[0].to_owned(), Value::Null);
        }
        let absent = value.is_null();
        serde_json::from_value(value).map_err(|error| match absent {
            true => format!("{} is missing", names[0]),
            false => format!("{}: {error}", names[0]),
        })
    }

    fn remove(&mut self, name: &str) -> Option<Value> {
        if let Some(value) = self.fields.shift_remove(name) {
            return Some(value);
        }
        let spelled = self
            .fields
            .keys()
            .find(|key| key.eq_ignore_ascii_case(name))?
            .clone();
        self.fields.shift_remove(&spelled)
    }

    pub(crate) fn finish(mut self) -> Extra {
        self.fields.extend(self.nulls);
        Extra(self.fields)
    }
}

/// Puts a document together in the order of its fields, then what nobody knows.
pub(crate) struct Writer<'a> {
    fields: Map<String, Value>,
    extra: &'a Extra,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(extra: &'a Extra) -> Self {
        Self {
            fields: Map::new(),
            extra,
        }
    }

    pub(crate) fn put<T: Serialize>(&mut self, name: &str, value: &T) -> serde_json::Result<()> {
        let value = serde_json::to_value(value)?;
        if !value.is_null() || self.extra.is_null(name) {
            self.fields.insert(name.to_owned(), value);
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Map<String, Value> {
        for (name, value) in self.extra.iter() {
            if !self.fields.contains_key(name) {
                self.fields.insert(name.clone(), value.clone());
            }
        }
        self.fields
    }
}

/// Defines a document: its fields with their names on the wire, and [`Extra`] for all others.
///
/// `via` names a type between the field's and the wire's, for a value that is written in another way
/// than its type would; it converts `From` and `Into` the field's type.
macro_rules! lossless {
    ($(#[$meta:meta])* $vis:vis struct $Name:ident {
        $($(#[$field_meta:meta])* $field:ident: $Type:ty = $wire:literal $(| $alias:literal)* $(via $Via:ty)?,)*
    }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq)]
        #[non_exhaustive]
        $vis struct $Name {
            $($(#[$field_meta])* $vis $field: $Type,)*
            /// Fields that this version does not know, and explicit nulls. Written back as they came.
            $vis extra: $crate::Extra,
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let fields = serde_json::Map::deserialize(deserializer)?;
                let mut reader = $crate::lossless::Reader::new(fields);
                $(let $field = lossless!(@take reader, [$wire $(, $alias)*] $(, $Via)?)
                    .map_err(serde::de::Error::custom)?;)*
                Ok(Self { $($field,)* extra: reader.finish() })
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut writer = $crate::lossless::Writer::new(&self.extra);
                $(lossless!(@put writer, $wire, self.$field $(, $Via)?)
                    .map_err(serde::ser::Error::custom)?;)*
                writer.finish().serialize(serializer)
            }
        }
    };
    (@take $reader:ident, $names:expr) => { $reader.take(&$names) };
    (@take $reader:ident, $names:expr, $Via:ty) => { $reader.take::<$Via>(&$names).map(Into::into) };
    (@put $writer:ident, $wire:literal, $value:expr) => { $writer.put($wire, &$value) };
    (@put $writer:ident, $wire:literal, $value:expr, $Via:ty) => { $writer.put($wire, &<$Via>::from($value.clone())) };
}
