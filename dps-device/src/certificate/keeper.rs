//! The certificates that a device holds: the one in use, and a newer one that has not connected yet.

mod load;

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dps_types::{Clock, RegistrationId};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::credential::Credential;
use super::issued::IssuedCertificate;
use super::key_source::KeySource;
use super::options::CertificateOptions;
use super::renewal;
use super::request::CertificateRequest;
use crate::attestation::{Attestation, Proof};
use crate::error::{Error, ErrorKind};
use crate::poll::{after, draw};

/// The timeout of each use of the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);
/// The timeout of each use of the key source, and of the wait for an earlier use. A slow TPM needs minutes for an RSA key.
const KEY_TIMEOUT: Duration = Duration::from_secs(10 * 60);

pub(crate) struct Keeper {
    pub(crate) options: CertificateOptions,
    registration_id: RegistrationId,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    /// Held while a key is generated or removed: a source with two places would otherwise remove the new key.
    places: tokio::sync::Mutex<()>,
    /// Held while the store is written: an earlier certificate must not replace a later one.
    writing: tokio::sync::Mutex<()>,
    /// Something about the certificates has changed.
    pub(crate) changed: Notify,
}

#[derive(Default)]
struct Held {
    is_loaded: bool,
    current: Option<Pair>,
    next: Option<Pair>,
    /// The hub accepted the current one, which was not yet reported to the device.
    is_unreported: bool,
    /// The hub accepted the current one, which was not yet reported to the store.
    is_unconfirmed: bool,
    /// The newest one is not in the store.
    is_unsaved: bool,
    /// The number of failures of the store in a row.
    store_failures: u32,
    /// The store is not written before this time.
    store_again: Option<Instant>,
    /// The key of the certificate that the current one has replaced.
    replaced: Option<Zeroizing<String>>,
    /// The name and the public key of the newest key that a certificate was requested for.
    requested: Option<(Zeroizing<String>, Vec<u8>)>,
    /// The key of a stored certificate, which may work later if it could not be opened: its hardware may not have answered.
    stored: Option<Zeroizing<String>>,
    /// How often the stored certificates could not be loaded because of their keys.
    failed_loads: u32,
}

/// A certificate, and the name of its key in the key source.
#[derive(Clone)]
struct Pair {
    key: Zeroizing<String>,
    certificate: IssuedCertificate,
}

impl Held {
    /// Returns true if the place of the key of a certificate now has another key.
    fn has_newer_key(&self, name: &Zeroizing<String>, certificate: &IssuedCertificate) -> bool {
        let public_key = certificate.key().public_key();
        if let Some((requested, newest)) = &self.requested
            && requested == name
        {
            return newest != public_key;
        }
        let pairs = [&self.current, &self.next].into_iter().flatten();
        pairs
            .filter(|pair| pair.key == *name)
            .any(|pair| pair.certificate.key().public_key() != public_key)
    }
}

impl Keeper {
    pub(crate) fn new(
        options: CertificateOptions,
        registration_id: RegistrationId,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self {
            options,
            registration_id,
            clock,
            held: Mutex::default(),
            places: tokio::sync::Mutex::default(),
            writing: tokio::sync::Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// The credentials for the hub: the newest certificate, and the one before as the second proof. `None` without one that
    /// is valid.
    pub(crate) fn credentials(&self) -> Option<HubCredentials> {
        let now = self.clock.now();
        let held = self.held();
        let mut valid = [&held.next, &held.current]
            .into_iter()
            .flatten()
            .map(|pair| &pair.certificate)
            .filter(|certificate| !certificate.has_expired(now));
        Some(HubCredentials {
            newest: valid.next()?.clone(),
            older: valid.next().cloned(),
        })
    }

    /// The newest certificate, which may have expired.
    pub(crate) fn newest(&self) -> Option<IssuedCertificate> {
        let held = self.held();
        let pair = held.next.as_ref().or(held.current.as_ref())?;
        Some(pair.certificate.clone())
    }

    /// The end of the validity if no certificate is still valid. `None` if one is valid, or without any.
    pub(crate) fn expired(&self) -> Option<SystemTime> {
        match self.credentials() {
            Some(_) => None,
            None => self.newest().map(|newest| newest.valid_until()),
        }
    }

    pub(crate) fn now(&self) -> SystemTime {
        self.clock.now()
    }

    /// Checks that the store accepts a new certificate, before a certificate that is still valid is renewed.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if it does not.
    pub(crate) async fn check_store(&self) -> Result<(), Error> {
        let in_use = self.in_use();
        let names: Vec<&str> = in_use.iter().map(|name| name.as_str()).collect();
        in_time(self.options.store.check_writable(&names))
            .await
            .map_err(|error| {
                let what = "a new certificate could not be stored, so none is requested";
                Error::new(ErrorKind::Store, what).with_source(error)
            })
    }

    /// The name of the key of the certificate that can connect.
    fn in_use(&self) -> Option<Zeroizing<String>> {
        let now = self.clock.now();
        let held = self.held();
        let valid = |pair: &&Pair| !pair.certificate.has_expired(now);
        let current = held.current.as_ref().filter(valid);
        let in_use = current.or(held.next.as_ref()).or(held.current.as_ref());
        let in_use = in_use.map(|pair| pair.key.clone());
        in_use.or_else(|| held.stored.clone())
    }

    /// A request for a new key pair, and the name of the key. The key of the certificate that can connect stays.
    pub(crate) async fn request(&self) -> Result<(Zeroizing<String>, CertificateRequest), Error> {
        self.load().await?;
        let _turn = self.turn().await?;
        // The new key may have the place of this one.
        self.held().replaced = None;
        let in_use = self.in_use();
        let names: Vec<&str> = in_use.iter().map(|name| name.as_str()).collect();
        let generated = key_in_time(self.options.keys.generate(&names)).await;
        if matches!(&generated, Err(error) if error.kind() == ErrorKind::Deadline) {
            self.forget_keys_not_in(&names);
        }
        let (name, key) = generated?;
        self.forget_next(&name);
        self.held().requested = Some((name.clone(), key.public_key().to_vec()));
        let request = CertificateRequest::new(self.registration_id.clone(), key).await?;
        Ok((name, request))
    }

    /// Forgets the next certificate if a new key has the place of its key.
    fn forget_next(&self, key: &Zeroizing<String>) {
        let mut held = self.held();
        if held.next.as_ref().is_some_and(|next| next.key == *key) {
            held.next = None;
        }
    }

    /// Forgets the certificates of keys that are not in use: hardware that is late may replace each of them.
    fn forget_keys_not_in(&self, in_use: &[&str]) {
        let mut held = self.held();
        let is_in_use = |key: &str| in_use.contains(&key);
        held.next.take_if(|next| !is_in_use(&next.key));
        if let Some((key, public_key)) = &mut held.requested
            && !is_in_use(key)
        {
            // It is not known.
            public_key.clear();
        }
    }

    /// Keeps a new certificate until it has connected. The device uses it even if it cannot be stored.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if a newer key has the place of the key of this certificate, which is useless then. Another request replaced
    /// it before the certificate came. [`ErrorKind::Deadline`] if the hardware is in use for too long.
    pub(crate) async fn keep(
        &self,
        key: Zeroizing<String>,
        certificate: IssuedCertificate,
    ) -> Result<(), Error> {
        // No key is replaced meanwhile.
        let _turn = self.turn().await?;
        if self.held().has_newer_key(&key, &certificate) {
            let what = "a certificate is not kept, because a newer key has replaced its key";
            return Err(Error::new(ErrorKind::Store, what));
        }
        let _writing = self.writing.lock().await;
        let credential = Credential::new(key.clone(), &certificate);
        let saved = in_time(self.options.store.save_next(&credential)).await;
        {
            let mut held = self.held();
            held.is_loaded = true;
            held.next = Some(Pair { key, certificate });
            held.is_unconfirmed = false;
            held.is_unsaved = saved.is_err();
        }
        self.stored(saved, "the certificate cannot be stored");
        self.changed.notify_one();
        Ok(())
    }

    /// The hub accepted this identity (the leaf, DER).
    pub(crate) fn connected(&self, leaf: &[u8]) {
        let mut held = self.held();
        let is_next = held
            .next
            .as_ref()
            .is_some_and(|next| next.certificate.chain().next() == Some(leaf));
        if !is_next {
            return;
        }
        let next = held.next.take();
        let replaced = std::mem::replace(&mut held.current, next);
        held.replaced = replaced.map(|pair| pair.key);
        held.is_unreported = true;
        held.is_unconfirmed = true;
        // A store that has failed may work now.
        held.store_again = None;
        drop(held);
        self.changed.notify_one();
    }

    /// The certificate that the hub has accepted, once.
    pub(crate) fn accepted(&self) -> Option<IssuedCertificate> {
        let mut held = self.held();
        let is_unreported = std::mem::take(&mut held.is_unreported);
        let current = held.current.as_ref().filter(|_| is_unreported)?;
        Some(current.certificate.clone())
    }

    /// Writes to the store what it lacks: the newest certificate, and that the hub has accepted it. If this fails, the stored
    /// certificate and its key stay, and another call is due after [`store_wait`](Self::store_wait).
    pub(crate) async fn update_store(&self) {
        if self.write_to_store().await {
            info!("the certificate before the current one was removed");
            self.remove_replaced().await;
        }
    }

    /// Returns true if the store now has the certificate that the hub has accepted in place of the one before.
    async fn write_to_store(&self) -> bool {
        let _writing = self.writing.lock().await;
        if self.store_wait() != Some(Duration::ZERO) {
            return false;
        }
        let (unsaved, is_accepted) = {
            let held = self.held();
            let newest = held.next.as_ref().or(held.current.as_ref());
            let newest = newest.filter(|_| held.is_unsaved);
            let unsaved = newest.map(|pair| Credential::new(pair.key.clone(), &pair.certificate));
            (unsaved, held.is_unconfirmed)
        };
        if let Some(credential) = unsaved {
            let saved = in_time(self.options.store.save_next(&credential)).await;
            self.held().is_unsaved = saved.is_err();
            if !self.stored(saved, "the certificate cannot be stored") {
                return false;
            }
        }
        if !is_accepted {
            return false;
        }
        let confirmed = in_time(self.options.store.confirm_next()).await;
        self.held().is_unconfirmed = confirmed.is_err();
        let what = "the store still has the certificate before the current one";
        self.stored(confirmed, what)
    }

    /// The time until the store is written again. `None` if it lacks nothing, or only a certificate that has expired.
    pub(crate) fn store_wait(&self) -> Option<Duration> {
        let now = self.clock.now();
        let held = self.held();
        let newest = held.next.as_ref().or(held.current.as_ref())?;
        if !(held.is_unsaved || held.is_unconfirmed) || newest.certificate.has_expired(now) {
            return None;
        }
        let wait = held
            .store_again
            .map(|at| at.saturating_duration_since(Instant::now()));
        Some(wait.unwrap_or_default())
    }

    /// Counts the failures of the store, and determines when it is written again. Returns true if it has not failed.
    fn stored(&self, written: io::Result<()>, what: &str) -> bool {
        let mut held = self.held();
        let Err(error) = written else {
            held.store_failures = 0;
            held.store_again = None;
            return true;
        };
        let first = self.options.check_interval;
        let wait = renewal::wait(first, held.store_failures, None, draw());
        held.store_failures = held.store_failures.saturating_add(1);
        held.store_again = Some(after(wait));
        warn!(%error, ?wait, "{what}: the device uses the new one from its memory, and writes to the store again after the wait");
        false
    }

    /// Removes the key that is no longer in use. If this fails, the next new key replaces it.
    async fn remove_replaced(&self) {
        let Ok(_turn) = self.turn().await else {
            return;
        };
        let replaced = {
            let mut held = self.held();
            let replaced = held.replaced.take();
            let held = [&held.current, &held.next];
            let in_use = |name: &Zeroizing<String>| {
                held.iter().copied().flatten().any(|pair| pair.key == *name)
            };
            replaced.filter(|name| !in_use(name))
        };
        let Some(name) = replaced else {
            return;
        };
        let what = "the key of the certificate before the current one cannot be removed yet";
        match timeout(STORE_TIMEOUT, self.options.keys.remove(&name)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => warn!(error = %format_args!("{error:#}"), "{what}"),
            Err(_) => warn!("{what}: the hardware did not answer within {STORE_TIMEOUT:?}"),
        }
    }

    async fn turn(&self) -> Result<tokio::sync::MutexGuard<'_, ()>, Error> {
        key_in_time(async { Ok(self.places.lock().await) }).await
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Keeper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keeper")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

/// The certificates that prove the device's identity to its hub.
#[derive(Debug)]
pub(crate) struct HubCredentials {
    newest: IssuedCertificate,
    older: Option<IssuedCertificate>,
}

impl Attestation for HubCredentials {
    fn registration_id(&self) -> &RegistrationId {
        self.newest.registration_id()
    }

    fn proof(&self) -> Proof<'_> {
        self.newest.proof()
    }

    fn secondary_proof(&self) -> Option<Proof<'_>> {
        self.older.as_ref().map(Attestation::proof)
    }
}

async fn key_in_time<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(KEY_TIMEOUT, work).await.unwrap_or_else(|_| {
        Err(Error::new(
            ErrorKind::Deadline,
            format!("the keys of certificates were not available within {KEY_TIMEOUT:?}: check the hardware that holds them"),
        ))
    })
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STORE_TIMEOUT, work).await.unwrap_or_else(|_| {
        let what = format!("the store did not finish within {STORE_TIMEOUT:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    })
}

#[cfg(test)]
mod tests;
