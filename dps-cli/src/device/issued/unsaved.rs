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
        let issued = match unsaved.take() {
            Some(issued) if self.is_usable(&issued).await => issued,
            _ => request().await?,
        };
        let credential = Credential::new(issued.name.clone(), &issued.certificate);
        match self.replace(&credential).await {
            Ok(()) => Ok(issued),
            Err(failure) => {
                *unsaved = Some(issued);
                Err(failure.about("the certificate was issued, but cannot be stored"))
            }
        }
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
    use std::path::PathBuf;

    use dps_device::RegistrationId;
    use dps_device::certificate::KeyKind;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer,
        DnType, IsCa, KeyPair, date_time_ymd,
    };

    use super::super::files::IssuedFiles;
    use super::*;

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

        fn place(&self) -> IssuedPlace {
            let file = |name: &str| self.directory().join(name);
            let files = IssuedFiles::new(&file("issued.key"), &file("issued.pem"));
            IssuedPlace::files(files, KeyKind::P256)
        }
    }

    #[tokio::test]
    async fn a_certificate_that_could_not_be_stored_is_not_requested_again_while_it_is_valid() {
        let disk = Disk(tempfile::tempdir().unwrap());
        disk.works();
        let (place, authority) = (disk.place(), Authority::new());
        let mut unsaved = None;
        let mut requests = 0;
        let mut attempt = async |unsaved: &mut Option<Held>, until| {
            let request = async || {
                requests += 1;
                Ok(authority.issue(&place, until).await)
            };
            let stored = place.store_or_request(unsaved, request).await;
            (stored.map_err(|failure| failure.to_string()), requests)
        };
        disk.fails();
        for _ in 0..3 {
            let (stored, requests) = attempt(&mut unsaved, 2099).await;
            let failure = stored.err().expect("the disk fails");
            assert!(
                failure.starts_with("the certificate was issued, but cannot be stored: "),
                "{failure}"
            );
            assert_eq!(requests, 1);
        }
        let issued = unsaved.as_ref().unwrap().certificate.clone();
        disk.works();
        let (stored, requests) = attempt(&mut unsaved, 2099).await;
        assert!(stored.unwrap().certificate == issued);
        assert_eq!(requests, 1);
        assert!(unsaved.is_none());
        let held = place.held(&id(), false).await.unwrap().unwrap();
        assert!(held.certificate == issued);

        // One that has expired in the meantime is replaced.
        disk.fails();
        attempt(&mut unsaved, 2021)
            .await
            .0
            .err()
            .expect("the disk fails");
        disk.works();
        let (stored, requests) = attempt(&mut unsaved, 2099).await;
        assert!(stored.is_ok());
        assert_eq!(requests, 3);
    }
}
