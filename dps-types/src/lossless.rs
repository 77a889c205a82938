//! Documents that lose nothing: fields nobody knows survive a read, a change and a write.
//!
//! The service adds fields in newer api-versions and tells `null` from absent (an enrollment sent
//! with `"provisioningStatus": null` is echoed with it). Both are kept in [`Extra`].
//! Errors name the field and say nothing of a document's content, which may hold a key.

use std::ops::{Deref, DerefMut};

use serde::{Deserialize, Deserializer, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Fields of a document that its type does not name, and named fields that were sent as `null` or as
/// something else that means nothing, such as an empty operation id.
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
    kept: Map<String, Value>,
}

impl Reader {
    pub(crate) fn new(document: Value) -> Result<Self, &'static str> {
        match document {
            Value::Object(fields) => Ok(Self {
                fields,
                kept: Map::new(),
            }),
            _ => Err("it is not a JSON object"),
        }
    }

    /// The field under any of its names, upper or lower case; `null` when there is none.
    pub(crate) fn take<T: DeserializeOwned>(&mut self, names: &[&str]) -> Result<T, String> {
        let value = self.find(names);
        if value.as_ref().is_some_and(Value::is_null) {
            self.kept.insert(names[0].to_owned(), Value::Null);
        }
        read(names[0], value.unwrap_or_default())
    }

    /// The field read as a `V`, which may find nothing in it. A value that means nothing is kept as it came.
    pub(crate) fn take_via<V, T>(&mut self, names: &[&str]) -> Result<Option<T>, String>
    where
        V: DeserializeOwned + Into<Option<T>>,
    {
        let Some(value) = self.find(names) else {
            return Ok(None);
        };
        let found = read::<V>(names[0], value.clone())?.into();
        if found.is_none() {
            self.kept.insert(names[0].to_owned(), value);
        }
        Ok(found)
    }

    fn find(&mut self, names: &[&str]) -> Option<Value> {
        names.iter().find_map(|name| self.remove(name))
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
        self.fields.extend(self.kept);
        Extra(self.fields)
    }
}

fn read<T: DeserializeOwned>(name: &str, value: Value) -> Result<T, String> {
    let absent = value.is_null();
    serde_json::from_value(value).map_err(|error| match absent {
        true => format!("{name} is missing"),
        false => format!("{name}: {}", without_content(&error.to_string())),
    })
}

/// What serde found is left out, since it quotes it; what it wanted stays.
fn without_content(error: &str) -> &str {
    let quotes = ["invalid type: ", "invalid value: "];
    match error.rsplit_once(", ") {
        Some((found, wanted)) if quotes.iter().any(|start| found.starts_with(start)) => wanted,
        _ => error,
    }
}

/// A value, or none where something else stands: for what may be missing, and must not spoil the rest.
pub(crate) struct Lenient<T>(Option<T>);

impl<'de, T: DeserializeOwned> Deserialize<'de> for Lenient<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(Self(serde_json::from_value(value).ok()))
    }
}

impl<T> From<Lenient<T>> for Option<T> {
    fn from(lenient: Lenient<T>) -> Self {
        lenient.0
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
        let mut value = serde_json::to_value(value)?;
        if value.is_null() {
            let Some(kept) = self.extra.get(name) else {
                return Ok(());
            };
            value = kept.clone();
        }
        self.fields.insert(name.to_owned(), value);
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
/// `via` names a type to read an optional value as, where its own would be too strict.
/// `shown` names what Debug shows in place of a value that holds a secret.
macro_rules! lossless {
    ($(#[$meta:meta])* $vis:vis struct $Name:ident {
        $($(#[$field_meta:meta])* $field:ident: $Type:ty =
            $wire:literal $(| $alias:literal)* $(shown $show:ident)? $(via $Via:ty)?,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq)]
        #[non_exhaustive]
        $vis struct $Name {
            $($(#[$field_meta])* $vis $field: $Type,)*
            /// Fields that this version does not know, and explicit nulls. Written back as they came.
            $vis extra: $crate::Extra,
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let document = serde_json::Value::deserialize(deserializer)?;
                let mut reader = $crate::lossless::Reader::new(document)
                    .map_err(serde::de::Error::custom)?;
                $(let $field = lossless!(@take reader, [$wire $(, $alias)*] $(, $Via)?)
                    .map_err(serde::de::Error::custom)?;)*
                Ok(Self { $($field,)* extra: reader.finish() })
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut writer = $crate::lossless::Writer::new(&self.extra);
                $(writer.put($wire, &self.$field).map_err(serde::ser::Error::custom)?;)*
                writer.finish().serialize(serializer)
            }
        }

        impl std::fmt::Debug for $Name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($Name))
                    $(.field(stringify!($field), &lossless!(@show &self.$field $(, $show)?)))*
                    .field("extra", &self.extra)
                    .finish()
            }
        }
    };
    (@take $reader:ident, $names:expr) => { $reader.take(&$names) };
    (@take $reader:ident, $names:expr, $Via:ty) => { $reader.take_via::<$Via, _>(&$names) };
    (@show $value:expr) => { $value };
    (@show $value:expr, $show:ident) => { $show($value) };
}
