//! The files of an issued certificate as a credential store: the private key and the chain, in PEM.
//!
//! A new pair is written next to the current one, with names that end in `.next`, and then renamed: the key first. After a power
//! failure between the two renames, the next use finds the chain of the new key by its name and completes the renewal. The new key
//! is also written before its certificate is requested, so that it is not lost if the certificate cannot be stored.

use std::io;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use dps_device::certificate::{
    Credential, CredentialStore, KeyPair, KeySource, MemoryKeySource, StoredCredentials,
};
use rustls::pki_types::PrivateKeyDer;
use zeroize::Zeroizing;

use crate::certificate::parsed::Parsed;
use crate::files::{self, Access, chain_pem};
use crate::input;

/// The file of the private key and the file of the chain, which may be the same.
#[derive(Debug, Clone)]
pub(super) struct IssuedFiles {
    pub(super) key: PathBuf,
    pub(super) chain: PathBuf,
}

impl IssuedFiles {
    pub(super) fn new(key: &Path, chain: &Path) -> Self {
        Self {
            key: key.to_owned(),
            chain: chain.to_owned(),
        }
    }

    fn next(&self) -> Self {
        let next = |path| files::with_suffix(path, ".next");
        Self {
            key: next(&self.key),
            chain: next(&self.chain),
        }
    }

    /// Writes the private key of the next pair alone.
    pub(super) fn write_next_key(&self, key: &KeyPair) -> io::Result<()> {
        let path = self.next().key;
        files::create(&path, key_pem(key), true, Access::Owner).map_err(|error| {
            let what = format!("{} cannot be written: {error}", path.display());
            io::Error::new(error.kind(), what)
        })
    }

    pub(super) fn remove_next_key(&self) -> io::Result<()> {
        files::remove(&self.next().key)
    }

    /// The file that contains the key with this name.
    pub(super) fn key_file_of(&self, name: &str) -> Option<PathBuf> {
        let contains_it = |path: &PathBuf| {
            let pem = input::read_if_exists(path).ok().flatten();
            let key = pem.and_then(|pem| pkcs8(&pem));
            key.is_some_and(|key| *MemoryKeySource::name(&key) == name)
        };
        [self.next().key, self.key.clone()]
            .into_iter()
            .find(contains_it)
    }

    /// What the user does with the certificates of a key that was written without them.
    pub(super) fn how_to_add_the_chain(&self) -> String {
        let verb = if self.is_one_file() { "add" } else { "write" };
        let file = self.next().chain;
        format!("{verb} the certificates below to {}", file.display())
    }

    fn is_one_file(&self) -> bool {
        self.key == self.chain
    }

    fn write(&self, key: &str, chain: &str) -> io::Result<()> {
        if self.is_one_file() {
            // It has the size of both from the start: a text that grows leaves a copy of the key.
            let both = Zeroizing::new([key, chain].concat());
            return files::create(&self.key, &both, true, Access::Owner);
        }
        files::create(&self.key, key, true, Access::Owner)?;
        files::create(&self.chain, chain, true, Access::Everyone)
    }

    /// `None` if one of the files does not exist or is damaged.
    pub(super) fn read(&self) -> io::Result<Option<Credential>> {
        let key = input::read_if_exists(&self.key)?;
        let chain = input::read_if_exists(&self.chain)?;
        Ok(key
            .zip(chain)
            .and_then(|(key, chain)| credential(&key, &chain)))
    }

    /// Completes a renewal that a power failure has interrupted after the first rename.
    async fn recover(&self) -> io::Result<()> {
        let next = self.next();
        if self.is_one_file() || input::exists(&next.key)? || !input::exists(&next.chain)? {
            return Ok(());
        }
        let interrupted = Self::new(&self.key, &next.chain);
        match interrupted.read()? {
            Some(credential) if belongs_together(&credential).await => {
                files::rename(&next.chain, &self.chain)
            }
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl CredentialStore for IssuedFiles {
    async fn load(&self) -> io::Result<StoredCredentials> {
        self.recover().await?;
        Ok(StoredCredentials::new(self.read()?, self.next().read()?))
    }

    async fn check_writable(&self, _: &[&str]) -> io::Result<()> {
        files::check_writable(&self.key)?;
        files::check_writable(&self.chain)
    }

    async fn save_next(&self, credential: &Credential) -> io::Result<()> {
        let key = MemoryKeySource::default()
            .open(credential.key())
            .await
            .map_err(io::Error::other)?;
        self.next()
            .write(&key_pem(&key), &chain_pem(credential.chain()))
    }

    async fn confirm_next(&self) -> io::Result<()> {
        let next = self.next();
        if next.read()?.is_none() {
            return Ok(());
        }
        files::rename(&next.key, &self.key)?;
        match self.is_one_file() {
            true => Ok(()),
            false => files::rename(&next.chain, &self.chain),
        }
    }

    async fn clear(&self) -> io::Result<()> {
        let next = self.next();
        for path in [&next.key, &next.chain, &self.key, &self.chain] {
            files::remove(path)?;
        }
        Ok(())
    }
}

fn key_pem(key: &KeyPair) -> Zeroizing<String> {
    files::pem("PRIVATE KEY", key.pkcs8().unwrap_or_default())
}

fn credential(key: &[u8], chain: &[u8]) -> Option<Credential> {
    let key = pkcs8(key)?;
    let chain = dps_tls::read_certificates(chain).ok()?;
    let chain = chain.iter().map(|der| der.to_vec());
    Credential::from_chain(MemoryKeySource::name(&key), chain).ok()
}

/// The private key, PKCS#8 in DER.
fn pkcs8(pem: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    match &*Zeroizing::new(dps_tls::read_key(pem).ok()?) {
        PrivateKeyDer::Pkcs8(key) => Some(Zeroizing::new(key.secret_pkcs8_der().to_vec())),
        _ => None,
    }
}

/// Whether the first certificate has the public key of the private key.
async fn belongs_together(credential: &Credential) -> bool {
    let Ok(key) = MemoryKeySource::default().open(credential.key()).await else {
        return false;
    };
    let leaf = credential.chain().next().map(Parsed::from_der);
    // The key is the end of a SubjectPublicKeyInfo (RFC 5280, section 4.1).
    matches!(leaf, Some(Ok(leaf)) if key.public_key().ends_with(&leaf.public_key))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::CertificateParams;
    use tempfile::TempDir;

    use super::*;

    async fn replace(files: &IssuedFiles, pair: &Credential) {
        files.save_next(pair).await.unwrap();
        files.confirm_next().await.unwrap();
    }

    fn pair(name: &str) -> Credential {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = CertificateParams::new([name.to_owned()]).unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let key = MemoryKeySource::name(&key.serialize_der());
        Credential::from_chain(key, [certificate.der().to_vec()]).unwrap()
    }

    fn in_two_files(directory: &TempDir) -> IssuedFiles {
        let directory = directory.path();
        IssuedFiles::new(&directory.join("issued.key"), &directory.join("issued.pem"))
    }

    fn in_one_file(directory: &TempDir) -> IssuedFiles {
        let file = directory.path().join("issued.pem");
        IssuedFiles::new(&file, &file)
    }

    #[tokio::test]
    async fn the_files_hold_the_current_and_the_next_pair() {
        for select in [in_two_files, in_one_file] {
            let directory = tempfile::tempdir().unwrap();
            let files = select(&directory);
            assert_eq!(files.load().await.unwrap(), StoredCredentials::default());
            files.confirm_next().await.unwrap();
            let (first, second) = (pair("first"), pair("second"));
            replace(&files, &first).await;
            files.save_next(&second).await.unwrap();
            let both = StoredCredentials::new(Some(first), Some(second.clone()));
            assert_eq!(files.load().await.unwrap(), both);
            files.confirm_next().await.unwrap();
            let one = StoredCredentials::new(Some(second), None);
            assert_eq!(files.load().await.unwrap(), one);
            files.clear().await.unwrap();
            assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_not_a_missing_file() {
        for select in [in_two_files, in_one_file] {
            let directory = tempfile::tempdir().unwrap();
            let files = select(&directory);
            replace(&files, &pair("first")).await;
            fs::remove_file(&files.chain).unwrap();
            fs::create_dir(&files.chain).unwrap();
            let error = files.load().await.unwrap_err().to_string();
            assert!(error.contains("issued.pem"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_power_failure_between_the_renames_is_repaired() {
        let directory = tempfile::tempdir().unwrap();
        let files = in_two_files(&directory);
        let (first, second) = (pair("first"), pair("second"));
        replace(&files, &first).await;
        files.save_next(&second).await.unwrap();
        fs::rename(&files.next().key, &files.key).unwrap();
        let repaired = StoredCredentials::new(Some(second), None);
        assert_eq!(files.load().await.unwrap(), repaired);
        assert!(!files.next().chain.exists());
    }

    #[tokio::test]
    async fn a_chain_of_another_key_is_not_moved() {
        let directory = tempfile::tempdir().unwrap();
        let files = in_two_files(&directory);
        let first = pair("first");
        replace(&files, &first).await;
        files.save_next(&pair("second")).await.unwrap();
        // The power failed while the pair was written by another run.
        fs::remove_file(files.next().key).unwrap();
        let unchanged = StoredCredentials::new(Some(first), None);
        assert_eq!(files.load().await.unwrap(), unchanged);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn only_the_owner_can_read_a_key() {
        use std::os::unix::fs::PermissionsExt;

        for select in [in_two_files, in_one_file] {
            let directory = tempfile::tempdir().unwrap();
            let files = select(&directory);
            let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
            files.save_next(&pair("first")).await.unwrap();
            assert_eq!(mode(&files.next().key), 0o600);
            files.confirm_next().await.unwrap();
            assert_eq!(mode(&files.key), 0o600);
        }
    }
}
