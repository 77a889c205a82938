//! A part of a list, and where the next part begins.

/// Items in the order of their keys.
#[derive(Debug)]
pub(crate) struct Page<T> {
    pub(crate) items: Vec<T>,
    /// The key of the last item, when more follow it.
    pub(crate) more_after: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` of these entries: one more of them was asked for, to see whether there is more.
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

    pub(super) fn try_map<U, E>(self, read: impl FnMut(T) -> Result<U, E>) -> Result<Page<U>, E> {
        Ok(Page {
            items: self.items.into_iter().map(read).collect::<Result<_, _>>()?,
            more_after: self.more_after,
        })
    }
}
