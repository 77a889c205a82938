//! A private key in a file of its own, PKCS#8 in PEM.

use std::path::PathBuf;

use async_trait::async_trait;
use dps_device::Error;
use dps_device::certificate::{KeyKind, KeyPair, KeySource, MemoryKeySource};
use dps_types::sas::SignError;
use zeroize::Zeroizing;

use crate::certificate::private_key;
use crate::files;

/// The key pair in this file. Its name is the path.
#[derive(Debug)]
pub(super) struct KeyFile {
    pub(super) path: PathBuf,
    pub(super) kind: KeyKind,
}

impl KeyFile {
    fn name(&self) -> Zeroizing<String> {
        Zeroizing::new(self.path.display().to_string())
    }
}

#[async_trait]
impl KeySource for KeyFile {
    async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        let name = self.name();
        let overwrite = !in_use.contains(&name.as_str());
        let (_, key) = MemoryKeySource::new(self.kind).generate(&[]).await?;
        let pem = files::pem("PRIVATE KEY", key.pkcs8().unwrap_or_default());
        files::write_key(&self.path, &pem, overwrite)
            .map_err(|failure| SignError::new(failure.to_string()))?;
        Ok((name, key))
    }

    async fn open(&self, _: &str) -> Result<KeyPair, Error> {
        let key = private_key(&self.path.as_path().into())
            .map_err(|failure| SignError::new(failure.to_string()))?;
        KeyPair::from_pkcs8(Zeroizing::new(key.pkcs8().to_vec()))
    }

    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
        Ok(self
            .path
            .exists()
            .then(|| self.name())
            .into_iter()
            .collect())
    }

    async fn remove(&self, _: &str) -> Result<(), Error> {
        let removed = std::fs::remove_file(&self.path);
        let what = || SignError::new(format!("{} cannot be removed", self.path.display()));
        Ok(removed.map_err(|error| what().with_source(error))?)
    }
}
