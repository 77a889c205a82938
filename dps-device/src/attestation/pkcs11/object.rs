//! Objects in a token: how they are selected, found and read.

use std::fmt;

use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::object::{Attribute, AttributeInfo, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use data_encoding::HEXLOWER;

use super::failure::Failure;
use super::uri::Uri;
use crate::error::Error;

/// The objects that a search may return.
pub(super) const MAX_OBJECTS: usize = 4096;
/// The bytes of an attribute, whose length the module reports before it is read.
const MAX_ATTRIBUTE: usize = 65_536;

/// Selects an object by its class, label and id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Selector {
    pub(super) class: Class,
    pub(super) label: Option<String>,
    pub(super) id: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Class {
    Certificate,
    PrivateKey,
    PublicKey,
    SecretKey,
}

impl Selector {
    pub(super) fn new(class: Class, uri: &Uri) -> Self {
        Self {
            class,
            label: uri.object().map(str::to_owned),
            id: uri.id().map(<[u8]>::to_vec),
        }
    }

    pub(super) fn every(class: Class) -> Self {
        Self {
            class,
            label: None,
            id: None,
        }
    }

    pub(super) fn by_id(class: Class, id: &[u8]) -> Self {
        Self {
            class,
            label: None,
            id: Some(id.to_vec()),
        }
    }

    pub(super) fn by_label(class: Class, label: &str) -> Self {
        Self {
            class,
            label: Some(label.to_owned()),
            id: None,
        }
    }

    pub(super) fn has_name(&self) -> bool {
        self.label.is_some() || self.id.is_some()
    }

    /// All objects that match.
    pub(super) fn all(&self, session: &Session) -> Result<Vec<ObjectHandle>, Failure> {
        // Session objects are private to their owner, so they are not found here.
        let mut template = vec![Attribute::Class(self.class.into()), Attribute::Token(true)];
        if let Some(label) = &self.label {
            template.push(Attribute::Label(label.clone().into_bytes()));
        }
        if let Some(id) = &self.id {
            template.push(Attribute::Id(id.clone()));
        }
        let objects: Result<Vec<_>, _> = session
            .iter_objects(&template)?
            .take(MAX_OBJECTS + 1)
            .collect();
        let objects = objects?;
        if objects.len() > MAX_OBJECTS {
            return Err(Error::configuration(format!(
                "the token has more than {MAX_OBJECTS} objects that match {self}: select one by object and id in the URI"
            ))
            .into());
        }
        Ok(objects)
    }

    /// The only object that matches.
    pub(super) fn one(&self, session: &Session) -> Result<ObjectHandle, Failure> {
        match *self.all(session)? {
            [object] => Ok(object),
            [] => Err(self.missing(session)?.into()),
            _ => Err(self.ambiguous(session)?.into()),
        }
    }

    /// Destroys an object that matches.
    pub(super) fn destroy(&self, session: &Session, object: ObjectHandle) -> Result<(), Failure> {
        self.check(session, object)?;
        Ok(session.destroy_object(object)?)
    }

    /// Checks that the handle belongs to an object that matches. Some modules give a new object the handle of another one.
    pub(super) fn check(&self, session: &Session, object: ObjectHandle) -> Result<(), Failure> {
        let class = read(session, object, AttributeType::Class)?;
        let label = bytes(session, object, AttributeType::Label)?.unwrap_or_default();
        let id = bytes(session, object, AttributeType::Id)?.unwrap_or_default();
        let label_matches = |expected: &String| expected.as_bytes() == label.as_slice();
        let id_matches = |expected: &Vec<u8>| expected.as_slice() == id.as_slice();
        if class == Some(Attribute::Class(self.class.into()))
            && self.label.as_ref().is_none_or(label_matches)
            && self.id.as_ref().is_none_or(id_matches)
        {
            return Ok(());
        }
        Err(Error::configuration(format!(
            "the {self} is not removed, because its handle belongs to another object as well: some PKCS#11 modules use a handle twice after an object was removed; restart the program and remove it again"
        ))
        .into())
    }

    /// Selects the object by its label and id, so that an object that is added later cannot be mistaken for it.
    pub(super) fn with_full_name(
        &self,
        session: &Session,
        object: ObjectHandle,
    ) -> Result<Self, Failure> {
        let label = bytes(session, object, AttributeType::Label)?;
        let label = label.and_then(|label| String::from_utf8(label).ok());
        Ok(Self {
            class: self.class,
            label: label.or_else(|| self.label.clone()),
            id: bytes(session, object, AttributeType::Id)?.or_else(|| self.id.clone()),
        })
    }

    pub(super) fn ambiguous(&self, session: &Session) -> Result<Error, Failure> {
        Ok(Error::configuration(format!(
            "the token has more than one {self}: select one by object and id in the URI; there is {}",
            list_objects(session, self.class)?
        )))
    }

    pub(super) fn missing(&self, session: &Session) -> Result<Error, Failure> {
        for class in [Class::PrivateKey, Class::SecretKey, Class::PublicKey] {
            let other = Self {
                class,
                ..self.clone()
            };
            if self.has_name() && class != self.class && !other.all(session)?.is_empty() {
                return Ok(Error::configuration(format!(
                    "the token has no {self}: the object with this name is a {class}"
                )));
            }
        }
        Ok(Error::configuration(format!(
            "the token has no {self}: there is {}",
            list_objects(session, self.class)?
        )))
    }
}

/// Lists the objects of a class for an error message.
fn list_objects(session: &Session, class: Class) -> Result<String, Failure> {
    let mut names = Vec::new();
    for object in Selector::every(class).all(session)? {
        let label = bytes(session, object, AttributeType::Label)?.unwrap_or_default();
        let id = bytes(session, object, AttributeType::Id)?.unwrap_or_default();
        let label = String::from_utf8_lossy(&label);
        names.push(format!("{label:?} (id {})", HEXLOWER.encode(&id)));
    }
    if names.is_empty() {
        return Ok(format!("no {class} in the token"));
    }
    names.sort();
    Ok(names.join(", "))
}

/// An attribute. `None` if the object does not have it or does not reveal it, or if it is empty.
pub(super) fn read(
    session: &Session,
    object: ObjectHandle,
    attribute: AttributeType,
) -> Result<Option<Attribute>, Failure> {
    match session.get_attribute_info(object, &[attribute])?.first() {
        Some(AttributeInfo::Available(size)) if *size > MAX_ATTRIBUTE => {
            return Err(Error::configuration(format!(
                "the token reports an attribute ({attribute}) of {size} bytes, and the limit is {MAX_ATTRIBUTE}"
            ))
            .into());
        }
        Some(AttributeInfo::Available(1..)) => {}
        _ => return Ok(None),
    }
    match session.get_attributes(object, &[attribute]) {
        Err(ModuleError::Pkcs11(
            RvError::AttributeSensitive | RvError::AttributeTypeInvalid,
            _,
        )) => Ok(None),
        attributes => Ok(attributes?.into_iter().next()),
    }
}

/// The value of an attribute that is not empty. `None` if the object does not have it or does not reveal it.
pub(super) fn bytes(
    session: &Session,
    object: ObjectHandle,
    attribute: AttributeType,
) -> Result<Option<Vec<u8>>, Failure> {
    let Some(
        Attribute::EcPoint(value)
        | Attribute::Id(value)
        | Attribute::Label(value)
        | Attribute::Modulus(value)
        | Attribute::PublicExponent(value)
        | Attribute::PublicKeyInfo(value)
        | Attribute::EcParams(value)
        | Attribute::Value(value),
    ) = read(session, object, attribute)?
    else {
        return Ok(None);
    };
    Ok(Some(value).filter(|value| !value.is_empty()))
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.class)?;
        if let Some(label) = &self.label {
            write!(f, " {label:?}")?;
        }
        if let Some(id) = &self.id {
            write!(f, " with the id {}", HEXLOWER.encode(id))?;
        }
        Ok(())
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::PrivateKey => "private key",
            Self::PublicKey => "public key",
            Self::SecretKey => "secret key",
        })
    }
}

impl From<Class> for ObjectClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Certificate => Self::CERTIFICATE,
            Class::PrivateKey => Self::PRIVATE_KEY,
            Class::PublicKey => Self::PUBLIC_KEY,
            Class::SecretKey => Self::SECRET_KEY,
        }
    }
}
