//! Enforces quotas: how many enrollments, groups and registrations an instance may have.
//!
//! Far below a quota, inserts run concurrently. Near it they are serialized, so that the count is exact: by a lock, and if other
//! emulators share the store, by a number in the store that each insert changes.

use std::sync::atomic::{AtomicU64, Ordering};

use dps_types::enrollment::{AttestationType, EnrollmentGroup};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};
use uuid::Uuid;

use super::store::{Change, Expected, Table};
use super::{Document, State};
use crate::limits::Limits;
use crate::service_error::ServiceError;

/// More inserts than other emulators make between a count and the write.
const CONCURRENT_ELSEWHERE: u64 = 10_000;

/// The limits of an instance and the inserts in progress.
#[derive(Debug, Default)]
pub(super) struct Quota {
    pub(super) limits: Limits,
    /// Held shared by concurrent inserts, exclusively by a serialized one.
    lock: RwLock<()>,
    /// The number of inserts that hold the lock shared.
    concurrent: AtomicU64,
}

/// Permission to insert one record. The caller holds it until the record is written.
#[must_use]
pub(super) enum Permit<'a> {
    Shared {
        _permit: SharedPermit<'a>,
    },
    Exclusive {
        _lock: RwLockWriteGuard<'a, ()>,
        /// If other emulators share the store.
        turn: Option<Turn>,
    },
}

/// A number in the store that each serialized insert changes. An insert of another emulator in between makes this one fail.
#[derive(Debug)]
pub(crate) struct Turn {
    key: String,
    before: Option<Vec<u8>>,
}

pub(super) struct SharedPermit<'a> {
    quota: &'a Quota,
    _lock: RwLockReadGuard<'a, ()>,
}

/// The kinds of record that have a limit.
#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    Individuals,
    Groups(&'a AttestationType),
    Registrations,
}

impl State {
    pub(crate) fn limits(&self) -> &Limits {
        &self.quota.limits
    }

    /// Permits the insert of a new enrollment, or the change of a group to another attestation type. `None` if the write
    /// does not change any count.
    pub(super) async fn permit_enrollment<D: Document>(
        &self,
        document: &D,
        before: Option<&AttestationType>,
    ) -> Result<Option<Permit<'_>>, ServiceError> {
        let kind = &document.terms().attestation.kind;
        match before {
            None if !D::IS_GROUP => self.permit(Kind::Individuals).await.map(Some),
            Some(before) if !D::IS_GROUP || before == kind => Ok(None),
            _ => self.permit(Kind::Groups(kind)).await.map(Some),
        }
    }

    /// Permits the insert of a new registration record.
    pub(super) async fn permit_registration(&self) -> Result<Permit<'_>, ServiceError> {
        self.permit(Kind::Registrations).await
    }

    async fn permit(&self, kind: Kind<'_>) -> Result<Permit<'_>, ServiceError> {
        let limit = kind.limit(&self.quota.limits);
        let permit = self.quota.shared().await;
        // Read before the records are counted: an insert that ends in between is then counted twice rather than not at all.
        let concurrent = self.quota.concurrent.load(Ordering::SeqCst);
        let count = self.whole.count(kind.table()).await?;
        let elsewhere = match self.is_shared {
            true => CONCURRENT_ELSEWHERE,
            false => 0,
        };
        if count.saturating_add(concurrent).saturating_add(elsewhere) <= limit {
            return Ok(Permit::Shared { _permit: permit });
        }
        drop(permit);
        let lock = self.quota.lock.write().await;
        let turn = self.turn(kind.name()).await?;
        match self.count(kind).await? < limit {
            true => Ok(Permit::Exclusive { _lock: lock, turn }),
            false => Err(ServiceError::quota(kind.name(), limit)),
        }
    }

    /// The number that serialized inserts of this kind change; `None` if no other emulator shares the store. It must be read before
    /// the records are counted.
    pub(crate) async fn turn(&self, kind: &str) -> Result<Option<Turn>, ServiceError> {
        if !self.is_shared {
            return Ok(None);
        }
        let key = format!("quota/{kind}");
        let before = self.store().get(Table::Meta, &key).await?;
        Ok(Some(Turn { key, before }))
    }

    /// Counts the records of the kind. Groups are counted by attestation type only when all groups together reach the limit,
    /// because that requires reading them.
    async fn count(&self, kind: Kind<'_>) -> Result<u64, ServiceError> {
        let count = self.store().count(kind.table()).await?;
        match kind {
            Kind::Groups(attestation) if count >= kind.limit(&self.quota.limits) => {
                let groups = self.enrollments::<EnrollmentGroup>().await?;
                let same = groups
                    .iter()
                    .filter(|group| group.attestation.kind == *attestation);
                Ok(same.count() as u64)
            }
            _ => Ok(count),
        }
    }
}

impl Permit<'_> {
    /// The change that must be written with the record.
    pub(super) fn change(&self) -> Option<Change<'_>> {
        match self {
            Self::Shared { .. } => None,
            Self::Exclusive { turn, .. } => turn.as_ref().map(Turn::change),
        }
    }
}

impl Turn {
    /// The change that must be written with the record.
    pub(crate) fn change(&self) -> Change<'_> {
        let expected = Expected::unchanged(self.before.as_deref());
        let next = Uuid::new_v4().to_string().into_bytes();
        Change::put(Table::Meta, &self.key, expected, next)
    }
}

impl Quota {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    async fn shared(&self) -> SharedPermit<'_> {
        let lock = self.lock.read().await;
        self.concurrent.fetch_add(1, Ordering::SeqCst);
        SharedPermit {
            quota: self,
            _lock: lock,
        }
    }
}

impl Drop for SharedPermit<'_> {
    fn drop(&mut self) {
        self.quota.concurrent.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Kind<'_> {
    fn table(self) -> Table {
        match self {
            Self::Individuals => Table::Individuals,
            Self::Groups(_) => Table::Groups,
            Self::Registrations => Table::Registrations,
        }
    }

    fn limit(self, limits: &Limits) -> u64 {
        match self {
            Self::Individuals => limits.individual_enrollments,
            Self::Groups(AttestationType::X509) => limits.x509_groups,
            Self::Groups(_) => limits.symmetric_key_groups,
            Self::Registrations => limits.registrations,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Individuals => "individual enrollments",
            Self::Groups(AttestationType::X509) => "X.509 enrollment groups",
            Self::Groups(_) => "symmetric key enrollment groups",
            Self::Registrations => "registrations",
        }
    }
}
