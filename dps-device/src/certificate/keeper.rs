//! The certificates that a device holds: the one in use, and a newer one that has not connected yet.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dps_types::{Clock, RegistrationId};
use tokio::sync::Notify;
use tokio::time::timeout;
use tracing::{info, warn};
use zeroize::Zeroizing;

use super::credential::Credential;
use super::issued::IssuedCertificate;
use super::key_source::KeySource;
use super::options::CertificateOptions;
use super::request::CertificateRequest;
use crate::attestation::{Attestation, Proof};
use crate::error::Error;

/// The timeout of each use of the store.
const STORE_TIMEOUT: Duration = Duration::from_secs(30);

pub(crate) struct Keeper {
    pub(crate) options: CertificateOptions,
    registration_id: RegistrationId,
    clock: Arc<dyn Clock>,
    held: Mutex<Held>,
    /// Something about the certificates has changed.
    pub(crate) changed: Notify,
}

#[derive(Default)]
struct Held {
    is_loaded: bool,
    current: Option<Pair>,
    next: Option<Pair>,
    /// The hub accepted the next one, which was not yet reported to the store.
    is_unconfirmed: bool,
}

/// A certificate, and the name of its key in the key source.
#[derive(Clone)]
struct Pair {
    key: Zeroizing<String>,
    certificate: IssuedCertificate,
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
            changed: Notify::new(),
        }
    }

    /// Loads the stored certificates, the first time that it is called. Certificates that cannot be used are logged and left out.
    pub(crate) async fn load(&self) {
        if self.held().is_loaded {
            return;
        }
        let stored = match in_time(self.options.store.load()).await {
            Ok(stored) => stored,
            Err(error) => {
                warn!(%error, "the stored certificates cannot be loaded");
                Default::default()
            }
        };
        let current = self.open(stored.current).await;
        let next = self.open(stored.next).await;
        let mut held = self.held();
        if !held.is_loaded {
            held.is_loaded = true;
            held.current = current;
            held.next = next;
            self.changed.notify_one();
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

    /// A request for a new key pair, and the name of the key. The key of the certificate that can connect stays.
    pub(crate) async fn request(&self) -> Result<(Zeroizing<String>, CertificateRequest), Error> {
        let now = self.clock.now();
        let in_use = {
            let held = self.held();
            let valid = |pair: &&Pair| !pair.certificate.has_expired(now);
            let current = held.current.as_ref().filter(valid);
            let in_use = current.or(held.next.as_ref()).or(held.current.as_ref());
            in_use.map(|pair| pair.key.clone())
        };
        let names: Vec<&str> = in_use.iter().map(|name| name.as_str()).collect();
        let (name, key) = self.options.keys.generate(&names).await?;
        let request = CertificateRequest::new(self.registration_id.clone(), key).await?;
        Ok((name, request))
    }

    /// Keeps a new certificate until it has connected. The device uses it even if it cannot be stored.
    pub(crate) async fn keep(&self, key: Zeroizing<String>, certificate: IssuedCertificate) {
        let credential = Credential::new(key.clone(), &certificate);
        if let Err(error) = in_time(self.options.store.save_next(&credential)).await {
            warn!(%error, "the certificate cannot be stored: the device will request another one after a restart");
        }
        let mut held = self.held();
        held.is_loaded = true;
        held.next = Some(Pair { key, certificate });
        held.is_unconfirmed = false;
        drop(held);
        self.changed.notify_one();
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
        held.current = held.next.take();
        held.is_unconfirmed = true;
        drop(held);
        self.changed.notify_one();
    }

    /// Reports to the store that the next certificate has connected. Returns the certificate if it was not reported before.
    pub(crate) async fn confirm(&self) -> Option<IssuedCertificate> {
        let certificate = {
            let held = self.held();
            let current = held.current.as_ref().filter(|_| held.is_unconfirmed)?;
            current.certificate.clone()
        };
        match in_time(self.options.store.confirm_next()).await {
            Ok(()) => info!("the certificate before the current one was removed"),
            Err(error) => {
                warn!(%error, "the store still has the certificate before the current one");
            }
        }
        self.held().is_unconfirmed = false;
        Some(certificate)
    }

    async fn open(&self, credential: Option<Credential>) -> Option<Pair> {
        let credential = credential?;
        let keys: &dyn KeySource = &*self.options.keys;
        match credential.open(&self.registration_id, keys).await {
            Ok(certificate) => Some(Pair {
                key: Zeroizing::new(credential.key().to_owned()),
                certificate,
            }),
            Err(error) => {
                warn!(error = %format_args!("{error:#}"), "a stored certificate cannot be used");
                None
            }
        }
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

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STORE_TIMEOUT, work).await.unwrap_or_else(|_| {
        let what = format!("the store did not finish within {STORE_TIMEOUT:?}");
        Err(io::Error::new(io::ErrorKind::TimedOut, what))
    })
}
