//! The authority behind the emulator's own TLS certificate, kept in files so that it outlives a restart.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, SanType};
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use zeroize::Zeroizing;

use super::{
    AuthorityError, AuthorityErrorKind, CertificateAuthority, DAY, generate, new_key, params,
};

/// The authority that signs the emulator's own TLS certificate.
#[derive(Debug)]
pub(crate) struct ServerAuthority(CertificateAuthority);

impl ServerAuthority {
    const NAME: &str = "dps-emulator CA";
    const CERTIFICATE_FILE: &str = "ca.pem";
    const KEY_FILE: &str = "ca-key.pem";
    /// The longest that every usual client accepts of a server.
    const VALIDITY: Duration = Duration::from_secs(820 * DAY.as_secs());

    /// The authority kept in this directory, or a new one, which is then kept there. Without a directory, one for
    /// this run.
    pub(crate) fn load_or_create(dir: Option<&Path>) -> Result<Self, AuthorityError> {
        let Some(dir) = dir else {
            return CertificateAuthority::new(Self::NAME).map(Self);
        };
        let certificate = read(&dir.join(Self::CERTIFICATE_FILE))?;
        let key = read(&dir.join(Self::KEY_FILE))?.map(Zeroizing::new);
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let restored = CertificateAuthority::restore(certificate, &key);
                restored.map(Self).map_err(|e| e.at(dir))
            }
            (Some(_), None) => {
                let what = "the certificate is there, its key is not";
                Err(AuthorityError::new(AuthorityErrorKind::Damaged, what).at(dir))
            }
            // The key is written first: alone, it is of a start that was cut short.
            (None, _) => Self::create(dir),
        }
    }

    fn create(dir: &Path) -> Result<Self, AuthorityError> {
        let authority = CertificateAuthority::new(Self::NAME)?;
        let key = Zeroizing::new(authority.issuer.key().serialize_pem());
        fs::create_dir_all(dir)
            .and_then(|()| write_whole(dir, Self::KEY_FILE, &key, 0o600))
            .and_then(|()| write_whole(dir, Self::CERTIFICATE_FILE, &authority.certificate, 0o644))
            .map_err(|e| {
                let what = "the certificate authority could not be saved";
                AuthorityError::new(AuthorityErrorKind::Write, what)
                    .because(e)
                    .at(dir)
            })?;
        Ok(Self(authority))
    }

    /// What clients must trust.
    pub(crate) fn certificate_pem(&self) -> &str {
        self.0.certificate_pem()
    }

    /// A new key and a certificate for these DNS names and IP addresses, and always for the local ones.
    pub(crate) fn issue(&self, names: &[String]) -> Result<CertifiedKey, AuthorityError> {
        let now = SystemTime::now();
        let mut params = params("dps-emulator", now - DAY..now + Self::VALIDITY)?;
        for name in ["localhost", "127.0.0.1", "::1"]
            .into_iter()
            .chain(names.iter().map(String::as_str))
        {
            let name = alternative_name(name)?;
            if !params.subject_alt_names.contains(&name) {
                params.subject_alt_names.push(name);
            }
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];

        let key = new_key()?;
        let signed = params.signed_by(&key, &self.0.issuer).map_err(generate)?;
        let key = any_ecdsa_type(&PrivateKeyDer::from(key)).map_err(generate)?;
        Ok(CertifiedKey::new(vec![signed.into()], key))
    }
}

fn alternative_name(name: &str) -> Result<SanType, AuthorityError> {
    let unfit = || {
        let what = format!("{name:?} is neither a DNS name nor an IP address");
        AuthorityError::new(AuthorityErrorKind::Name, what)
    };
    match ServerName::try_from(name).map_err(|_| unfit())? {
        ServerName::IpAddress(address) => Ok(SanType::IpAddress(IpAddr::from(address))),
        _ => Ok(SanType::DnsName(name.try_into().map_err(|_| unfit())?)),
    }
}

fn read(path: &Path) -> Result<Option<String>, AuthorityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => {
            let what = "the file could not be read";
            Err(AuthorityError::new(AuthorityErrorKind::Read, what)
                .because(error)
                .at(path))
        }
    }
}

/// Writes the file whole or not at all, whenever the power fails.
fn write_whole(dir: &Path, name: &str, content: &str, mode: u32) -> io::Result<()> {
    let new = dir.join(format!(".{name}.new"));
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = create_new(&new, mode)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()?;
    fs::rename(&new, dir.join(name))?;
    #[cfg(unix)]
    File::open(dir)?.sync_all()?;
    Ok(())
}

#[cfg_attr(not(unix), expect(unused_variables, reason = "modes are Unix's"))]
fn create_new(path: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::attest::PresentedChain;
    use crate::certificate::Certificate;

    #[test]
    fn what_is_no_name_for_a_server_is_refused() {
        let server = ServerAuthority::load_or_create(None).unwrap();
        for name in ["", "a b", "münchen.example", "a/b", "1.2.3.256"] {
            let error = server.issue(&[name.to_owned()]).unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Name, "{error}");
        }
    }

    fn files(dir: &TempDir) -> (PathBuf, PathBuf) {
        (dir.path().join("ca.pem"), dir.path().join("ca-key.pem"))
    }

    fn damaged(dir: &TempDir) {
        let error = ServerAuthority::load_or_create(Some(dir.path())).unwrap_err();
        assert_eq!(error.kind(), AuthorityErrorKind::Damaged, "{error}");
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
    fn the_kept_key_is_the_owners_alone() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let (_, key) = files(&dir);
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
    fn a_start_cut_short_is_made_good() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, _) = files(&dir);
        let first = ServerAuthority::load_or_create(Some(dir.path())).unwrap();
        fs::remove_file(&certificate).unwrap();

        let second = ServerAuthority::load_or_create(Some(dir.path())).unwrap();
        assert_ne!(first.certificate_pem(), second.certificate_pem());
        let third = ServerAuthority::load_or_create(Some(dir.path())).unwrap();
        assert_eq!(second.certificate_pem(), third.certificate_pem());
    }

    #[test]
    fn files_that_do_not_belong_together_are_not_used() {
        let dir = tempfile::tempdir().unwrap();
        let (certificate, key) = files(&dir);
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
        assert_eq!(error.kind(), AuthorityErrorKind::Read);
        assert!(error.source().is_some());
    }
}
