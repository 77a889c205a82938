//! Enrollments: create, read, list, update and delete, each with an optional ETag condition.

use dps_types::HubHostname;
use dps_types::protocol::IfMatch;

use super::codec::Damaged;
use super::quota::Permit;
use super::store::{Change, Expected};
use super::{
    Document, Page, State, attestation, decode, decode_or_skip, encode, unique, validate, version,
};
use crate::service_error::ServiceError;

/// The maximum number of write attempts if other requests change the document at the same time.
pub(super) const ATTEMPTS: usize = 10;
/// The number of entries that are read from the store at once.
const PAGE: usize = 100;

impl State {
    pub(crate) async fn enrollment<D: Document>(
        &self,
        key: &str,
    ) -> Result<Option<D>, ServiceError> {
        match self.store().get(D::TABLE, key).await? {
            Some(bytes) => Ok(Some(read(&bytes)?)),
            None => Ok(None),
        }
    }

    /// The enrollment, or the service's 404.
    pub(crate) async fn required_enrollment<D: Document>(
        &self,
        key: &str,
    ) -> Result<D, ServiceError> {
        self.enrollment(key).await?.ok_or_else(missing::<D>)
    }

    /// All enrollments of a kind in order of their keys. An enrollment that cannot be read is left out.
    pub(crate) async fn enrollments<D: Document>(&self) -> Result<Vec<D>, ServiceError> {
        let mut all = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self.enrollment_page(after.as_deref(), PAGE).await?;
            all.extend(page.items);
            after = page.more_after;
            if after.is_none() {
                return Ok(all);
            }
        }
    }

    /// At most `limit` enrollments of a kind in order of their keys, starting with the first key greater than `after`. An
    /// enrollment that cannot be read is left out.
    pub(crate) async fn enrollment_page<D: Document>(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<D>, ServiceError> {
        let entries = self.store().scan(D::TABLE, after, limit + 1).await?;
        Ok(Page::filter_of(entries, limit, |key, bytes| {
            decode_or_skip(key, &bytes).map(with_last_updated)
        }))
    }

    /// Creates or replaces an enrollment. Without a condition it only creates: the service answers 409 if the id exists.
    ///
    /// With `If-Match: *` it also replaces an enrollment that cannot be read.
    pub(crate) async fn put_enrollment<D: Document>(
        &self,
        document: D,
        condition: Option<&IfMatch>,
        linked: &[HubHostname],
    ) -> Result<D, ServiceError> {
        validate::terms(&document, linked)?;
        let key = document.key();
        for _ in 0..ATTEMPTS {
            let stored = self.store().get(D::TABLE, &key).await?;
            let previous: Option<D> = match stored.as_deref().map(read) {
                Some(Err(_)) if condition == Some(&IfMatch::Any) => None,
                read => {
                    let previous = read.transpose()?;
                    check_put(previous.as_ref(), condition)?;
                    previous
                }
            };
            let kind = previous
                .as_ref()
                .map(|it| it.terms().attestation.kind.clone());
            let had = previous
                .as_ref()
                .map(unique::certificates)
                .unwrap_or_default();
            let completed = self.complete(document.clone(), previous)?;
            let permit = self.permit_enrollment(&completed, kind.as_ref()).await?;
            let has = unique::certificates(&completed);
            let claims = self.claims::<D>(&key, &had, &has).await?;
            let expected = Expected::unchanged(stored.as_deref());
            let mut changes: Vec<Change<'_>> = claims.changes().collect();
            changes.push(Change::put(D::TABLE, &key, expected, write(&completed)?));
            changes.extend(permit.as_ref().and_then(Permit::change));
            if self.store().apply(&changes).await? {
                return Ok(completed);
            }
        }
        Err(ServiceError::conflict())
    }

    /// Deletes an enrollment, also one that cannot be read. Without a condition any version is deleted.
    pub(crate) async fn delete_enrollment<D: Document>(
        &self,
        key: &str,
        condition: Option<&IfMatch>,
    ) -> Result<(), ServiceError> {
        for _ in 0..ATTEMPTS {
            let stored = self
                .store()
                .get(D::TABLE, key)
                .await?
                .ok_or_else(missing::<D>)?;
            let had = match read::<D>(&stored) {
                Ok(mut document) => {
                    check_version(&mut document, condition)?;
                    unique::certificates(&document)
                }
                // Its entries in the index are replaced when another enrollment needs them.
                Err(_) => unique::Certificates::new(),
            };
            let none = unique::Certificates::new();
            let claims = self.claims::<D>(key, &had, &none).await?;
            let mut changes: Vec<Change<'_>> = claims.changes().collect();
            changes.push(Change::delete(D::TABLE, key, Expected::Exactly(&stored)));
            if self.store().apply(&changes).await? {
                return Ok(());
            }
        }
        Err(ServiceError::conflict())
    }

    /// Adds what the service writes into a document: keys, certificate info, version and times.
    fn complete<D: Document>(
        &self,
        mut document: D,
        mut previous: Option<D>,
    ) -> Result<D, ServiceError> {
        let now = self.now();
        let parts = document.parts();
        let earlier = previous.as_mut().map(D::parts);
        attestation::complete(
            parts.attestation,
            earlier.as_ref().map(|parts| &*parts.attestation),
            D::IS_GROUP,
        )?;
        // A null provisioningStatus is returned as null. Any other null is treated as absent.
        parts.extra.drop_nulls(&["provisioningStatus"]);
        if let Some(twin) = parts.initial_twin {
            twin.extra.drop_nulls(&[]);
            if let Some(properties) = &mut twin.properties {
                properties.extra.drop_nulls(&[]);
            }
        }
        *parts.etag = Some(version::new_version(now, self.random()));
        *parts.created = earlier.and_then(|parts| *parts.created).or(Some(now));
        *parts.last_updated = Some(now);
        Ok(document)
    }
}

fn check_put<D: Document>(
    previous: Option<&D>,
    condition: Option<&IfMatch>,
) -> Result<(), ServiceError> {
    match (previous, condition) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(missing::<D>()),
        (Some(_), None) => Err(ServiceError::new(D::EXISTS.0, D::EXISTS.1)),
        (Some(previous), Some(_)) => check_version(&mut previous.clone(), condition),
    }
}

fn check_version<D: Document>(
    document: &mut D,
    condition: Option<&IfMatch>,
) -> Result<(), ServiceError> {
    let etag = document.parts().etag.as_ref();
    match condition {
        Some(condition) if !etag.is_some_and(|etag| condition.matches(etag)) => {
            Err(ServiceError::precondition())
        }
        _ => Ok(()),
    }
}

fn missing<D: Document>() -> ServiceError {
    ServiceError::new(D::MISSING.0, D::MISSING.1)
}

pub(super) fn read<D: Document>(bytes: &[u8]) -> Result<D, Damaged> {
    decode(bytes).map(with_last_updated)
}

pub(super) fn with_last_updated<D: Document>(mut document: D) -> D {
    let parts = document.parts();
    *parts.last_updated = parts.last_updated.or(*parts.created);
    document
}

/// Leaves out the time of the last update if the document was never updated, because there may be a million of them.
fn write<D: Document>(document: &D) -> Result<Vec<u8>, ServiceError> {
    let mut document = document.clone();
    let parts = document.parts();
    if parts.last_updated == parts.created {
        *parts.last_updated = None;
    }
    encode(&document)
}
