//! X.509 attestation: the registration id is the common name of the leaf certificate.

use std::path::Path;

use dps_types::RegistrationId;
use x509_cert::Certificate;
use x509_cert::der::asn1::ObjectIdentifier;
use x509_cert::der::{Decode, Tag, Tagged};
use x509_cert::name::Name;

use super::identity::ClientIdentity;
use super::proof::{Attestation, Proof};
use crate::error::Error;

const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// X.509 attestation, for individual enrollments and enrollment groups alike.
///
/// The registration id is the subject common name of the leaf certificate, and the last one if there are several.
/// Source: azure-docs `iot-dps/concepts-x509-attestation.md`.
///
/// ```no_run
/// # fn attestation() -> Result<dps_device::X509Attestation, dps_device::Error> {
/// use dps_device::X509Attestation;
///
/// // The device's certificate first, then the intermediates. The common name is the registration id.
/// let attestation = X509Attestation::from_files("device-chain.pem", "device-key.pem")?;
/// # Ok(attestation)
/// # }
/// ```
///
/// See the page [Your first device in Rust](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/first-device.md#with-an-x509-certificate) of the book.
#[derive(Debug, Clone)]
pub struct X509Attestation {
    registration_id: RegistrationId,
    identity: ClientIdentity,
}

impl X509Attestation {
    /// A device with this identity.
    ///
    /// The validity period is not checked, since a device may not know the time yet. The service checks it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the leaf has no common name, or one that
    /// is not a valid registration id.
    pub fn new(identity: ClientIdentity) -> Result<Self, Error> {
        let leaf = identity.chain().next().unwrap_or_default();
        let name = common_name(leaf)?;
        let registration_id = RegistrationId::new(name.as_str()).map_err(|error| {
            Error::configuration(format!(
                "the common name {name:?} of the device's certificate is not a valid registration id"
            ))
            .with_source(error)
        })?;
        Ok(Self {
            registration_id,
            identity,
        })
    }

    /// A device with this chain and key: see [`ClientIdentity::from_pem`].
    ///
    /// # Errors
    /// Those of [`ClientIdentity::from_pem`] and [`new`](Self::new).
    pub fn from_pem(chain: impl AsRef<[u8]>, key: impl AsRef<[u8]>) -> Result<Self, Error> {
        Self::new(ClientIdentity::from_pem(chain, key)?)
    }

    /// A device with this chain and key: see [`ClientIdentity::from_der`].
    ///
    /// # Errors
    /// Those of [`ClientIdentity::from_der`] and [`new`](Self::new).
    pub fn from_der(
        chain: impl IntoIterator<Item = Vec<u8>>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, Error> {
        Self::new(ClientIdentity::from_der(chain, key)?)
    }

    /// A device with the chain and the key of two files: see [`ClientIdentity::from_files`].
    ///
    /// # Errors
    /// Those of [`ClientIdentity::from_files`] and [`new`](Self::new).
    pub fn from_files(chain: impl AsRef<Path>, key: impl AsRef<Path>) -> Result<Self, Error> {
        Self::new(ClientIdentity::from_files(chain, key)?)
    }

    /// Checks that the certificate is for this registration id, and uses the id in this upper and lower case.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the common name of the leaf differs by more
    /// than upper and lower case: the service would answer 401.
    pub fn with_registration_id(self, registration_id: RegistrationId) -> Result<Self, Error> {
        if registration_id == self.registration_id {
            return Ok(Self {
                registration_id,
                ..self
            });
        }
        Err(Error::configuration(format!(
            "the certificate is for the registration id {:?}, not for {registration_id:?}",
            self.registration_id
        )))
    }
}

impl Attestation for X509Attestation {
    fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Certificate(&self.identity)
    }
}

/// The last common name, as .NET's `X509Certificate2.GetNameInfo(SimpleName)` reads it.
fn common_name(leaf: &[u8]) -> Result<String, Error> {
    let certificate = Certificate::from_der(leaf).map_err(|error| {
        Error::configuration("the device's certificate cannot be read").with_source(error)
    })?;
    common_name_of(&certificate).ok_or_else(|| {
        Error::configuration(
            "the device's certificate has no common name that is text: issue one whose common name is the registration id",
        )
    })
}

/// The last common name of the subject, if there is one and it is text.
pub(crate) fn common_name_of(certificate: &Certificate) -> Option<String> {
    common_name_in(certificate.tbs_certificate().subject())
}

/// The last common name of this subject, if there is one and it is text.
pub(crate) fn common_name_in(subject: &Name) -> Option<String> {
    let last = subject
        .iter()
        .filter(|name| name.oid == COMMON_NAME)
        .last()?;
    text(last.value.tag(), last.value.value())
}

/// The text of a DirectoryString (RFC 5280, section 4.1.2.4).
fn text(tag: Tag, value: &[u8]) -> Option<String> {
    match tag {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::VisibleString
        | Tag::NumericString => String::from_utf8(value.to_vec()).ok(),
        Tag::TeletexString => Some(value.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (units, []) = value.as_chunks::<2>() else {
                return None;
            };
            let units = units.iter().copied().map(u16::from_be_bytes);
            char::decode_utf16(units).collect::<Result<_, _>>().ok()
        }
        _ => None,
    }
}
