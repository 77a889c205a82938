//! The key pairs of issued certificates in a PKCS#11 token, with their chains.

use async_trait::async_trait;
use dps_device::Error;
use dps_device::certificate::{KeyKind, KeySource, Pkcs11KeySource};
use dps_device::pkcs11::{Token, Uri};

use super::hardware_keys::ChainsWithKeys;
use crate::failure::{Failure, Result};
use crate::files::chain_pem;
use crate::hardware;

#[derive(Debug)]
pub(super) struct KeysInToken {
    source: Pkcs11KeySource,
    token: Token,
    uri: Uri,
}

impl KeysInToken {
    pub(super) async fn open(uri: &str, kind: KeyKind) -> Result<Self> {
        let (token, uri) = hardware::token(uri).await?;
        Ok(Self {
            source: Pkcs11KeySource::new(token.clone(), &uri, kind)?,
            token,
            uri,
        })
    }

    /// An error if the URI of the attestation names one of the two keys, which a new key replaces.
    pub(super) fn check_other(&self, attestation: &str) -> Result {
        let attestation: Uri = attestation.parse()?;
        let (Some(object), Some(used)) = (self.uri.object(), attestation.object()) else {
            return Ok(());
        };
        match used.strip_prefix(object) {
            Some("-1" | "-2") => Err(Failure::usage(format!(
                "the key {used} of --pkcs11 has a label that --new-key-pkcs11 uses for new keys"
            ))
            .with_hint("use another object for --new-key-pkcs11")),
            _ => Ok(()),
        }
    }

    /// The URI of the key with this name of the source.
    fn uri(&self, name: &str) -> Uri {
        let label = name.strip_prefix("pkcs11:").unwrap_or(name);
        self.uri.clone().with_object(label)
    }
}

#[async_trait]
impl ChainsWithKeys for KeysInToken {
    fn keys(&self) -> &dyn KeySource {
        &self.source
    }

    async fn read_chain(&self, name: &str) -> Result<Option<Vec<Vec<u8>>>, Error> {
        let chain = self.token.stored_chain(&self.uri(name)).await?;
        Ok(chain.map(|chain| chain.iter().map(|der| der.to_vec()).collect()))
    }

    async fn write_chain(&self, name: &str, chain: &[&[u8]]) -> Result<(), Error> {
        let chain = chain_pem(chain);
        self.token.store_chain(&self.uri(name), chain).await
    }

    /// The source removes the certificate with its key.
    async fn remove_chain(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }

    /// A token reports its free memory only when an object is stored.
    async fn check_place(&self, _: &[&str], _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn shown(&self, name: &str) -> String {
        self.uri(name).to_string()
    }
}
