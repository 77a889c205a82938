//! Documents that keep unknown fields: a document that is read, changed and written loses nothing.
//!
//! Newer api-versions add fields, and the service distinguishes `null` from absent: it returns an enrollment that was sent
//! with `"provisioningStatus": null` with this member. Both are kept in [`Extra`].
//! Errors name the field and do not show a document's content, which may hold a key.

use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

/// Fields of a document that its type does not name, and named fields that were sent as `null` or as
/// something else without a meaning, such as an empty operation id.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Extra(Map<String, Value>);

impl Extra {
    /// Returns true if the field was sent as an explicit `null`.
    pub fn is_null(&self, field: &str) -> bool {
        self.0.get(field).is_some_and(Value::is_null)
    }

    /// Removes explicit nulls, except those of these fields.
    pub fn drop_nulls(&mut self, except: &[&str]) {
        self.0
            .retain(|name, value| !value.is_null() || except.contains(&name.as_str()));
    }
}

json_object!(Extra);

/// The fields that a document does not name.
pub(crate) fn extra(fields: Map<String, Value>) -> Extra {
    Extra(fields)
}

/// Reads one field. A `null` is kept and counts as absent.
pub(crate) fn read<'de, T, M>(
    map: &mut M,
    name: &str,
    kept: &mut Map<String, Value>,
) -> Result<Option<T>, M::Error>
where
    T: Deserialize<'de>,
    M: MapAccess<'de>,
{
    let value: Option<T> = map.next_value().map_err(|error| in_field(name, &error))?;
    if value.is_none() {
        kept.insert(name.to_owned(), Value::Null);
    }
    Ok(value)
}

/// Reads one field as a `V`, which may contain no value. Then what was sent is kept.
pub(crate) fn read_via<'de, V, T, M>(
    map: &mut M,
    name: &str,
    kept: &mut Map<String, Value>,
) -> Result<Option<Option<T>>, M::Error>
where
    V: DeserializeOwned + Into<Option<T>>,
    M: MapAccess<'de>,
{
    let value: Value = map.next_value()?;
    let found: Option<T> = V::deserialize(&value)
        .map_err(|error| in_field(name, &error))?
        .into();
    if found.is_none() {
        kept.insert(name.to_owned(), value);
    }
    Ok(Some(found))
}

/// The field that a member is, without regard to case, as .NET's readers match them.
pub(crate) fn field_of(member: &str, fields: &[&'static str]) -> Option<&'static str> {
    let exact = fields.iter().find(|field| **field == member);
    exact
        .or_else(|| {
            fields
                .iter()
                .find(|field| field.eq_ignore_ascii_case(member))
        })
        .copied()
}

/// Removes and returns the value that was sent under another name of the field.
pub(crate) fn take_alias(members: &mut Map<String, Value>, aliases: &[&str]) -> Option<Value> {
    let is_alias = |member: &&String| {
        aliases
            .iter()
            .any(|alias| member.eq_ignore_ascii_case(alias))
    };
    let member = members.keys().find(is_alias)?.clone();
    members.shift_remove(&member)
}

/// A value that was read as JSON already, to be read again as the type of its field.
pub(crate) struct Buffered(pub(crate) Value);

impl<'de> MapAccess<'de> for Buffered {
    type Error = serde_json::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        _: K,
    ) -> Result<Option<K::Value>, Self::Error> {
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(
        &mut self,
        seed: V,
    ) -> Result<V::Value, Self::Error> {
        seed.deserialize(self.0.take())
    }
}

/// The value of an absent field, or the error that it is missing.
pub(crate) fn absent<T: DeserializeOwned, E: Error>(name: &str) -> Result<T, E> {
    T::deserialize(Value::Null).map_err(|_| E::custom(format!("{name} is missing")))
}

/// Adds the field to serde's error, and removes the value that serde quotes; the expected type stays.
fn in_field<E: Error>(name: &str, error: &impl fmt::Display) -> E {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    let quotes = ["invalid type: ", "invalid value: "];
    let text = match text.rsplit_once(", ") {
        Some((found, wanted)) if quotes.iter().any(|start| found.starts_with(start)) => wanted,
        _ => text,
    };
    E::custom(format!("{name}: {text}"))
}

/// A field that may be omitted in writing: [`Absent`] and [`Present`] decide by its type.
pub(crate) struct Field<'a, T>(pub(crate) &'a T);

/// An optional field may be absent.
pub(crate) trait Absent {
    fn is_absent(&self) -> bool;
}

impl<T> Absent for Field<'_, Option<T>> {
    fn is_absent(&self) -> bool {
        self.0.is_none()
    }
}

/// Any other field is never absent. The additional reference makes [`Absent`] take precedence.
pub(crate) trait Present {
    fn is_absent(&self) -> bool;
}

impl<T> Present for &Field<'_, T> {
    fn is_absent(&self) -> bool {
        false
    }
}

/// A value, or nothing where the value is malformed: for fields that are not essential.
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
            /// Fields that are not known to this version, and explicit nulls. They are written back unchanged.
            $vis extra: $crate::Extra,
        }

        impl<'de> serde::Deserialize<'de> for $Name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl<'de> serde::de::Visitor<'de> for Visitor {
                    type Value = $Name;

                    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                        f.write_str("a JSON object")
                    }

                    // Serde's own error would quote the text, and it may be a key in the wrong place.
                    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<$Name, E> {
                        Err(E::custom("expected a JSON object"))
                    }

                    fn visit_map<M: serde::de::MapAccess<'de>>(self, mut map: M) -> Result<$Name, M::Error> {
                        $(let mut $field: Option<$Type> = None;)*
                        let mut extra = serde_json::Map::new();
                        while let Some(key) = map.next_key::<String>()? {
                            match $crate::lossless::field_of(&key, &[$($wire),*]) {
                                $(Some($wire) => {
                                    // A member that appears again replaces the earlier one, also an earlier null.
                                    extra.shift_remove($wire);
                                    $field = lossless!(@read &mut map, $wire, &mut extra $(, $Via)?)?;
                                })*
                                _ => {
                                    extra.insert(key, map.next_value()?);
                                }
                            }
                        }
                        $(if $field.is_none() && !extra.contains_key($wire)
                            && let Some(value) = $crate::lossless::take_alias(&mut extra, &[$($alias),*])
                        {
                            let mut map = $crate::lossless::Buffered(value);
                            $field = lossless!(@read &mut map, $wire, &mut extra $(, $Via)?)
                                .map_err(|error: serde_json::Error| serde::de::Error::custom(error))?;
                        })*
                        Ok($Name {
                            $($field: match $field {
                                Some(value) => value,
                                None => $crate::lossless::absent($wire)?,
                            },)*
                            extra: $crate::lossless::extra(extra),
                        })
                    }
                }

                deserializer.deserialize_any(Visitor)
            }
        }

        impl serde::Serialize for $Name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                use serde::ser::SerializeMap as _;
                #[allow(unused_imports)] // A document may have no optional field, or none but those.
                use $crate::lossless::{Absent as _, Present as _};

                let mut map = serializer.serialize_map(None)?;
                $(if !(&$crate::lossless::Field(&self.$field)).is_absent() {
                    map.serialize_entry($wire, &self.$field)?;
                } else if let Some(kept) = self.extra.get($wire) {
                    map.serialize_entry($wire, kept)?;
                })*
                for (name, value) in self.extra.iter() {
                    if ![$($wire),*].contains(&name.as_str()) {
                        map.serialize_entry(name, value)?;
                    }
                }
                map.end()
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
    (@read $map:expr, $wire:literal, $kept:expr) => { $crate::lossless::read($map, $wire, $kept) };
    (@read $map:expr, $wire:literal, $kept:expr, $Via:ty) => { $crate::lossless::read_via::<$Via, _, _>($map, $wire, $kept) };
    (@show $value:expr) => { $value };
    (@show $value:expr, $show:ident) => { $show($value) };
}
