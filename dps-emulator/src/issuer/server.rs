//! The authority behind the emulator's own TLS certificate, kept in files so that it outlives a restart.

use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose, SanType};
use rustls::crypto::ring::sign::any_supported_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use zeroize::Zeroizing;

use super::{CertificateAuthority, DAY, files, generate, new_key, params, subject};
use crate::error::{Error, ErrorKind};
use crate::state::store::{Expected, Store, StoreError, Table};

/// The authority that signs the emulator's own TLS certificate.
#[derive(Debug)]
pub(crate) struct ServerAuthority(CertificateAuthority);

impl ServerAuthority {
    pub(crate) const RSA_CERTIFICATE_FILE: &str = "ca-rsa.pem";
    const FILES: [&str; 2] = ["ca.pem", "ca-key.pem"];
    const RSA_FILES: [&str; 2] = [Self::RSA_CERTIFICATE_FILE, "ca-rsa-key.pem"];
    /// The longest validity of a server's certificate that all usual clients accept.
    const VALIDITY: Duration = Duration::from_secs(820 * DAY.as_secs());

    /// Reads the authority in this directory, or makes a new one and writes it there. Without a directory, the authority is
    /// for this run only.
    pub(crate) fn load_or_create(dir: Option<&Path>) -> Result<Self, Error> {
        let (files, name) = (Self::FILES, "dps-emulator CA");
        Self::load(dir, files, || {
            CertificateAuthority::with_key(name, new_key()?)
        })
    }

    /// Like [`load_or_create`](Self::load_or_create), for the authority with an RSA key.
    pub(crate) fn load_or_create_rsa(
        dir: Option<&Path>,
        new_key: impl FnOnce() -> Result<KeyPair, Error>,
    ) -> Result<Self, Error> {
        let files = Self::RSA_FILES;
        let name = "dps-emulator RSA CA";
        Self::load(dir, files, || {
            CertificateAuthority::with_key(name, new_key()?)
        })
    }

    /// Reads the authority in a store that several emulators share. If the store has none, `new` is written: the authority of the
    /// directory, or a new one. The directory then has the authority of the store.
    pub(crate) async fn shared(
        store: &dyn Store,
        kind: SharedKind,
        dir: Option<&Path>,
        new: impl FnOnce() -> Result<Self, Error>,
    ) -> Result<Self, Error> {
        let authority = Self::in_store(store, kind.key(), new).await?;
        if let Some(dir) = dir {
            authority.write_files(dir, kind.files())?;
        }
        Ok(authority)
    }

    async fn in_store(
        store: &dyn Store,
        key: &str,
        new: impl FnOnce() -> Result<Self, Error>,
    ) -> Result<Self, Error> {
        if let Some(bytes) = store.get(Table::Meta, key).await.map_err(failed)? {
            return Self::read(bytes, key);
        }
        let authority = new()?;
        let written = store.put(Table::Meta, key, Expected::Absent, authority.write());
        if written.await.map_err(failed)? {
            return Ok(authority);
        }
        // Another emulator was faster.
        match store.get(Table::Meta, key).await.map_err(failed)? {
            Some(bytes) => Self::read(bytes, key),
            None => Ok(authority),
        }
    }

    /// Writes the files unless they have this certificate.
    fn write_files(
        &self,
        dir: &Path,
        [certificate_file, key_file]: [&str; 2],
    ) -> Result<(), Error> {
        let certificate = self.0.certificate.as_str();
        if files::read(&dir.join(certificate_file))?.as_deref() == Some(certificate) {
            return Ok(());
        }
        let key = Zeroizing::new(self.0.issuer.key().serialize_pem());
        files::write_pair(dir, (key_file, &key), (certificate_file, certificate))
    }

    /// The certificate, a zero byte and the key, both as PEM.
    fn write(&self) -> Vec<u8> {
        let key = Zeroizing::new(self.0.issuer.key().serialize_pem());
        let mut bytes = self.0.certificate.clone().into_bytes();
        bytes.push(0);
        bytes.extend_from_slice(key.as_bytes());
        bytes
    }

    fn read(bytes: Vec<u8>, name: &str) -> Result<Self, Error> {
        let bytes = Zeroizing::new(bytes);
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let (certificate, key) = text.split_once('\0').unwrap_or_default();
        CertificateAuthority::restore(certificate.to_owned(), key, Path::new(name)).map(Self)
    }

    fn load(
        dir: Option<&Path>,
        [certificate_file, key_file]: [&str; 2],
        create: impl FnOnce() -> Result<CertificateAuthority, Error>,
    ) -> Result<Self, Error> {
        let Some(dir) = dir else {
            return create().map(Self);
        };
        let certificate_path = dir.join(certificate_file);
        let certificate = files::read(&certificate_path)?;
        let key = files::read(&dir.join(key_file))?.map(Zeroizing::new);
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                CertificateAuthority::restore(certificate, &key, &certificate_path).map(Self)
            }
            (Some(_), None) => {
                let path = certificate_path.display();
                let what = format!(
                    "{path}: the file exists, and its key {key_file} does not: remove the file"
                );
                Err(Error::new(ErrorKind::Certificate, what))
            }
            // The key is written first: alone, it belongs to a start that was interrupted.
            (None, _) => {
                let authority = Self(create()?);
                authority.write_files(dir, [certificate_file, key_file])?;
                Ok(authority)
            }
        }
    }

    /// The root that clients must trust.
    pub(crate) fn certificate_pem(&self) -> &str {
        self.0.certificate_pem()
    }

    /// Issues a certificate with a new key for these DNS names and IP addresses, and for `localhost` and the loopback addresses.
    pub(crate) fn issue(&self, names: &[String]) -> Result<CertifiedKey, Error> {
        self.issue_for(new_key()?, names)
    }

    /// Like [`issue`](Self::issue), with this key.
    pub(crate) fn issue_for(&self, key: KeyPair, names: &[String]) -> Result<CertifiedKey, Error> {
        let now = SystemTime::now();
        let subject = subject::common_name("dps-emulator")?;
        let mut params = params(subject, now - DAY..now + Self::VALIDITY);
        for name in ["localhost", "127.0.0.1", "::1"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
        {
            let name = alternative_name(name)?;
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        params.key_usages = vec![
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let signed = params.signed_by(&key, &self.0.issuer).map_err(generate)?;
        let key = any_supported_type(&PrivateKeyDer::from(key)).map_err(generate)?;
        Ok(CertifiedKey::new(vec![signed.into()], key))
    }
}

/// The authorities in a store that several emulators share.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SharedKind {
    Ecdsa,
    Rsa,
}

impl SharedKind {
    /// The key in the table of settings.
    fn key(self) -> &'static str {
        match self {
            Self::Ecdsa => "server-ca",
            Self::Rsa => "server-ca-rsa",
        }
    }

    /// The files of the certificate and of the key in a directory.
    fn files(self) -> [&'static str; 2] {
        match self {
            Self::Ecdsa => ServerAuthority::FILES,
            Self::Rsa => ServerAuthority::RSA_FILES,
        }
    }
}

fn failed(error: StoreError) -> Error {
    Error::new(ErrorKind::Store, "the store cannot be used").with_source(error)
}

fn alternative_name(name: &str) -> Result<SanType, Error> {
    let invalid = || {
        let what = format!("{name:?} is not a valid DNS name or IP address");
        Error::new(ErrorKind::InvalidName, what)
    };
    // A wildcard is for the names with one more label.
    let checked = name.strip_prefix("*.").unwrap_or(name);
    match ServerName::try_from(checked).map_err(|_| invalid())? {
        ServerName::IpAddress(address) => Ok(SanType::IpAddress(IpAddr::from(address))),
        _ => Ok(SanType::DnsName(name.try_into().map_err(|_| invalid())?)),
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::fs;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::attest::PresentedChain;
    use crate::certificate::Certificate;

    #[test]
    fn invalid_server_names_are_refused() {
        let server = ServerAuthority::load_or_create(None).unwrap();
        for name in ["", "a b", "münchen.example", "a/b", "1.2.3.256"] {
            let error = server.issue(&[name.to_owned()]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidName, "{error}");
        }
    }

    fn paths(dir: &TempDir) -> (PathBuf, PathBuf) {
        (dir.path().join("ca.pem"), dir.path().join("ca-key.pem"))
    }

    fn damaged(dir: &TempDir) {
        let error = ServerAuthority::load_or_create(Some(dir.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Certificate, "{error}");
        assert!(error.to_string().contains(&*dir.path().to_string_lossy()));
        assert!(!format!("{error:?}").contains("PRIVATE KEY"));
    }

    #[test]
    fn a_restarted_emulator_keeps_its_authority() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("data");
        let first = ServerAuthority::load_or_create(Some(&dir)).unwrap();
        let again = ServerAuthority::load_or_create(Some(&dir)).unwrap();
        let elsewhere = ServerAuthority::load_or_create(None).unwrap();

        assert_eq!(first.certificate_pem(), again.certificate_pem());
        assert_ne!(first.certificate_pem(), elsewhere.certificate_pem());
        let device = again.0.issue("device-1").unwrap();
        let device = Certificate::from_text(device.certificate_pem()).unwrap();
        let device = PresentedChain::new(&[device.der().clone()]).unwrap();
        let root = Certificate::from_text(first.certificate_pem()).unwrap();
        assert_eq!(device.distance_to(&root, SystemTime::now()), Ok(0));

        let mut left: Vec<_> = fs::read_dir(&dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["ca-key.pem", "ca.pem"]);
    }

    #[cfg(unix)]
    #[test]
    fn only_the_owner_can_read_the_key() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let (_, key) = paths(&dir);
        let left_over = dir.path().join(".ca-key.pem.new");
        fs::write(&left_over, "half a k").unwrap();
        ServerAuthority::load_or_create(Some(dir.path())).unwrap();

        assert_eq!(
            fs::metadata(&key).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(!left_over.exists());
    }

    #[test]
    fn a_key_without_its_certificate_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, _) = paths(&dir);
        let first = ServerAuthority::load_or_create(Some(dir.path())).unwrap();
        fs::remove_file(&certificate).unwrap();

        let second = ServerAuthority::load_or_create(Some(dir.path())).unwrap();
        assert_ne!(first.certificate_pem(), second.certificate_pem());
        let third = ServerAuthority::load_or_create(Some(dir.path())).unwrap();
        assert_eq!(second.certificate_pem(), third.certificate_pem());
    }

    /// Clients would refuse every certificate that such an authority issues.
    #[test]
    fn a_certificate_with_a_changed_byte_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, _) = paths(&dir);
        let authority = ServerAuthority::load_or_create(Some(dir.path())).unwrap();
        let der = Certificate::from_text(authority.certificate_pem()).unwrap();
        let der = der.der().to_vec();
        for at in (0..der.len()).step_by(7) {
            let mut changed = der.clone();
            changed[at] ^= 1;
            let text = rustls_pki_types::CertificateDer::from(changed);
            let Ok(text) = Certificate::from_der(text) else {
                continue;
            };
            fs::write(&certificate, text.pem()).unwrap();
            damaged(&dir);
        }
    }

    /// Reading a named pipe waits for another program, and a device or a huge file fills the memory.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_file_that_is_not_regular_or_too_long_is_an_error_and_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, _) = paths(&dir);
        ServerAuthority::load_or_create(Some(dir.path())).unwrap();
        fs::remove_file(&certificate).unwrap();
        let made = std::process::Command::new("mkfifo")
            .arg(&certificate)
            .status();
        assert!(made.unwrap().success());
        damaged(&dir);
        fs::remove_file(&certificate).unwrap();
        for target in ["/dev/zero", "missing"] {
            std::os::unix::fs::symlink(target, &certificate).unwrap();
            damaged(&dir);
            assert_eq!(fs::read_link(&certificate).unwrap(), Path::new(target));
            fs::remove_file(&certificate).unwrap();
        }
        fs::write(&certificate, vec![b'\n'; 1024 * 1024 + 1]).unwrap();
        damaged(&dir);
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = paths(&dir);
        ServerAuthority::load_or_create(Some(dir.path())).unwrap();
        let kept = fs::read_to_string(&key).unwrap();

        let other = CertificateAuthority::new("Other").unwrap();
        fs::write(&key, other.issuer.key().serialize_pem()).unwrap();
        damaged(&dir);
        fs::write(&key, &kept[..kept.len() / 2]).unwrap();
        damaged(&dir);
        fs::remove_file(&key).unwrap();
        damaged(&dir);

        fs::write(&key, &kept).unwrap();
        fs::write(&certificate, "").unwrap();
        damaged(&dir);
        fs::remove_file(&certificate).unwrap();
        fs::create_dir(&certificate).unwrap();
        let error = ServerAuthority::load_or_create(Some(dir.path())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Certificate);
        assert!(error.source().is_some());
    }
}
