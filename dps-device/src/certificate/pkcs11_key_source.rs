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
/// A source for issued certificates uses two labels: that of the URI followed by `-1` and by `-2`. A new key replaces the one that is
/// not in use.
#[derive(Debug, Clone)]
pub struct Pkcs11KeySource {
    token: Token,
    uri: Uri,
    /// The two labels of keys of issued certificates. `None` for the keys that the URI selects, whose names are URIs.
    labels: Option<[String; 2]>,
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
        Ok(Self {
            labels: Some([1, 2].map(|number| format!("{label}-{number}"))),
            ..Self::selected(token, uri, kind)
        })
    }

    /// The key that the `object` and `id` of the URI select, or all private keys of the token if it has neither, for a program that
    /// manages keys. A new key requires an `object`.
    pub fn selected(token: Token, uri: &Uri, kind: KeyKind) -> Self {
        Self {
            token,
            uri: uri.clone(),
            labels: None,
            kind,
        }
    }

    /// The object with this name, if it is one of this source.
    fn place(&self, name: &str) -> Result<Uri, Error> {
        let uri = match &self.labels {
            Some(labels) => {
                let label = name.strip_prefix(PREFIX);
                let label = label.filter(|label| labels.iter().any(|known| known == label));
                label.map(|label| self.uri.clone().with_object(label))
            }
            None => {
                let uri = name.parse::<Uri>().ok();
                uri.filter(|uri| uri.object().is_some() || uri.id().is_some())
            }
        };
        uri.ok_or_else(|| {
            Error::configuration("the stored name is not that of a key in this PKCS#11 token")
        })
    }

    /// The name and the place of a new key.
    async fn free(&self, in_use: &[&str]) -> Result<(String, Uri), Error> {
        let Some(labels) = &self.labels else {
            if self.uri.object().is_none() {
                return Err(Error::configuration(
                    "a new key requires a name: add an object to the PKCS#11 URI",
                ));
            }
            let held = self.token.private_keys(&self.uri).await?;
            if !held.is_empty() {
                free_place(held.iter().map(|key| (key.to_string(), ())), in_use)?;
            }
            return Ok((self.uri.object_only().to_string(), self.uri.clone()));
        };
        let places = labels
            .iter()
            .map(|label| (format!("{PREFIX}{label}"), label));
        let (name, label) = free_place(places, in_use)?;
        Ok((name, self.uri.clone().with_object(label.as_str())))
    }
}

#[async_trait]
impl KeySource for Pkcs11KeySource {
    async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        let (name, uri) = self.free(in_use).await?;
        self.token.check_generation(self.kind).await?;
        // The two labels belong to this source, also if a power failure has left a part of a pair. The certificates of another key
        // that the URI selects do not.
        if self.labels.is_some() || !self.token.private_keys(&uri).await?.is_empty() {
            self.token.remove_private_key(&uri).await?;
        }
        let key = self.token.generate_private_key(&uri, self.kind).await?;
        Ok((Zeroizing::new(name), key.into()))
    }

    async fn open(&self, name: &str) -> Result<KeyPair, Error> {
        let uri = self.place(name)?;
        Ok(self.token.private_key(&uri).await?.into())
    }

    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
        let Some(labels) = &self.labels else {
            let keys = self.token.private_keys(&self.uri).await?;
            return Ok(keys
                .iter()
                .map(|key| Zeroizing::new(key.to_string()))
                .collect());
        };
        let mut names = Vec::new();
        for label in labels {
            let uri = self.uri.clone().with_object(label.as_str());
            if !self.token.private_keys(&uri).await?.is_empty() {
                names.push(Zeroizing::new(format!("{PREFIX}{label}")));
            }
        }
        Ok(names)
    }

    async fn remove(&self, name: &str) -> Result<(), Error> {
        let uri = self.place(name)?;
        self.token.remove_private_key(&uri).await
    }
}
