//! A certificate that was issued and could not be stored: it is stored by a later attempt, before another one is requested.

use std::time::SystemTime;

use dps_device::certificate::Credential;

use super::hardware_keys::has_no_answer;
use super::place::{Held, IssuedPlace};
use crate::failure::Result;

impl IssuedPlace {
    /// Stores a certificate that was issued before, while it can be used, and else requests one. If it cannot be stored, it is kept in
    /// `unsaved` for the next attempt.
    pub(in crate::device) async fn store_or_request(
        &self,
        unsaved: &mut Option<Held>,
        request: impl AsyncFnOnce() -> Result<Held>,
    ) -> Result<Held> {
        // It is kept as well if this future is dropped.
        let issued = match unsaved {
            Some(issued) if self.is_usable(issued).await => issued.clone(),
            _ => {
                *unsaved = None;
                unsaved.insert(request().await?).clone()
            }
        };
        self.replace(&issued).await?;
        *unsaved = None;
        Ok(issued)
    }

    /// True if the certificate has not expired, and its key pair is still there.
    async fn is_usable(&self, issued: &Held) -> bool {
        let certificate = &issued.certificate;
        let credential = Credential::new(issued.name.clone(), certificate);
        let opened = self.open(credential, certificate.registration_id()).await;
        let failed = opened.err().is_some_and(|error| !has_no_answer(&error));
        !failed && !certificate.has_expired(SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::PathBuf;
    use std::sync::Arc;
    use std::sync::atomic::AtomicU32;
    use std::sync::atomic::Ordering::Relaxed;
    use std::time::Duration;

    use async_trait::async_trait;
    use dps_device::certificate::{self, CredentialStore, KeyKind, KeySource, StoredCredentials};
    use dps_device::{Error, RegistrationId};
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer,
        DnType, IsCa, KeyPair, date_time_ymd,
    };
    use tokio::time::{Instant, timeout};
    use zeroize::Zeroizing;

    use super::super::files::IssuedFiles;
    use super::*;
    use crate::failure::Exit;
    use crate::files::chain_pem;

    /// The authority of the service.
    struct Authority(CertifiedIssuer<'static, KeyPair>);

    impl Authority {
        fn new() -> Self {
            let mut params = CertificateParams::default();
            params.distinguished_name.push(DnType::CommonName, "root");
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate().unwrap();
            Self(CertifiedIssuer::self_signed(params, key).unwrap())
        }

        /// A certificate for the next key of the place, until this year.
        async fn issue(&self, place: &IssuedPlace, until: i32) -> Held {
            let (name, request) = place.request(&id(), None).await.unwrap();
            let der = request.der().to_vec().into();
            let mut leaf = CertificateSigningRequestParams::from_der(&der).unwrap();
            leaf.params.not_before = date_time_ymd(2020, 1, 1);
            leaf.params.not_after = date_time_ymd(until, 1, 1);
            let leaf = leaf.signed_by(&self.0).unwrap();
            let chain = [leaf.der().to_vec(), self.0.der().to_vec()];
            let credential = Credential::from_chain(name, chain).unwrap();
            place.open(credential, &id()).await.unwrap()
        }
    }

    fn id() -> RegistrationId {
        "toaster-1".parse().unwrap()
    }

    /// Files whose directory is replaced by a file: nothing can be written then, by any user.
    struct Disk(tempfile::TempDir);

    impl Disk {
        fn directory(&self) -> PathBuf {
            self.0.path().join("certificates")
        }

        fn works(&self) {
            let _ = std::fs::remove_file(self.directory());
            std::fs::create_dir(self.directory()).unwrap();
        }

        fn fails(&self) {
            std::fs::remove_dir_all(self.directory()).unwrap();
            std::fs::write(self.directory(), "").unwrap();
        }

        fn files(&self) -> IssuedFiles {
            let file = |name: &str| self.directory().join(name);
            IssuedFiles::new(&file("issued.key"), &file("issued.pem"))
        }

        fn place(&self) -> IssuedPlace {
            IssuedPlace::files(self.files(), KeyKind::P256)
        }
    }

    #[tokio::test]
    async fn a_certificate_that_could_not_be_stored_is_not_requested_again_while_it_is_valid() {
        let disk = Disk(tempfile::tempdir().unwrap());
        disk.works();
        let (place, authority) = (disk.place(), Authority::new());
        let mut unsaved = None;
        let mut requests = 0;
        // The disk fails after the request, if at all.
        let mut attempt = async |unsaved: &mut Option<Held>, until, fails: bool| {
            let request = async || {
                requests += 1;
                let issued = authority.issue(&place, until).await;
                if fails {
                    disk.fails();
                }
                Ok(issued)
            };
            let stored = place.store_or_request(unsaved, request).await;
            (stored.map_err(|failure| failure.to_string()), requests)
        };
        for _ in 0..3 {
            let (stored, requests) = attempt(&mut unsaved, 2099, true).await;
            let failure = stored.err().expect("the disk fails");
            assert!(
                failure.starts_with("the certificate was issued, but cannot be stored: "),
                "{failure}"
            );
            assert_eq!(requests, 1);
        }
        let issued = unsaved.as_ref().unwrap().certificate.clone();
        disk.works();
        let (stored, requests) = attempt(&mut unsaved, 2099, false).await;
        assert!(stored.unwrap().certificate == issued);
        assert_eq!(requests, 1);
        assert!(unsaved.is_none());
        let held = place.held(&id(), false).await.unwrap().unwrap();
        assert!(held.certificate == issued);

        // One that has expired in the meantime is replaced.
        let (stored, _) = attempt(&mut unsaved, 2021, true).await;
        stored.err().expect("the disk fails");
        disk.works();
        let (stored, requests) = attempt(&mut unsaved, 2099, false).await;
        assert!(stored.is_ok());
        assert_eq!(requests, 3);
    }

    /// Files that another program changes while they are written.
    #[derive(Debug)]
    struct Shared {
        files: IssuedFiles,
        /// The other program overwrites the chain after it is in use. Otherwise it removes the new key before.
        overwrites_the_chain: bool,
    }

    #[async_trait]
    impl CredentialStore for Shared {
        async fn load(&self) -> io::Result<StoredCredentials> {
            self.files.load().await
        }

        async fn save_next(&self, credential: &Credential) -> io::Result<()> {
            self.files.save_next(credential).await?;
            match self.overwrites_the_chain {
                true => Ok(()),
                false => self.files.remove_next_key(),
            }
        }

        async fn confirm_next(&self) -> io::Result<()> {
            self.files.confirm_next().await?;
            match self.overwrites_the_chain {
                true => std::fs::write(&self.files.chain, "of another program"),
                false => Ok(()),
            }
        }

        async fn clear(&self) -> io::Result<()> {
            self.files.clear().await
        }
    }

    /// The failure of a certificate whose files another program changes.
    async fn conflict(
        disk: &Disk,
        overwrites_the_chain: bool,
        key_is_in_hardware: bool,
    ) -> (String, Held) {
        disk.works();
        let mut place = disk.place();
        let issued = Authority::new().issue(&place, 2099).await;
        if key_is_in_hardware {
            place.files = None;
        }
        place.store = Arc::new(Shared {
            files: disk.files(),
            overwrites_the_chain,
        });
        let failure = place.store(&issued).await.unwrap_err();
        assert_eq!(failure.exit(), Exit::Conflict);
        let message = format!("{failure:?}");
        assert!(message.contains("only one program"), "{message}");
        // `dps renew --watch` adds it when it ends.
        let ended = place.with_certificate(failure, &issued);
        assert_eq!(format!("{ended:?}"), message);
        (message, issued)
    }

    #[tokio::test]
    async fn a_certificate_whose_key_another_program_has_removed_is_not_printed() {
        let disk = Disk(tempfile::tempdir().unwrap());
        let (message, _) = conflict(&disk, false, false).await;
        assert!(!message.contains("BEGIN CERTIFICATE"), "{message}");
    }

    #[tokio::test]
    async fn a_certificate_whose_file_another_program_has_overwritten_is_printed() {
        for key_is_in_hardware in [false, true] {
            let disk = Disk(tempfile::tempdir().unwrap());
            let (message, issued) = conflict(&disk, true, key_is_in_hardware).await;
            let place = match key_is_in_hardware {
                true => String::new(),
                false => format!("in {}", disk.files().key.display()),
            };
            let place = format!("the private key of the certificates below is {place}");
            assert!(message.contains(&place), "{message}");
            let chain = format!("{:?}", chain_pem(issued.certificate.chain()));
            assert!(message.contains(&chain), "{message}");
            let stored = std::fs::read_to_string(disk.files().chain).unwrap();
            assert_eq!(stored, "of another program");
        }
    }

    /// Hardware that does not answer when a key is opened.
    #[derive(Debug)]
    struct Silent;

    #[async_trait]
    impl KeySource for Silent {
        async fn generate(
            &self,
            _: &[&str],
        ) -> Result<(Zeroizing<String>, certificate::KeyPair), Error> {
            std::future::pending().await
        }

        async fn open(&self, _: &str) -> Result<certificate::KeyPair, Error> {
            std::future::pending().await
        }

        async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
            Ok(Vec::new())
        }

        async fn remove(&self, _: &str) -> Result<(), Error> {
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_is_stopped_while_the_hardware_is_silent_keeps_the_certificate() {
        let disk = Disk(tempfile::tempdir().unwrap());
        disk.works();
        let mut place = disk.place();
        let issued = Authority::new().issue(&place, 2099).await;
        place.keys = Arc::new(Silent);
        let mut unsaved = Some(issued.clone());
        let request = async || -> crate::failure::Result<Held> { panic!("it is not requested") };
        let attempt = place.store_or_request(&mut unsaved, request);
        let stopped = timeout(Duration::from_secs(60), attempt).await;
        assert!(stopped.is_err(), "the hardware is silent");
        assert!(unsaved.unwrap().certificate == issued.certificate);
    }

    /// Files on a disk that is full for some attempts.
    #[derive(Debug)]
    struct FullDisk {
        files: IssuedFiles,
        attempts: AtomicU32,
        error: io::ErrorKind,
    }

    #[async_trait]
    impl CredentialStore for FullDisk {
        async fn load(&self) -> io::Result<StoredCredentials> {
            self.files.load().await
        }

        async fn save_next(&self, credential: &Credential) -> io::Result<()> {
            let left = |left: u32| left.checked_sub(1);
            match self.attempts.fetch_update(Relaxed, Relaxed, left) {
                Ok(_) => Err(self.error.into()),
                Err(_) => self.files.save_next(credential).await,
            }
        }

        async fn confirm_next(&self) -> io::Result<()> {
            self.files.confirm_next().await
        }

        async fn clear(&self) -> io::Result<()> {
            self.files.clear().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_that_may_be_brief_is_tried_again_for_some_seconds() {
        for (error, attempts, seconds, stored) in [
            (io::ErrorKind::StorageFull, 0, 0, true),
            (io::ErrorKind::StorageFull, 4, 15, true),
            (io::ErrorKind::StorageFull, 5, 15, false),
            (io::ErrorKind::ReadOnlyFilesystem, 1, 0, false),
        ] {
            let disk = Disk(tempfile::tempdir().unwrap());
            disk.works();
            let mut place = disk.place();
            let issued = Authority::new().issue(&place, 2099).await;
            place.store = Arc::new(FullDisk {
                files: disk.files(),
                attempts: attempts.into(),
                error,
            });
            let started = Instant::now();
            let result = place.store(&issued).await;
            assert_eq!(result.is_ok(), stored, "{error} {attempts}");
            assert_eq!(started.elapsed().as_secs(), seconds, "{error} {attempts}");
            let held = place.held(&id(), false).await;
            let held = held.ok().flatten().map(|held| held.certificate);
            assert_eq!(held == Some(issued.certificate), stored);
        }
    }

    #[tokio::test]
    async fn a_user_adds_the_certificates_to_the_key_in_the_file_that_the_failure_names() {
        for (chain, words) in [
            ("issued.key", "add the certificates below to "),
            ("issued.pem", "write the certificates below to "),
        ] {
            let disk = Disk(tempfile::tempdir().unwrap());
            disk.works();
            let file = |name: &str| disk.directory().join(name);
            let files = IssuedFiles::new(&file("issued.key"), &file(chain));
            let mut place = IssuedPlace::files(files.clone(), KeyKind::P256);
            let issued = Authority::new().issue(&place, 2099).await;
            place.store = Arc::new(FullDisk {
                files,
                attempts: 1.into(),
                error: io::ErrorKind::ReadOnlyFilesystem,
            });
            let failure = place.store(&issued).await.unwrap_err();
            let next = file(&format!("{chain}.next"));
            let words = format!("{words}{}", next.display());
            assert!(format!("{failure:?}").contains(&words), "{failure:?}");

            let content = std::fs::read_to_string(&next).unwrap_or_default();
            let certificates = chain_pem(issued.certificate.chain());
            std::fs::write(&next, content + &certificates).unwrap();
            let held = place.completed(&id(), false).await.unwrap().unwrap();
            assert!(held.certificate == issued.certificate);
            assert!(!next.exists());
        }
    }
}
