//! Registration records: read, write and delete, each on the condition that the record has not changed.

use dps_types::protocol::IfMatch;
use dps_types::{ErrorCode, RegistrationId};

use super::enrollments::ATTEMPTS;
use super::store::{Change, Expected, Table};
use super::{Record, State, decode, decode_or_skip, encode, members, version};
use crate::service_error::ServiceError;

/// A record as it was read. It can be replaced only if it has not changed since.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    pub(crate) record: Record,
    bytes: Vec<u8>,
}

impl State {
    pub(crate) async fn registration(&self, key: &str) -> Result<Option<Stored>, ServiceError> {
        match self.store().get(Table::Registrations, key).await? {
            Some(bytes) => {
                let record = decode(&bytes)?;
                Ok(Some(Stored { record, bytes }))
            }
            None => Ok(None),
        }
    }

    /// The record, for an answer that is about something else: one that cannot be read is named in the log and left out.
    pub(crate) async fn readable_registration(
        &self,
        key: &str,
    ) -> Result<Option<Record>, ServiceError> {
        let bytes = self.store().get(Table::Registrations, key).await?;
        Ok(bytes.and_then(|bytes| decode_or_skip(key, &bytes)))
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

    /// Writes a record with a new version. `None` if the record has changed since `before` was read.
    pub(crate) async fn write_registration(
        &self,
        before: Option<&Stored>,
        record: Record,
    ) -> Result<Option<Record>, ServiceError> {
        self.write_registration_with(before, record, Vec::new())
            .await
    }

    /// Writes a record together with other changes.
    pub(crate) async fn write_registration_with(
        &self,
        before: Option<&Stored>,
        mut record: Record,
        mut changes: Vec<Change<'_>>,
    ) -> Result<Option<Record>, ServiceError> {
        record.last_updated = self.now();
        record.etag = version::new_version(record.last_updated, self.random());
        let key = record.registration_id.to_lowercase();
        let bytes = encode(&record)?;
        let expected = Expected::unchanged(before.map(|stored| &*stored.bytes));
        let operation = self.operation_change(before.map(|it| &it.record), &record, &key);
        let old_member = before.and_then(|stored| members::key(&stored.record));
        let new_member = members::key(&record);
        changes.extend(members::changes(
            old_member.as_deref(),
            new_member.as_deref(),
        ));
        changes.push(Change::put(Table::Registrations, &key, expected, bytes));
        changes.extend(operation);
        let written = match before {
            Some(_) => self.store().apply(&changes).await?,
            None => self.insert(&changes).await?,
        };
        drop(changes);
        Ok(written.then_some(record))
    }

    /// Inserts a record with other changes, if the quota permits it.
    async fn insert(&self, changes: &[Change<'_>]) -> Result<bool, ServiceError> {
        for _ in 0..ATTEMPTS {
            let permit = self.permit_registration().await?;
            let Some(turn) = permit.change() else {
                return Ok(self.store().apply(changes).await?);
            };
            let with_turn: Vec<_> = changes.iter().cloned().chain([turn]).collect();
            if self.store().apply(&with_turn).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Deletes a record, also one that cannot be read. Without a condition any version is deleted.
    pub(crate) async fn delete_registration(
        &self,
        id: &RegistrationId,
        condition: Option<&IfMatch>,
    ) -> Result<(), ServiceError> {
        let key = id.to_lowercase();
        for _ in 0..ATTEMPTS {
            let stored = self.store().get(Table::Registrations, &key).await?;
            let bytes = stored.ok_or_else(missing)?;
            let record: Option<Record> = decode_or_skip(&key, &bytes);
            if let (Some(record), Some(condition)) = (&record, condition)
                && !condition.matches(&record.etag)
            {
                return Err(ServiceError::precondition());
            }
            // The index entry of an unreadable record stays. It is ignored, because the record does not exist.
            let member = record.as_ref().and_then(members::key);
            let mut changes = members::changes(member.as_deref(), None);
            let expected = Expected::Exactly(&bytes);
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
}

fn missing() -> ServiceError {
    ServiceError::new(ErrorCode::REGISTRATION_NOT_FOUND, "Registration not found.")
}
