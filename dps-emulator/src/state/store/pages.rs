//! Reads the entries of a table page by page, in key order.

use super::{Store, StoreError, Table};

/// The number of entries that are read at once.
const PAGE: usize = 500;

/// The entries of a table whose keys begin with a prefix. Entries that are added or removed meanwhile may be missing.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    store: &'a dyn Store,
    table: Table,
    prefix: String,
    /// The last key that was read, and at first the prefix.
    after: Option<String>,
    is_complete: bool,
}

impl<'a> Pages<'a> {
    /// All entries of the table.
    pub(crate) fn all(store: &'a dyn Store, table: Table) -> Self {
        Self {
            store,
            table,
            prefix: String::new(),
            after: None,
            is_complete: false,
        }
    }

    /// The entries whose keys are longer than the prefix and begin with it.
    pub(crate) fn with_prefix(store: &'a dyn Store, table: Table, prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            after: Some(prefix.to_owned()),
            ..Self::all(store, table)
        }
    }

    /// The next entries. `None` after the last one.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<(String, Vec<u8>)>>, StoreError> {
        if self.is_complete {
            return Ok(None);
        }
        let after = self.after.as_deref();
        let mut page = self.store.scan(self.table, after, PAGE).await?;
        self.is_complete = page.len() < PAGE;
        let own = page.partition_point(|(key, _)| key.starts_with(&self.prefix));
        if own < page.len() {
            self.is_complete = true;
            page.truncate(own);
        }
        self.after = page.last().map(|(key, _)| key.clone());
        Ok((!page.is_empty()).then_some(page))
    }

    /// All further entries.
    pub(crate) async fn collect(mut self) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await? {
            all.extend(page);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Change, Expected, MemoryStore};
    use super::*;

    async fn filled(keys: impl IntoIterator<Item = String>) -> MemoryStore {
        let store = MemoryStore::new();
        let keys: Vec<String> = keys.into_iter().collect();
        let changes: Vec<Change<'_>> = keys
            .iter()
            .map(|key| Change::put(Table::Groups, key, Expected::Absent, Vec::new()))
            .collect();
        assert!(store.apply(&changes).await.expect("written"));
        store
    }

    #[tokio::test]
    async fn all_entries_are_read_also_if_they_fill_the_last_page() {
        for number in [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE] {
            let store = filled((0..number).map(|key| format!("{key:05}"))).await;
            let all = Pages::all(&store, Table::Groups).collect().await;
            let keys: Vec<String> = all.expect("read").into_iter().map(|(key, _)| key).collect();
            let expected: Vec<String> = (0..number).map(|key| format!("{key:05}")).collect();
            assert_eq!(keys, expected);
        }
    }

    #[tokio::test]
    async fn a_prefix_leaves_out_its_neighbours_and_itself() {
        for number in [0, 1, PAGE, PAGE + 1] {
            let neighbours = ["a", "a/", "a0", "b/1"].map(str::to_owned);
            let own = (0..number).map(|key| format!("a/{key:05}"));
            let store = filled(neighbours.into_iter().chain(own)).await;
            let read = Pages::with_prefix(&store, Table::Groups, "a/")
                .collect()
                .await;
            let read = read.expect("read");
            assert_eq!(read.len(), number);
            assert!(read.iter().all(|(key, _)| key.len() == 7), "{read:?}");
        }
    }
}
