//! The part of a store that belongs to one instance: the keys with the instance's prefix.

use std::sync::Arc;

use async_trait::async_trait;
use dps_types::IdScope;

use super::{Change, Notifications, Store, StoreError, Table};

/// The first character of the prefixes. It sorts after every character of the first instance's keys, which have no prefix, so
/// that the data of an emulator with one instance stays as it is.
const MARK: &str = "~";
/// The last character of the prefixes. It sorts before every character of an id scope, so that no prefix is in the range of
/// another.
const END: char = '!';
/// The character after it.
const NEXT: char = '"';
/// The number of entries that are counted or removed at once.
const PAGE: usize = 500;
/// The tables that hold what belongs to one instance.
const TABLES: [Table; 14] = [
    Table::Individuals,
    Table::Groups,
    Table::Registrations,
    Table::Members,
    Table::Operations,
    Table::Thumbprints,
    Table::CaCertificates,
    Table::Hubs,
    Table::HubModules,
    Table::HubMessages,
    Table::Meta,
    Table::Rates,
    Table::Challenges,
    Table::Faults,
];

/// The keys of one instance in a store, without their prefix.
#[derive(Debug, Clone)]
pub(crate) struct Partition {
    whole: Arc<dyn Store>,
    /// Empty for the first instance.
    prefix: Box<str>,
}

impl Partition {
    /// The keys without a prefix: those of the first instance.
    pub(crate) fn first(whole: Arc<dyn Store>) -> Self {
        Self {
            whole,
            prefix: "".into(),
        }
    }

    /// The keys of the instance with this id scope, which no other instance ever has.
    pub(crate) fn of(whole: Arc<dyn Store>, id_scope: &IdScope) -> Self {
        let prefix = format!("{MARK}{}{END}", id_scope.to_lowercase());
        Self {
            whole,
            prefix: prefix.into(),
        }
    }

    /// Whether a key without a prefix belongs to the first instance.
    #[cfg(feature = "control")]
    pub(crate) fn is_own(key: &str) -> bool {
        !key.starts_with(MARK)
    }

    /// The id scopes of the instances, except the first, that have an entry in the table.
    pub(crate) async fn owners(
        store: &dyn Store,
        table: Table,
    ) -> Result<Vec<IdScope>, StoreError> {
        let mut owners = Vec::new();
        let mut after = MARK.to_owned();
        while let Some((key, _)) = store.scan(table, Some(&after), 1).await?.pop() {
            let Some(rest) = key.strip_prefix(MARK) else {
                break;
            };
            let id_scope = rest.split(END).next().unwrap_or_default();
            // After all entries of this instance.
            after = format!("{MARK}{id_scope}{NEXT}");
            owners.extend(IdScope::new(id_scope));
        }
        Ok(owners)
    }

    /// Removes all entries.
    pub(crate) async fn clear(&self) -> Result<(), StoreError> {
        for table in TABLES {
            loop {
                let page = self.scan(table, None, PAGE).await?;
                let changes: Vec<Change<'_>> = page
                    .iter()
                    .map(|(key, _)| Change::delete(table, key, super::Expected::Anything))
                    .collect();
                self.apply(&changes).await?;
                if page.len() < PAGE {
                    break;
                }
            }
        }
        Ok(())
    }

    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Counts the entries of the whole store whose keys follow `after` and satisfy a condition, up to the first that does not.
    async fn count_range(
        &self,
        table: Table,
        after: &str,
        is_in: impl Fn(&str) -> bool,
    ) -> Result<u64, StoreError> {
        let (mut count, mut after) = (0, after.to_owned());
        loop {
            let page = self.whole.scan(table, Some(&after), PAGE).await?;
            let inside = page.iter().take_while(|(key, _)| is_in(key)).count();
            count += inside as u64;
            match page.into_iter().next_back() {
                Some((last, _)) if inside == PAGE => after = last,
                _ => return Ok(count),
            }
        }
    }
}

#[async_trait]
impl Store for Partition {
    async fn get(&self, table: Table, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        match &*self.prefix {
            "" => self.whole.get(table, key).await,
            _ => self.whole.get(table, &self.key(key)).await,
        }
    }

    async fn apply(&self, changes: &[Change<'_>]) -> Result<bool, StoreError> {
        if self.prefix.is_empty() {
            return self.whole.apply(changes).await;
        }
        let keys: Vec<String> = changes.iter().map(|it| self.key(it.key)).collect();
        let changes: Vec<Change<'_>> = changes
            .iter()
            .zip(&keys)
            .map(|(change, key)| Change {
                key,
                ..change.clone()
            })
            .collect();
        self.whole.apply(&changes).await
    }

    async fn scan(
        &self,
        table: Table,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        if self.prefix.is_empty() {
            let mut page = self.whole.scan(table, after, limit).await?;
            page.truncate(page.partition_point(|(key, _)| !key.starts_with(MARK)));
            return Ok(page);
        }
        // The keys begin right after the prefix without its end.
        let start = match after {
            Some(after) => self.key(after),
            None => self.prefix.trim_end_matches(END).to_owned(),
        };
        let page = self.whole.scan(table, Some(&start), limit).await?;
        let own = page.into_iter().map_while(|(key, value)| {
            let key = key.strip_prefix(&*self.prefix)?.to_owned();
            Some((key, value))
        });
        Ok(own.collect())
    }

    /// The cost grows with the entries of the instance, and for the first one with those of all others.
    async fn count(&self, table: Table) -> Result<u64, StoreError> {
        if self.prefix.is_empty() {
            let all = self.whole.count(table).await?;
            let others = self.count_range(table, MARK, |key| key.starts_with(MARK));
            return Ok(all.saturating_sub(others.await?));
        }
        let start = self.prefix.trim_end_matches(END);
        self.count_range(table, start, |key| key.starts_with(&*self.prefix))
            .await
    }

    async fn notify(&self, message: &str) -> Result<(), StoreError> {
        self.whole.notify(message).await
    }

    fn notifications(&self) -> Option<Notifications> {
        self.whole.notifications()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Expected, MemoryStore, conformance};
    use super::*;

    fn scope(text: &str) -> IdScope {
        text.parse().expect("valid")
    }

    /// Stores whose keys are next to those of the partition under test.
    async fn neighbours(whole: &Arc<dyn Store>) {
        for id_scope in ["0ne0000000", "0ne000000010", "0ne00000001-1", "0ne00000002"] {
            let other = Partition::of(Arc::clone(whole), &scope(id_scope));
            for table in TABLES {
                for key in ["", "a", "~", "zz"] {
                    let value = id_scope.as_bytes().to_vec();
                    let put = other.put(table, key, Expected::Absent, value).await;
                    assert!(put.expect("written"));
                }
            }
        }
    }

    #[tokio::test]
    async fn a_partition_between_others_is_a_store() {
        conformance(|| async {
            let whole: Arc<dyn Store> = Arc::new(MemoryStore::new());
            neighbours(&whole).await;
            Partition::of(whole, &scope("0ne00000001"))
        })
        .await;
    }

    #[tokio::test]
    async fn the_first_partition_has_the_keys_without_a_prefix() {
        let whole: Arc<dyn Store> = Arc::new(MemoryStore::new());
        neighbours(&whole).await;
        let first = Partition::first(Arc::clone(&whole));
        for key in ["b", "a"] {
            let put = first.put(Table::Groups, key, Expected::Absent, vec![1]);
            assert!(put.await.expect("written"));
        }
        let page = first.scan(Table::Groups, None, 10).await.expect("read");
        let keys: Vec<&str> = page.iter().map(|(key, _)| &**key).collect();
        assert_eq!(keys, ["a", "b"]);
        assert_eq!(first.count(Table::Groups).await.expect("counted"), 2);
        let stored = whole.get(Table::Groups, "a").await.expect("read");
        assert_eq!(stored, Some(vec![1]));
    }

    #[tokio::test]
    async fn the_owners_of_entries_are_found() {
        let whole: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let first = Partition::first(Arc::clone(&whole));
        let put = first.put(Table::Groups, "zz", Expected::Absent, vec![1]);
        assert!(put.await.expect("written"));
        let owners = Partition::owners(&*whole, Table::Groups).await;
        assert_eq!(owners.expect("read"), Vec::<IdScope>::new());
        neighbours(&whole).await;
        let owners = Partition::owners(&*whole, Table::Groups).await;
        let expected = ["0ne0000000", "0ne00000001-1", "0ne000000010", "0ne00000002"];
        assert_eq!(owners.expect("read"), expected);
    }

    #[tokio::test]
    async fn clearing_a_partition_leaves_the_others() {
        let whole: Arc<dyn Store> = Arc::new(MemoryStore::new());
        neighbours(&whole).await;
        let one = Partition::of(Arc::clone(&whole), &scope("0NE00000002"));
        one.clear().await.expect("cleared");
        for table in TABLES {
            assert_eq!(one.count(table).await.expect("counted"), 0);
            assert_eq!(whole.count(table).await.expect("counted"), 3 * 4);
        }
    }
}
