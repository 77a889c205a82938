//! Which devices registered through which group: an index beside the records, written in the same change as they are.

use dps_types::EnrollmentGroupId;

use super::store::{Change, Expected, Table};
use super::{Page, Record, State};
use crate::attest::EnrollmentRef;
use crate::service_error::ServiceError;

/// Ends the group's part of a key. No id has it.
const SEPARATOR: char = '/';

/// Where a record stands in the index; nowhere, when the device has an enrollment of its own.
pub(super) fn position(record: &Record) -> Option<String> {
    match &record.enrollment {
        EnrollmentRef::Group(group) => Some(prefix(group) + &record.registration_id.to_lowercase()),
        EnrollmentRef::Individual => None,
    }
}

/// What becomes of the index when a record is written where there was none, replaced, or taken away.
pub(super) fn changes<'a>(before: Option<&'a str>, now: Option<&'a str>) -> Vec<Change<'a>> {
    let gone = before.filter(|key| now != Some(key)).map(|key| {
        let any = Expected::Anything;
        Change::delete(Table::Members, key, any)
    });
    let put = now.map(|key| Change::put(Table::Members, key, Expected::Anything, Vec::new()));
    gone.into_iter().chain(put).collect()
}

impl State {
    /// At most `limit` records of the group's devices, in order of their keys, from the one that follows `after`.
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
            // It may have gone since the index was read.
            items.extend(self.registration(&key).await?.map(|stored| stored.record));
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
