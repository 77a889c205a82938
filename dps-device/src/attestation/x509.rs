//! A device with a certificate. Its name is the leaf's common name.

use std::path::Path;

use dps_types::RegistrationId;
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::{Attestation, ClientIdentity, Proof};
use crate::error::Error;

/// X.509 attestation, for individual enrollments and enrollment groups alike.
///
/// The registration id is the subject common name of the leaf certificate.
/// Source: azure-docs `iot-dps/concepts-x509-attestation.md`.
#[derive(Debug, Clone)]
pub struct X509Attestation {
    registration_id: RegistrationId,
    identity: ClientIdentity,
}

impl X509Attestation {
    /// A device with this identity.
    ///
    /// Whether the certificate is within its validity is left to the service: a device may not know the time yet.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the leaf has no common name, or one that
    /// is no registration id.
    pub fn new(identity: ClientIdentity) -> Result<Self, Error> {
        let leaf = identity.chain().next().unwrap_or_default();
        let name = common_name(leaf)?;
        let registration_id = RegistrationId::new(name.as_str()).map_err(|error| {
            Error::configuration(format!(
                "the leaf's common name {name:?} is no registration id"
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

    /// Makes sure that the certificate is the one of this device, and writes its id in this case.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) when the leaf's common name is another, apart
    /// from upper and lower case: the service would answer 401.
    pub fn with_registration_id(self, registration_id: RegistrationId) -> Result<Self, Error> {
        if registration_id == self.registration_id {
            return Ok(Self {
                registration_id,
                ..self
            });
        }
        Err(Error::configuration(format!(
            "the certificate is that of {:?}, the registration id is {registration_id:?}",
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

fn common_name(leaf: &[u8]) -> Result<String, Error> {
    let unreadable = |error: x509_cert::der::Error| {
        Error::configuration("the leaf certificate cannot be read").with_source(error)
    };
    let certificate = Certificate::from_der(leaf).map_err(unreadable)?;
    certificate
        .tbs_certificate()
        .subject()
        .common_name()
        .map_err(unreadable)?
        .map(|name| name.value().into_owned())
        .ok_or_else(|| Error::configuration("the leaf certificate has no common name"))
}
