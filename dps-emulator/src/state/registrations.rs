//! Registration records: read, write when nobody else did, delete.

use dps_types::protocol::IfMatch;
use dps_types::{ErrorCode, RegistrationId};

use super::enrollments::{ATTEMPTS, unreadable};
use super::store::{Change, Expected, Table};
use super::{Record, State, members, version};
use crate::service_error::ServiceError;

/// A record as it was read: writing it back fails when it has changed meanwhile.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    bytes: Vec<u8>,
}

impl State {
    pub(crate) async fn registration(&self, key: &str) -> Result<Option<Stored>, ServiceError> {
        match self.store().get(Table::Registrations, key).await? {
            Some(bytes) => {
                let record = serde_json::from_slice(&bytes).map_err(|error| unreadable(&error))?;
                Ok(Some(Stored { record, bytes }))
            }
            None => Ok(None),
        }
    }

    /// The record, or the service's 404.
    pub(crate) async fn required_registration(
        &self,
        id: &RegistrationId,
    ) -> Result<Stored, ServiceError> {
        self.registration(&id.to_lowercase())
            .await?
            .ok_or_else(missing)
    }

    /// Writes a record with a new version. `None` when someone else wrote since `before` was read.
    pub(crate) async fn write_registration(
        &self,
        before: Option<&Stored>,
        record: Record,
    ) -> Result<Option<Record>, ServiceError> {
        self.write_registration_with(before, record, Vec::new())
            .await
    }

    /// Writes a record, and with it what else must not be without it.
    pub(crate) async fn write_registration_with(
        &self,
        before: Option<&Stored>,
        mut record: Record,
        mut changes: Vec<Change<'_>>,
    ) -> Result<Option<Record>, ServiceError> {
        let _seat = match before {
            Some(_) => None,
            None => Some(self.permit_registration().await?),
        };
        record.last_updated = self.now();
        record.etag = version::new_version(record.last_updated);
        let key = record.registration_id.to_lowercase();
        let bytes = serde_json::to_vec(&record).map_err(|error| unreadable(&error))?;
        let expected = before.map_or(Expected::Absent, |stored| Expected::Exactly(&stored.bytes));
        let operation = match record.pending {
            Some(_) => Change::put(Table::Operations, &key, Expected::Anything, Vec::new()),
            None => Change::delete(Table::Operations, &key, Expected::Anything),
        };
        let was = before.and_then(|stored| members::position(&stored.record));
        let is = members::position(&record);
        changes.extend(members::changes(was.as_deref(), is.as_deref()));
        changes.extend([
            Change::put(Table::Registrations, &key, expected, bytes),
            operation,
        ]);
        let written = self.store().apply(&changes).await?;
        drop(changes);
        Ok(written.then_some(record))
    }

    /// Deletes; without a condition, whatever the version.
    pub(crate) async fn delete_registration(
        &self,
        id: &RegistrationId,
        condition: Option<&IfMatch>,
    ) -> Result<(), ServiceError> {
        let key = id.to_lowercase();
        for _ in 0..ATTEMPTS {
            let stored = self.required_registration(id).await?;
            if condition.is_some_and(|condition| !condition.matches(&stored.record.etag)) {
                return Err(ServiceError::precondition());
            }
            let was = members::position(&stored.record);
            let mut changes = members::changes(was.as_deref(), None);
            let expected = Expected::Exactly(&stored.bytes);
            changes.extend([
                Change::delete(Table::Registrations, &key, expected),
                Change::delete(Table::Operations, &key, Expected::Anything),
            ]);
            if self.store().apply(&changes).await? {
                return Ok(());
            }
        }
        Err(ServiceError::conflict())
    }

    /// The keys of the devices whose registration is under way. They have a table of their own, so that
    /// starting costs the same however many devices have registered.
    pub(crate) async fn assigning(&self) -> Result<Vec<String>, ServiceError> {
        const PAGE: usize = 500;
        let mut found: Vec<String> = Vec::new();
        loop {
            let page = self
                .store()
                .scan(Table::Operations, found.last().map(String::as_str), PAGE)
                .await?;
            let complete = page.len() < PAGE;
            found.extend(page.into_iter().map(|(key, _)| key));
            if complete {
                return Ok(found);
            }
        }
    }
}

fn missing() -> ServiceError {
    ServiceError::new(ErrorCode::REGISTRATION_NOT_FOUND, "Registration not found.")
}
