//! The certificate requests of devices at their hubs: one at a time for each device. Kept in memory only.
//!
//! The connection of the device carries its request out. A request outlives the connection of a client that keeps its session.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dps_types::Timestamp;

use super::{Authentication, Hubs, Identity};
use crate::issuance::{Credential, RENEWAL_LIFETIME};
use crate::service_error::ServiceError;

/// The requests in progress, by the key of the device.
#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<HashMap<String, Renewal>>);

/// A certificate request in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Renewal {
    /// The request id of the device.
    pub(crate) rid: String,
    pub(crate) correlation_id: String,
    /// The time at which the hub abandons the request.
    pub(crate) expires: Timestamp,
    /// The certificate request in DER.
    pub(crate) csr: Vec<u8>,
}

/// The reason for which a request does not begin.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotBegun {
    /// Another request is in progress.
    Active(Renewal),
    /// The request that it replaces is not in progress.
    NothingToReplace,
}

impl Hubs {
    /// The credential of a device with issued certificates. `None` if the device authenticates in another way.
    pub(crate) async fn credential(
        &self,
        identity: &Identity,
    ) -> Result<Option<Credential>, ServiceError> {
        let (device, _) = self.required(identity).await?;
        Ok(match device.authentication {
            Authentication::CertificateAuthority(credential) => Some(credential),
            _ => None,
        })
    }

    /// Begins a certificate request of a device.
    pub(crate) fn begin_renewal(
        &self,
        identity: &Identity,
        rid: String,
        csr: Vec<u8>,
        replace: Option<&str>,
    ) -> Result<Renewal, NotBegun> {
        let now = self.clock.now();
        let renewals = &self.renewals;
        renewals.begin(identity, rid, csr, replace, now, RENEWAL_LIFETIME)
    }

    /// The certificate request of a device that is in progress.
    pub(crate) fn active_renewal(&self, identity: &Identity) -> Option<Renewal> {
        self.renewals.active(identity, self.clock.now())
    }

    /// Ends a certificate request. Returns false if it has expired, or if another one has replaced it: then it has no answer.
    pub(crate) fn end_renewal(&self, identity: &Identity, renewal: &Renewal) -> bool {
        let expired = SystemTime::from(renewal.expires) <= self.clock.now();
        self.renewals.end(identity, renewal) && !expired
    }
}

impl Renewals {
    /// Begins a request. `replace` is the request id of the one that it cancels, or `*`.
    pub(super) fn begin(
        &self,
        identity: &Identity,
        rid: String,
        csr: Vec<u8>,
        replace: Option<&str>,
        now: SystemTime,
        lifetime: Duration,
    ) -> Result<Renewal, NotBegun> {
        let mut all = self.all();
        let key = identity.key();
        let active = all
            .get(&key)
            .filter(|it| SystemTime::from(it.expires) > now);
        match (active, replace) {
            (Some(active), None) => return Err(NotBegun::Active(active.clone())),
            (Some(active), Some(replaced)) if replaced != "*" && replaced != active.rid => {
                return Err(NotBegun::NothingToReplace);
            }
            (None, Some(_)) => return Err(NotBegun::NothingToReplace),
            _ => {}
        }
        let renewal = Renewal {
            rid,
            correlation_id: uuid::Uuid::new_v4().to_string(),
            expires: (now + lifetime).into(),
            csr,
        };
        all.insert(key, renewal.clone());
        Ok(renewal)
    }

    /// The request in progress of a device.
    pub(super) fn active(&self, identity: &Identity, now: SystemTime) -> Option<Renewal> {
        let all = self.all();
        let active = all.get(&identity.key())?;
        (SystemTime::from(active.expires) > now).then(|| active.clone())
    }

    /// Ends a request. Returns false if another one has replaced it.
    pub(super) fn end(&self, identity: &Identity, renewal: &Renewal) -> bool {
        let mut all = self.all();
        let key = identity.key();
        let is_current = all.get(&key) == Some(renewal);
        if is_current {
            all.remove(&key);
        }
        is_current
    }

    /// No code panics while it holds this lock, so a poisoned lock still guards valid data.
    fn all(&self) -> MutexGuard<'_, HashMap<String, Renewal>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIFETIME: Duration = Duration::from_secs(60);

    fn identity(device: &str) -> Identity {
        let hub = "hub-a".parse().expect("a host name");
        Identity::device(&hub, &device.parse().expect("a device id"))
    }

    fn begin(
        renewals: &Renewals,
        rid: &str,
        replace: Option<&str>,
        now: SystemTime,
    ) -> Result<Renewal, NotBegun> {
        let device = identity("dev-1");
        renewals.begin(&device, rid.to_owned(), Vec::new(), replace, now, LIFETIME)
    }

    #[test]
    fn one_request_at_a_time_until_it_ends_or_expires() {
        let (renewals, now) = (Renewals::default(), SystemTime::now());
        let first = begin(&renewals, "r-1a", None, now).expect("begun");
        let again = begin(&renewals, "r-2a", None, now);
        assert_eq!(again, Err(NotBegun::Active(first.clone())));
        assert_eq!(
            renewals.active(&identity("dev-1"), now),
            Some(first.clone())
        );
        assert_eq!(renewals.active(&identity("dev-2"), now), None);
        assert!(renewals.end(&identity("dev-1"), &first));
        assert!(!renewals.end(&identity("dev-1"), &first));
        assert!(begin(&renewals, "r-2a", None, now).is_ok());
        let later = now + 2 * LIFETIME;
        assert_eq!(renewals.active(&identity("dev-1"), later), None);
        assert!(begin(&renewals, "r-3a", None, later).is_ok());
    }

    #[test]
    fn a_request_replaces_the_one_that_it_names() {
        let (renewals, now) = (Renewals::default(), SystemTime::now());
        let nothing = Err(NotBegun::NothingToReplace);
        assert_eq!(begin(&renewals, "r-1a", Some("*"), now), nothing);
        let first = begin(&renewals, "r-1a", None, now).expect("begun");
        assert_eq!(begin(&renewals, "r-2a", Some("r-9a"), now), nothing);
        let second = begin(&renewals, "r-2a", Some("r-1a"), now).expect("begun");
        assert!(!renewals.end(&identity("dev-1"), &first), "it was replaced");
        assert!(begin(&renewals, "r-3a", Some("*"), now).is_ok());
        assert!(
            !renewals.end(&identity("dev-1"), &second),
            "it was replaced"
        );
    }
}
