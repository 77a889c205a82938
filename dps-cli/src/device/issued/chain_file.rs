//! The chain of an issued certificate in a file, whose key is in hardware, as a credential store.
//!
//! A new chain is written next to the current one, with a name that ends in `.next`, and then renamed. The key of a chain is the one
//! with its public key.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use dps_device::certificate::{Credential, CredentialStore, KeyPair, KeySource, StoredCredentials};
use zeroize::Zeroizing;

use super::hardware_keys::{check_key, has_no_answer};
use crate::files::{self, Access, chain_pem};
use crate::input;

#[derive(Debug)]
pub(super) struct ChainFile {
    path: PathBuf,
    next: PathBuf,
    keys: Arc<dyn KeySource>,
}

impl ChainFile {
    pub(super) fn new(path: &Path, keys: Arc<dyn KeySource>) -> Self {
        Self {
            path: path.to_owned(),
            next: files::with_suffix(path, ".next"),
            keys,
        }
    }
}

#[async_trait]
impl CredentialStore for ChainFile {
    async fn load(&self) -> io::Result<StoredCredentials> {
        if !input::exists(&self.path)? && !input::exists(&self.next)? {
            return Ok(StoredCredentials::default());
        }
        let (mut keys, mut refused) = (Vec::new(), None);
        for name in self.keys.list().await.map_err(io::Error::other)? {
            match self.keys.open(&name).await {
                Ok(key) => keys.push((name, key)),
                Err(error) if has_no_answer(&error) => return Err(io::Error::other(error)),
                Err(error) => refused = Some(error),
            }
        }
        let stored = StoredCredentials::new(read(&self.path, &keys)?, read(&self.next, &keys)?);
        match refused {
            // The chain may belong to the key that cannot be used.
            Some(error) if stored == StoredCredentials::default() => Err(io::Error::other(error)),
            _ => Ok(stored),
        }
    }

    async fn check_writable(&self, _: &[&str]) -> io::Result<()> {
        files::check_writable(&self.path)
    }

    async fn save_next(&self, credential: &Credential) -> io::Result<()> {
        check_key(&*self.keys, credential).await?;
        let chain = chain_pem(credential.chain());
        files::create(&self.next, &chain, true, Access::Everyone)
    }

    async fn confirm_next(&self) -> io::Result<()> {
        match input::exists(&self.next)? {
            true => files::rename(&self.next, &self.path),
            false => Ok(()),
        }
    }

    async fn clear(&self) -> io::Result<()> {
        files::remove(&self.next)?;
        files::remove(&self.path)
    }
}

/// `None` if the file does not exist or is damaged, or the hardware does not have its key.
fn read(path: &Path, keys: &[(Zeroizing<String>, KeyPair)]) -> io::Result<Option<Credential>> {
    let chain = input::read_if_exists(path)?;
    Ok(chain.and_then(|chain| credential(&chain, keys)))
}

fn credential(chain: &[u8], keys: &[(Zeroizing<String>, KeyPair)]) -> Option<Credential> {
    let (name, _) = keys.iter().find(|(_, key)| key.identity(chain).is_ok())?;
    let chain = dps_tls::read_certificates(chain).ok()?;
    let chain = chain.iter().map(|der| der.to_vec());
    Credential::from_chain(name.clone(), chain).ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use dps_device::certificate::MemoryKeySource;

    use super::super::replaced::Replaced;
    use super::*;

    #[tokio::test]
    async fn a_chain_of_another_key_is_not_stored() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("issued.pem");
        let store = ChainFile::new(&path, Arc::new(MemoryKeySource::default()));
        let [key, other] = [(), ()].map(|()| rcgen::KeyPair::generate().unwrap());
        let params = rcgen::CertificateParams::default();
        let chain = [params.self_signed(&key).unwrap().der().to_vec()];
        let of = |key: &rcgen::KeyPair| {
            let name = MemoryKeySource::name(key.serialized_der());
            Credential::from_chain(name, chain.clone()).unwrap()
        };
        let refused = store.save_next(&of(&other)).await.unwrap_err();
        assert_eq!(Replaced::of(&refused), Some(Replaced::Key), "{refused}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        store.save_next(&of(&key)).await.unwrap();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_not_a_missing_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("issued.pem");
        let store = ChainFile::new(&path, Arc::new(MemoryKeySource::default()));
        assert_eq!(store.load().await.unwrap(), StoredCredentials::default());
        for name in ["issued.pem", "issued.pem.next"] {
            let path = directory.path().join(name);
            fs::create_dir(&path).unwrap();
            let error = store.load().await.unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            fs::remove_dir(&path).unwrap();
        }
        fs::write(&path, "no certificate").unwrap();
        assert_eq!(store.load().await.unwrap(), StoredCredentials::default());
    }
}
