//! Objects in a token: how they are selected, found and read.

use std::fmt;

use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;
use data_encoding::HEXLOWER;

use super::failure::Failure;
use super::uri::Uri;
use crate::error::Error;

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
        Ok(session.find_objects(&template)?)
    }

    /// The only object that matches.
    pub(super) fn one(&self, session: &Session) -> Result<ObjectHandle, Failure> {
        match *self.all(session)? {
            [object] => Ok(object),
            [] => Err(self.missing(session)?.into()),
            _ => Err(Error::configuration(format!(
                "the token has more than one {self}: select one by object and id in the URI; there is {}",
                list_objects(session, self.class)?
            ))
            .into()),
        }
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

    fn missing(&self, session: &Session) -> Result<Error, Failure> {
        for class in [Class::PrivateKey, Class::SecretKey, Class::PublicKey] {
            let other = Self {
                class,
                ..self.clone()
            };
            let has_name = self.label.is_some() || self.id.is_some();
            if has_name && class != self.class && !other.all(session)?.is_empty() {
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
    let every = Selector {
        class,
        label: None,
        id: None,
    };
    let mut names = Vec::new();
    for object in every.all(session)? {
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

/// The value of an attribute. `None` if the object does not have it or does not reveal it.
pub(super) fn bytes(
    session: &Session,
    object: ObjectHandle,
    attribute: AttributeType,
) -> Result<Option<Vec<u8>>, Failure> {
    let attributes = match session.get_attributes(object, &[attribute]) {
        Err(ModuleError::Pkcs11(
            RvError::AttributeSensitive | RvError::AttributeTypeInvalid,
            _,
        )) => return Ok(None),
        attributes => attributes?,
    };
    let value = attributes
        .into_iter()
        .next()
        .and_then(|attribute| match attribute {
            Attribute::EcPoint(value)
            | Attribute::Id(value)
            | Attribute::Label(value)
            | Attribute::Modulus(value)
            | Attribute::PublicExponent(value)
            | Attribute::PublicKeyInfo(value)
            | Attribute::EcParams(value)
            | Attribute::Value(value) => Some(value),
            _ => None,
        });
    Ok(value.filter(|value| !value.is_empty()))
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
