//! Keys that do not answer, and certificates that come late.

use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use dps_types::SystemClock;

use super::load::FAILED_LOADS;
use super::*;
use crate::certificate::credential_file::CredentialFile;
use crate::certificate::key_pair::KeyPair;
use crate::certificate::store::CredentialStore;

/// Hardware that never answers.
#[derive(Debug)]
struct Silent;

#[async_trait]
impl KeySource for Silent {
    async fn generate(&self, _: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        std::future::pending().await
    }

    async fn open(&self, _: &str) -> Result<KeyPair, Error> {
        std::future::pending().await
    }

    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
        std::future::pending().await
    }

    async fn remove(&self, _: &str) -> Result<(), Error> {
        std::future::pending().await
    }
}

/// Hardware with one place for new keys.
#[derive(Debug, Default)]
struct OnePlace {
    keys: Mutex<Vec<rcgen::KeyPair>>,
    /// It has begun to generate a key, and does not answer.
    is_late: AtomicBool,
}

#[async_trait]
impl KeySource for OnePlace {
    async fn generate(&self, _: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        if self.is_late.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        let key = rcgen::KeyPair::generate().unwrap();
        let pair = KeyPair::from_pkcs8(Zeroizing::new(key.serialize_der()))?;
        self.keys.lock().unwrap().push(key);
        Ok((Zeroizing::new("place".to_owned()), pair))
    }

    async fn open(&self, _: &str) -> Result<KeyPair, Error> {
        Err(Error::configuration("not used"))
    }

    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
        Ok(Vec::new())
    }

    async fn remove(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

impl OnePlace {
    /// The certificate that a service issues for the key with this number.
    fn issue(&self, number: usize, request: &CertificateRequest) -> IssuedCertificate {
        let mut root = rcgen::CertificateParams::default();
        root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let key = rcgen::KeyPair::generate().unwrap();
        let root = rcgen::CertifiedIssuer::self_signed(root, key).unwrap();
        let mut leaf = rcgen::CertificateParams::default();
        let name = rcgen::DnType::CommonName;
        leaf.distinguished_name = Default::default();
        leaf.distinguished_name.push(name, "toaster-1");
        let leaf = leaf
            .signed_by(&self.keys.lock().unwrap()[number], &root)
            .unwrap();
        let ders = vec![leaf.der().to_vec(), root.der().to_vec()];
        let id = request.registration_id().clone();
        IssuedCertificate::new(id, request.key().clone(), ders, None).unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_that_may_be_replaced_after_the_timeout_is_not_used() {
    let directory = tempfile::tempdir().unwrap();
    let store = CredentialFile::new(directory.path().join("credential.json"));
    let keys = Arc::new(OnePlace::default());
    let options = CertificateOptions::new(store, keys.clone());
    let keeper = Keeper::new(options, "toaster-1".parse().unwrap(), Arc::new(SystemClock));
    let (place, first) = keeper.request().await.unwrap();
    let certificate = keys.issue(0, &first);
    keys.is_late.store(true, Ordering::Relaxed);
    let error = keeper.request().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    let error = keeper.keep(place, certificate).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Store);
}

/// A store with two certificates, and their keys. Those that are damaged always fail.
#[derive(Debug)]
struct Damaged {
    pairs: Vec<KeyPair>,
    damaged: Mutex<Vec<&'static str>>,
}

const NAMES: [&str; 2] = ["current", "next"];

#[async_trait]
impl KeySource for Damaged {
    async fn generate(&self, in_use: &[&str]) -> Result<(Zeroizing<String>, KeyPair), Error> {
        let free = NAMES.iter().position(|name| !in_use.contains(name));
        let place = free.ok_or_else(|| Error::configuration("no place is free"))?;
        let name = Zeroizing::new(NAMES[place].to_owned());
        Ok((name, self.pairs[place].clone()))
    }

    async fn open(&self, name: &str) -> Result<KeyPair, Error> {
        if self.damaged.lock().unwrap().contains(&name) {
            return Err(Error::new(ErrorKind::Signing, "the key is damaged"));
        }
        let place = NAMES.iter().position(|held| *held == name).unwrap();
        Ok(self.pairs[place].clone())
    }

    async fn list(&self) -> Result<Vec<Zeroizing<String>>, Error> {
        let name = |name: &&str| Zeroizing::new((*name).to_owned());
        Ok(NAMES.iter().map(name).collect())
    }

    async fn remove(&self, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

#[tokio::test]
async fn a_key_that_always_fails_does_not_keep_a_device_from_its_hub_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let store = || CredentialFile::new(directory.path().join("credential.json"));
    let keys = Arc::new(OnePlace::default());
    let options = CertificateOptions::new(store(), keys.clone());
    let id: RegistrationId = "toaster-1".parse().unwrap();
    let keeper = Keeper::new(options, id.clone(), Arc::new(SystemClock));
    let mut certificates = Vec::new();
    for number in 0..2 {
        let (_, request) = keeper.request().await.unwrap();
        certificates.push(keys.issue(number, &request));
    }
    for (name, certificate) in NAMES.iter().zip(&certificates) {
        let name = Zeroizing::new((*name).to_owned());
        let credential = Credential::new(name, certificate);
        store().save_next(&credential).await.unwrap();
        if credential.key() == "current" {
            store().confirm_next().await.unwrap();
        }
    }
    let pairs = certificates.iter().map(|issued| issued.key().clone());
    let source = Arc::new(Damaged {
        pairs: pairs.collect(),
        damaged: Mutex::default(),
    });
    let start = |damaged: &[&'static str]| {
        *source.damaged.lock().unwrap() = damaged.to_vec();
        let options = CertificateOptions::new(store(), source.clone());
        Keeper::new(options, id.clone(), Arc::new(SystemClock))
    };
    // One certificate is enough.
    for (damaged, newest) in [("current", &certificates[1]), ("next", &certificates[0])] {
        let keeper = start(&[damaged]);
        keeper.load().await.unwrap();
        assert_eq!(keeper.credentials().unwrap().newest, *newest);
    }
    // Without one, the device waits for its keys, and then generates another one at the place that is not in use.
    let keeper = start(&NAMES);
    for _ in 0..FAILED_LOADS {
        let error = keeper.request().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
    }
    let (name, _) = keeper.request().await.unwrap();
    assert_eq!(*name, "next");
}

#[tokio::test]
async fn a_late_certificate_of_a_key_that_was_replaced_does_not_replace_the_newer_one() {
    let directory = tempfile::tempdir().unwrap();
    let store = || CredentialFile::new(directory.path().join("credential.json"));
    let keys = Arc::new(OnePlace::default());
    let options = CertificateOptions::new(store(), keys.clone());
    let keeper = Keeper::new(options, "toaster-1".parse().unwrap(), Arc::new(SystemClock));
    let (place, first) = keeper.request().await.unwrap();
    let (same_place, second) = keeper.request().await.unwrap();
    assert_eq!(place, same_place);
    let [late, newest] = [keys.issue(0, &first), keys.issue(1, &second)];

    for is_in_use in [false, true] {
        keeper.keep(place.clone(), newest.clone()).await.unwrap();
        if is_in_use {
            keeper.connected(newest.chain().next().unwrap());
            // The key of a request at another place is the newest one.
            keeper.held().requested = Some((Zeroizing::new("other".to_owned()), Vec::new()));
        }
        let error = keeper.keep(place.clone(), late.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Store);
        assert_eq!(keeper.newest().as_ref(), Some(&newest));
        let stored = store().load().await.unwrap();
        let stored = stored.next.or(stored.current).unwrap();
        assert_eq!(stored.chain().next(), newest.chain().next());
    }
    // The certificate of the newest key replaces one of an earlier key at its place.
    let (_, third) = keeper.request().await.unwrap();
    let third = keys.issue(2, &third);
    keeper.keep(place, third.clone()).await.unwrap();
    assert_eq!(keeper.newest(), Some(third));
}

#[tokio::test(start_paused = true)]
async fn hardware_that_does_not_answer_ends_each_wait() {
    let directory = tempfile::tempdir().unwrap();
    let store = CredentialFile::new(directory.path().join("credential.json"));
    let options = CertificateOptions::new(store, Silent);
    let id = "toaster-1".parse().unwrap();
    let keeper = Keeper::new(options, id, Arc::new(SystemClock));
    let error = keeper.request().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    assert!(error.is_retryable());
    // The wait for an earlier use ends as well.
    let _earlier = keeper.places.lock().await;
    let error = keeper.request().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deadline);
    keeper.held().replaced = Some(Zeroizing::new("place 1".to_owned()));
    keeper.remove_replaced().await;
    assert!(keeper.held().replaced.is_some(), "it is removed later");
}
