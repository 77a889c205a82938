//! A page of a list.

/// Items in the order of their keys.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// The key of the page's last entry, if more entries follow it.
    pub(crate) more_after: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` of these entries. The caller reads one entry more, to learn whether another page follows.
    pub(super) fn of(mut entries: Vec<(String, T)>, limit: usize) -> Self {
        let is_full = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().filter(|_| is_full);
        Self {
            more_after: last.map(|(key, _)| key.clone()),
            items: entries.into_iter().map(|(_, item)| item).collect(),
        }
    }

    pub(crate) fn map<U>(self, shown: impl FnMut(T) -> U) -> Page<U> {
        Page {
            items: self.items.into_iter().map(shown).collect(),
            more_after: self.more_after,
        }
    }

    /// Converts the entries and leaves out those without a result.
    pub(super) fn filter_of<V>(
        entries: Vec<(String, V)>,
        limit: usize,
        convert: impl Fn(&str, V) -> Option<T>,
    ) -> Self {
        let entries = entries.into_iter().map(|(key, value)| {
            let converted = convert(&key, value);
            (key, converted)
        });
        let page = Page::of(entries.collect(), limit);
        Self {
            items: page.items.into_iter().flatten().collect(),
            more_after: page.more_after,
        }
    }
}
