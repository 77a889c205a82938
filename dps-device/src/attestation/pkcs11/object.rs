//! Objects in a token: how one is named, found and read.

use std::fmt;

use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::object::{Attribute, AttributeType, ObjectClass, ObjectHandle};
use cryptoki::session::Session;

use super::failure::Failure;
use super::uri::Uri;
use crate::error::Error;

/// One object, by its class and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Wanted {
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

impl Wanted {
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

    /// All objects of this name.
    pub(super) fn all(&self, session: &Session) -> Result<Vec<ObjectHandle>, Failure> {
        // What lives in a session only has no name, and is nobody's to find.
        let mut template = vec![Attribute::Class(self.class.into()), Attribute::Token(true)];
        if let Some(label) = &self.label {
            template.push(Attribute::Label(label.clone().into_bytes()));
        }
        if let Some(id) = &self.id {
            template.push(Attribute::Id(id.clone()));
        }
        Ok(session.find_objects(&template)?)
    }

    /// The one object of this name.
    pub(super) fn one(&self, session: &Session) -> Result<ObjectHandle, Failure> {
        match *self.all(session)? {
            [object] => Ok(object),
            [] => Err(self.missing(session)?.into()),
            _ => Err(Error::configuration(format!(
                "the token has more than one {self}: name one by object and id in the URI, of {}",
                in_token(session, self.class)?
            ))
            .into()),
        }
    }

    /// The same object by its full name, so that no other, come later, can be taken for it.
    pub(super) fn in_full(&self, session: &Session, object: ObjectHandle) -> Result<Self, Failure> {
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
            let named = self.label.is_some() || self.id.is_some();
            if named && class != self.class && !other.all(session)?.is_empty() {
                return Ok(Error::configuration(format!(
                    "the token has no {self}: what has this name is a {class}"
                )));
            }
        }
        Ok(Error::configuration(format!(
            "the token has no {self}: there is {}",
            in_token(session, self.class)?
        )))
    }
}

/// What there is of a class.
fn in_token(session: &Session, class: Class) -> Result<String, Failure> {
    let every = Wanted {
        class,
        label: None,
        id: None,
    };
    let mut names = Vec::new();
    for object in every.all(session)? {
        let label = bytes(session, object, AttributeType::Label)?.unwrap_or_default();
        let id = bytes(session, object, AttributeType::Id)?.unwrap_or_default();
        let label = String::from_utf8_lossy(&label);
        names.push(format!("{label:?} (id {})", hex(&id)));
    }
    if names.is_empty() {
        return Ok(format!("no {class} in it"));
    }
    names.sort();
    Ok(names.join(", "))
}

/// The value of an attribute, when the object has it and tells it.
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.class)?;
        if let Some(label) = &self.label {
            write!(f, " {label:?}")?;
        }
        if let Some(id) = &self.id {
            write!(f, " with the id {}", hex(id))?;
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
