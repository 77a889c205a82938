//! Room for what comes new: no more of a kind than the limits allow, also when many come at once.
//!
//! Away from a limit, newcomers do not wait for each other. Close to one they come in one by one, so that the count is exact.

use std::sync::atomic::{AtomicU64, Ordering};

use dps_types::enrollment::{AttestationType, EnrollmentGroup};
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::store::Table;
use super::{Document, Registry};
use crate::limits::Limits;
use crate::refusal::Refusal;

/// The limits, and who is coming in.
#[derive(Debug, Default)]
pub(super) struct Door {
    pub(super) limits: Limits,
    /// Held shared by who comes in with others, exclusively by who comes in alone.
    passage: RwLock<()>,
    /// How many hold it shared.
    passing: AtomicU64,
}

/// Somebody who may come in: held until what is new is written.
#[must_use]
pub(super) enum Seat<'a> {
    Among { _passing: Passing<'a> },
    Alone { _passage: RwLockWriteGuard<'a, ()> },
}

pub(super) struct Passing<'a> {
    door: &'a Door,
    _passage: RwLockReadGuard<'a, ()>,
}

/// What there are limits of.
#[derive(Debug, Clone, Copy)]
enum Kind<'a> {
    Individuals,
    Groups(&'a AttestationType),
    Registrations,
}

impl Registry {
    pub(crate) fn limits(&self) -> &Limits {
        &self.door.limits
    }

    /// Room for an enrollment that is new, or a group that comes to another kind of attestation. `None` when it takes up
    /// no more room than before.
    pub(super) async fn room_for<D: Document>(
        &self,
        document: &D,
        before: Option<&AttestationType>,
    ) -> Result<Option<Seat<'_>>, Refusal> {
        let kind = &document.terms().attestation.kind;
        match before {
            None if !D::IS_GROUP => self.room(Kind::Individuals).await.map(Some),
            Some(before) if !D::IS_GROUP || before == kind => Ok(None),
            _ => self.room(Kind::Groups(kind)).await.map(Some),
        }
    }

    /// Room for the registration of a device that has none.
    pub(super) async fn room_for_registration(&self) -> Result<Seat<'_>, Refusal> {
        self.room(Kind::Registrations).await
    }

    async fn room(&self, kind: Kind<'_>) -> Result<Seat<'_>, Refusal> {
        let most = kind.most(&self.door.limits);
        let passing = self.door.pass().await;
        // In this order: who is through by now is among those that are counted then.
        let with_me = self.door.passing.load(Ordering::SeqCst);
        let count = self.store().count(kind.table()).await?;
        if count.saturating_add(with_me) <= most {
            return Ok(Seat::Among { _passing: passing });
        }
        drop(passing);
        let passage = self.door.passage.write().await;
        match self.count(kind).await? < most {
            true => Ok(Seat::Alone { _passage: passage }),
            false => Err(Refusal::quota(kind.name(), most)),
        }
    }

    /// How many there are. Groups are few, or else they are not counted this closely.
    async fn count(&self, kind: Kind<'_>) -> Result<u64, Refusal> {
        let count = self.store().count(kind.table()).await?;
        match kind {
            Kind::Groups(attestation) if count >= kind.most(&self.door.limits) => {
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

impl Door {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    async fn pass(&self) -> Passing<'_> {
        let passage = self.passage.read().await;
        self.passing.fetch_add(1, Ordering::SeqCst);
        Passing {
            door: self,
            _passage: passage,
        }
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        self.door.passing.fetch_sub(1, Ordering::SeqCst);
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

    fn most(self, limits: &Limits) -> u64 {
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
