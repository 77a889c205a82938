//! The index of the devices that registered through a group. It is written in the same change as their records.

use dps_types::EnrollmentGroupId;

use super::store::{Change, Expected, Table};
use super::{Page, Record, State, decode_or_skip};
use crate::attest::EnrollmentRef;
use crate::service_error::ServiceError;

/// Separates the group id from the registration id. Neither contains it.
const SEPARATOR: char = '/';

/// The key of a record in the index; `None` if the device has an individual enrollment.
pub(super) fn key(record: &Record) -> Option<String> {
    match &record.enrollment {
        EnrollmentRef::Group(group) => Some(prefix(group) + &record.registration_id.to_lowercase()),
        EnrollmentRef::Individual => None,
    }
}

/// The changes of the index when a record is created, replaced or deleted.
pub(super) fn changes<'a>(before: Option<&'a str>, now: Option<&'a str>) -> Vec<Change<'a>> {
    let removed = before.filter(|key| now != Some(key)).map(|key| {
        let any = Expected::Anything;
        Change::delete(Table::Members, key, any)
    });
    let put = now.map(|key| Change::put(Table::Members, key, Expected::Anything, Vec::new()));
    removed.into_iter().chain(put).collect()
}

impl State {
    /// At most `limit` records in order of their keys, starting with the first key greater than `after`. A record that cannot be
    /// read is left out.
    #[cfg(feature = "control")]
    pub(crate) async fn all_registrations(
        &self,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Record>, ServiceError> {
        let entries = self.store().scan(Table::Registrations, after, limit + 1);
        Ok(Page::filter_of(
            entries.await?,
            limit,
            |key, bytes: Vec<u8>| decode_or_skip(key, &bytes),
        ))
    }

    /// At most `limit` records of the group's devices in order of their keys, starting with the first key greater than `after`.
    /// A record that cannot be read is left out.
    pub(crate) async fn registration_page(
        &self,
        group: &EnrollmentGroupId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page<Record>, ServiceError> {
        let prefix = prefix(group);
        let after = prefix.clone() + after.unwrap_or_default();
        let entries = self.store().scan(Table::Members, Some(&after), limit + 1);
        let of_group = entries.await?.into_iter().map_while(|(key, _)| {
            let key = key.strip_prefix(&prefix)?.to_owned();
            Some((key.clone(), key))
        });
        let keys = Page::of(of_group.collect(), limit);
        let mut items = Vec::with_capacity(keys.items.len());
        for key in keys.items {
            // The record may have been deleted since the index was read.
            if let Some(bytes) = self.store().get(Table::Registrations, &key).await? {
                items.extend(decode_or_skip::<Record>(&key, &bytes));
            }
        }
        Ok(Page {
            items,
            more_after: keys.more_after,
        })
    }
}

fn prefix(group: &EnrollmentGroupId) -> String {
    let mut prefix = group.to_lowercase();
    prefix.push(SEPARATOR);
    prefix
}
