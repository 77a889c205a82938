//! Key pairs in a PKCS#11 token.

use async_trait::async_trait;
use zeroize::Zeroizing;

use super::key_pair::KeyPair;
use super::key_source::{KeySource, free_place};
use crate::attestation::key_kind::KeyKind;
use crate::error::Error;
use crate::pkcs11::{Token, Uri};

/// Key pairs in a PKCS#11 token. The private keys never leave it.
///
/// It uses two labels: that of the URI followed by `-1` and by `-2`. A new key replaces the one that is not in use.
#[derive(Debug, Clone)]
pub struct Pkcs11KeySource {
    token: Token,
    uri: Uri,
    labels: [String; 2],
    kind: KeyKind,
}

const PREFIX: &str = "pkcs11:";

impl Pkcs11KeySource {
    /// Keys in this token. The `object` of the URI is the first part of their labels.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the URI has no `object`.
    pub fn new(token: Token, uri: &Uri, kind: KeyKind) -> Result<Self, Error> {
        let label = uri.object().ok_or_else(|| {
            Error::configuration(
                "the keys of certificates require a name: add an object to the PKCS#11 URI",
            )
        })?;
        let labels = [1, 2].map(|number| format!("{label}-{number}"));
        Ok(Self {
            token,
            uri: uri.clone(),
            labels,
            kind,
        })
    }

    fn names(&self) -> [String; 2] {
        self.labels
            .each_ref()
            .map(|label| format!("{PREFIX}{label}"))
    }
}

#[async_trait]
impl KeySource for Pkcs11KeySource {
    async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        let names = self.names();
        let index = free_place(&names, in_use)?;
        let uri = self.uri.clone().with_object(self.labels[index].as_str());
        self.token.remove_private_key(&uri).await?;
        let key = self.token.generate_private_key(&uri, self.kind).await?;
        Ok((Zeroizing::new(names[index].clone()), key.into()))
    }

    async fn open(&self, name: &str) -> Result<KeyPair, Error> {
        let label = name
            .strip_prefix(PREFIX)
            .filter(|label| self.labels.iter().any(|known| known == label))
            .ok_or_else(|| {
                Error::configuration("the stored name is not that of a key in this PKCS#11 token")
            })?;
        let uri = self.uri.clone().with_object(label);
        Ok(self.token.private_key(&uri).await?.into())
    }
}
