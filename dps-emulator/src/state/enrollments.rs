//! Enrollments: create, read, update, delete, each under the condition of an ETag.

use dps_types::protocol::IfMatch;
use dps_types::{ErrorCode, HubHostname};

use super::store::{Change, Expected};
use super::{Document, Page, State, attestation, unique, validate, version};
use crate::service_error::ServiceError;

/// How often a write is tried again when someone else wrote in between.
pub(super) const ATTEMPTS: usize = 10;
/// How many entries one read of the store brings.
const PAGE: usize = 100;

impl State {
    pub(crate) async fn enrollment<D: Document>(
        &self,
        key: &str,
    ) -> Result<Option<D>, ServiceError> {
        match self.store().get(D::TABLE, key).await? {
            Some(bytes) => read(&bytes).map(Some),
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

    /// Every enrollment of the kind, in order of its key.
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

    /// At most `limit` enrollments of the kind, in order of their keys, from the one that follows `after`.
    pub(crate) async fn enrollment_page<D: Document>(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<D>, ServiceError> {
        let entries = self.store().scan(D::TABLE, after, limit + 1).await?;
        Page::of(entries, limit).try_map(|bytes| read(&bytes))
    }

    /// Creates or replaces. Without a condition only creates: the service answers 409 to a put on an existing id.
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
            let previous: Option<D> = stored.as_deref().map(read).transpose()?;
            check_put(previous.as_ref(), condition)?;
            let kind = previous
                .as_ref()
                .map(|it| it.terms().attestation.kind.clone());
            let had = previous
                .as_ref()
                .map(unique::certificates)
                .unwrap_or_default();
            let completed = self.complete(document.clone(), previous)?;
            let _permit = self.permit_enrollment(&completed, kind.as_ref()).await?;
            let has = unique::certificates(&completed);
            let claims = self.claims(&key, &had, &has).await?;
            let expected = stored
                .as_deref()
                .map_or(Expected::Absent, Expected::Exactly);
            let mut changes: Vec<Change<'_>> = claims.changes().collect();
            changes.push(Change::put(D::TABLE, &key, expected, write(&completed)?));
            if self.store().apply(&changes).await? {
                return Ok(completed);
            }
        }
        Err(ServiceError::conflict())
    }

    /// Deletes; without a condition, whatever the version.
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
            let mut document = read::<D>(&stored)?;
            check_version(&mut document, condition)?;
            let had = unique::certificates(&document);
            let claims = self.claims(key, &had, &unique::Certificates::new()).await?;
            let mut changes: Vec<Change<'_>> = claims.changes().collect();
            changes.push(Change::delete(D::TABLE, key, Expected::Exactly(&stored)));
            if self.store().apply(&changes).await? {
                return Ok(());
            }
        }
        Err(ServiceError::conflict())
    }

    /// What the service writes into a document: keys, certificate info, version and times.
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
        // An explicit null status is echoed as one; other nulls count as absent.
        parts.extra.drop_nulls(&["provisioningStatus"]);
        if let Some(twin) = parts.initial_twin {
            twin.extra.drop_nulls(&[]);
            if let Some(properties) = &mut twin.properties {
                properties.extra.drop_nulls(&[]);
            }
        }
        *parts.etag = Some(version::new_version(now));
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

fn read<D: Document>(bytes: &[u8]) -> Result<D, ServiceError> {
    let mut document: D = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
    let parts = document.parts();
    *parts.last_updated = parts.last_updated.or(*parts.created);
    Ok(document)
}

/// What never changed since it was created has one time: most of a million have.
fn write<D: Document>(document: &D) -> Result<Vec<u8>, ServiceError> {
    let mut document = document.clone();
    let parts = document.parts();
    if parts.last_updated == parts.created {
        *parts.last_updated = None;
    }
    serde_json::to_vec(&document).map_err(|error| unreadable(&error))
}

/// A stored document that cannot be read is the emulator's fault, not the caller's.
pub(crate) fn unreadable(error: &serde_json::Error) -> ServiceError {
    tracing::error!(%error, "a stored document is damaged");
    ServiceError::new(
        ErrorCode::SERVER_ERROR,
        "A stored document is damaged. The cause is in the emulator's log.",
    )
}
