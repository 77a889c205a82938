//! An issued certificate as a device stores it: the name of its key pair, and the chain.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dps_types::sealed::{SEAL_BYTES, VERSION, seal, verify};
use dps_types::{RegistrationId, json};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::issued::IssuedCertificate;
use super::key_source::KeySource;
use crate::error::Error;

/// An issued certificate in a [`CredentialStore`](super::CredentialStore): the name of its key pair in a [`KeySource`], and the
/// chain. The name may be the private key itself, so Debug does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Credential {
    key: Zeroizing<String>,
    certificates: Vec<Vec<u8>>,
}

impl Credential {
    /// The maximum length of the JSON document in bytes.
    pub const MAX_BYTES: usize = 256 * 1024;

    /// A certificate whose key pair has this name in its source.
    pub fn new(key: Zeroizing<String>, certificate: &IssuedCertificate) -> Self {
        Self {
            key,
            certificates: certificate.chain().map(<[u8]>::to_vec).collect(),
        }
    }

    /// A credential from a store of your own: the name of the key pair, and the certificates, each one DER, the device's first. They
    /// are checked when the credential is [opened](Self::open).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if there are more than
    /// [`IssuedCertificate::MAX_CERTIFICATES`].
    pub fn from_chain(
        key: Zeroizing<String>,
        chain: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Self, Error> {
        let certificates: Vec<_> = chain
            .into_iter()
            .take(IssuedCertificate::MAX_CERTIFICATES + 1)
            .collect();
        match certificates.len() <= IssuedCertificate::MAX_CERTIFICATES {
            true => Ok(Self { key, certificates }),
            false => Err(Error::configuration(format!(
                "the stored credential has more than {} certificates",
                IssuedCertificate::MAX_CERTIFICATES
            ))),
        }
    }

    /// The name of the key pair in its source. It is a secret if the key is in memory.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The certificates, each one DER, the device's first.
    pub fn chain(&self) -> impl Iterator<Item = &[u8]> {
        self.certificates.iter().map(Vec::as_slice)
    }

    /// Opens the key pair and checks the chain. The certificate may have expired.
    ///
    /// # Errors
    /// Those of the key source, and [`ErrorKind::Certificate`](crate::ErrorKind::Certificate) if the chain is not for this device
    /// and this key.
    pub async fn open(
        &self,
        registration_id: &RegistrationId,
        keys: &dyn KeySource,
    ) -> Result<IssuedCertificate, Error> {
        let key = keys.open(&self.key).await?;
        IssuedCertificate::new(
            registration_id.clone(),
            key,
            self.certificates.clone(),
            None,
        )
    }

    /// Writes the credential as JSON, for a store of your own, which must keep the bytes as they are: the last member is a checksum of
    /// all bytes before it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the document would be longer than
    /// [`MAX_BYTES`](Self::MAX_BYTES).
    pub fn to_json(&self) -> Result<Zeroizing<Vec<u8>>, Error> {
        let certificates: Vec<_> = self
            .certificates
            .iter()
            .map(|der| STANDARD.encode(der))
            .collect();
        let length = self.key.len()
            + certificates
                .iter()
                .map(|text| text.len() + 3)
                .sum::<usize>();
        // With enough capacity, so that no copy of the key stays behind. A character of the key has at most six bytes in JSON.
        let capacity = 6 * self.key.len() + length + 64 + SEAL_BYTES;
        let mut json = Zeroizing::new(Vec::with_capacity(capacity));
        let document = Document {
            version: VERSION,
            key: self.key.to_string(),
            certificates,
        };
        // The fields are strings, so the encoding cannot fail.
        let _ = serde_json::to_writer(&mut *json, &document);
        seal(&mut json);
        match json.len() <= Self::MAX_BYTES {
            true => Ok(json),
            false => Err(Error::configuration(format!(
                "the credential cannot be stored: its document has {} bytes, and at most {} are supported",
                json.len(),
                Self::MAX_BYTES
            ))),
        }
    }

    /// Reads a document that [`to_json`](Self::to_json) has written. Unknown fields are ignored.
    ///
    /// A document of version 1, which earlier programs have written, has no checksum.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the document is longer than
    /// [`MAX_BYTES`](Self::MAX_BYTES), is damaged, or has a version that this crate does not support.
    pub fn from_json(document: &[u8]) -> Result<Self, Error> {
        let damaged =
            |why: &str| Error::configuration(format!("the stored credential is damaged: {why}"));
        if document.len() > Self::MAX_BYTES {
            return Err(damaged("it is too long"));
        }
        // The source of the error is left out: it may quote the key.
        let sealed = document;
        let mut document: Document = json::from_slice(sealed)
            .map_err(|_| damaged("it is not the JSON document of a credential"))?;
        verify(sealed, document.version).map_err(|damage| damaged(&damage.to_string()))?;
        if document.certificates.len() > IssuedCertificate::MAX_CERTIFICATES {
            return Err(damaged("it has too many certificates"));
        }
        let certificates = document
            .certificates
            .iter()
            .map(|text| STANDARD.decode(text));
        let certificates = certificates
            .collect::<Result<_, _>>()
            .map_err(|_| damaged("a certificate is not base64"))?;
        Ok(Self {
            key: Zeroizing::new(std::mem::take(&mut document.key)),
            certificates,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u64,
    key: String,
    certificates: Vec<String>,
}

impl Drop for Document {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential")
            .field("certificates", &self.certificates.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::changed_bytes::refuses_each_changed_byte;

    /// The digits are those of `sha256sum` for the bytes before the member.
    const JSON: &str = r#"{"version":2,"key":"tpm:81000010","certificates":["AQID","BAUG"],"checksum":"53fa699e7c722c7a"}"#;
    /// A document of an earlier program.
    const OLD: &str = r#"{"version":1,"key":"tpm:81000010","certificates":["AQID","BAUG"]}"#;

    fn credential() -> Credential {
        Credential {
            key: Zeroizing::new("tpm:81000010".to_owned()),
            certificates: vec![vec![1, 2, 3], vec![4, 5, 6]],
        }
    }

    #[test]
    fn the_format_is_stable() {
        assert_eq!(*credential().to_json().unwrap(), JSON.as_bytes());
        assert_eq!(
            Credential::from_json(JSON.as_bytes()).unwrap(),
            credential()
        );
        let mut newer = OLD
            .replace(r#"{"version":1"#, r#"{"more":1,"version":2"#)
            .into_bytes();
        seal(&mut newer);
        assert_eq!(Credential::from_json(&newer).unwrap(), credential());
    }

    #[test]
    fn a_document_of_an_earlier_program_has_no_checksum() {
        let read = Credential::from_json(OLD.as_bytes()).unwrap();
        assert_eq!(read, credential());
        assert_eq!(*read.to_json().unwrap(), JSON.as_bytes());
    }

    #[test]
    fn any_changed_byte_is_found() {
        refuses_each_changed_byte(JSON, Credential::from_json);
    }

    #[test]
    fn a_document_that_could_not_be_read_again_is_not_written() {
        let with_key = |length| Credential {
            key: Zeroizing::new("k".repeat(length)),
            certificates: Vec::new(),
        };
        let rest = with_key(0).to_json().unwrap().len();
        let longest = with_key(Credential::MAX_BYTES - rest);
        let json = longest.to_json().unwrap();
        assert_eq!(json.len(), Credential::MAX_BYTES);
        assert!(Credential::from_json(&json).unwrap() == longest);
        let error = with_key(Credential::MAX_BYTES - rest + 1).to_json();
        let error = error.unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
        assert!(error.to_string().contains("at most 262144"), "{error}");
    }

    #[test]
    fn a_damaged_document_is_an_error_without_the_key() {
        let version = JSON.replace(":2,", ":3,");
        let without = OLD.replace(":1,", ":2,");
        let changed = JSON.replace("AQID", "AQIE");
        let base64 = OLD.replace("AQID", "A!ID");
        let many = OLD.replace(r#""AQID","#, &r#""AQID","#.repeat(9));
        let long = format!("{JSON}{}", " ".repeat(Credential::MAX_BYTES));
        for document in [
            "",
            "{}",
            &JSON[..40],
            &version,
            &without,
            &changed,
            &base64,
            &many,
            &long,
        ] {
            let error = Credential::from_json(document.as_bytes()).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
            assert!(!format!("{error:#}").contains("81000010"), "{error:#}");
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(
            format!("{:?}", credential()),
            "Credential { certificates: 2, .. }"
        );
    }

    proptest! {
        #[test]
        fn any_credential_can_be_read_again(
            key in ".*",
            certificates in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..8),
        ) {
            let credential = Credential { key: Zeroizing::new(key), certificates };
            prop_assert_eq!(Credential::from_json(&credential.to_json().unwrap()).unwrap(), credential);
        }

        #[test]
        fn no_document_makes_it_panic(document in ".*") {
            let _ = Credential::from_json(document.as_bytes());
        }
    }
}
