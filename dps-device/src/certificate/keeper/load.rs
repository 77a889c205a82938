//! Loads the stored certificates of a device when it starts.

use tracing::warn;
use zeroize::Zeroizing;

use super::{Keeper, Pair, in_time, key_in_time};
use crate::certificate::chain::end_of_validity;
use crate::certificate::credential::Credential;
use crate::certificate::key_source::KeySource;
use crate::error::{Error, ErrorKind};

/// The failures after which a stored certificate is left out whose key cannot be used. A key that is damaged never can.
pub(super) const FAILED_LOADS: u32 = 10;

impl Keeper {
    /// Loads the stored certificates, until that has succeeded once. Certificates that cannot be used are logged and left out.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if the store cannot be read: the names of the keys in use are unknown then, so none may be replaced. Also if
    /// no certificate can be used now, and the key of one may be usable later. After ten such failures it is left out.
    pub(crate) async fn load(&self) -> Result<(), Error> {
        if self.held().is_loaded {
            return Ok(());
        }
        let stored = in_time(self.options.store.load()).await.map_err(|error| {
            Error::new(
                ErrorKind::Store,
                "the stored certificates cannot be loaded, so no key is generated: it could replace one that is in use",
            )
            .with_source(error)
        })?;
        let first = stored.current.as_ref().or(stored.next.as_ref());
        let first = first.map(|credential| Zeroizing::new(credential.key().to_owned()));
        let opened = [
            self.open(stored.current).await,
            self.open(stored.next).await,
        ];
        let now = self.clock.now();
        let is_valid = |pair: &Pair| !pair.certificate.has_expired(now);
        let one_is_valid = opened.iter().flatten().flatten().any(is_valid);
        let mut held = self.held();
        let are_left_out = one_is_valid || held.failed_loads >= FAILED_LOADS;
        let mut pairs = Vec::new();
        for opened in opened {
            pairs.push(match opened {
                Err(error) if are_left_out => {
                    warn!(error = %format_args!("{error:#}"), "a stored certificate is left out");
                    None
                }
                Err(error) => {
                    held.failed_loads += 1;
                    return Err(error);
                }
                Ok(pair) => pair,
            });
        }
        if !held.is_loaded {
            held.is_loaded = true;
            held.next = pairs.pop().flatten();
            held.current = pairs.pop().flatten();
            held.stored = first;
            self.changed.notify_one();
        }
        Ok(())
    }

    /// Opens a stored certificate. `None` if it cannot be used.
    ///
    /// # Errors
    /// [`ErrorKind::Store`] if it may be used later: the key does not answer, and is not missing.
    async fn open(&self, credential: Option<Credential>) -> Result<Option<Pair>, Error> {
        let Some(credential) = credential else {
            return Ok(None);
        };
        let keys: &dyn KeySource = &*self.options.keys;
        let error = match key_in_time(credential.open(&self.registration_id, keys)).await {
            Ok(certificate) => {
                return Ok(Some(Pair {
                    key: Zeroizing::new(credential.key().to_owned()),
                    certificate,
                }));
            }
            Err(error) => error,
        };
        let may_pass = matches!(error.kind(), ErrorKind::Deadline | ErrorKind::Signing);
        let end = credential.chain().next().and_then(end_of_validity);
        let has_expired = end.is_some_and(|end| end <= self.clock.now());
        if may_pass && !has_expired && self.may_hold(credential.key()).await {
            let what = "the key of a stored certificate cannot be used now, so no other certificate is requested";
            return Err(Error::new(ErrorKind::Store, what).with_source(error));
        }
        warn!(error = %format_args!("{error:#}"), "a stored certificate cannot be used");
        Ok(None)
    }

    /// False if the hardware answers, and does not hold this key.
    async fn may_hold(&self, name: &str) -> bool {
        match key_in_time(self.options.keys.list()).await {
            Ok(names) => names.iter().any(|held| held.as_str() == name),
            Err(_) => true,
        }
    }
}
