//! Decoded enrollment groups, which are used again while their stored bytes are the same.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use zeroize::Zeroizing;

use super::State;
use super::codec::decode_or_skip;
use super::enrollments::{read, with_last_updated};
use super::store::{Pages, Table};
use crate::attest::EnrolledGroup;
use crate::service_error::ServiceError;

/// The groups that were decoded last, by key.
///
/// A request of a device without an individual enrollment needs all groups. Their bytes are read from the store for each request,
/// because another emulator that shares the store may have changed them. Only the decoding is saved.
#[derive(Default)]
pub(super) struct DecodedGroups(Mutex<HashMap<String, Decoded>>);

struct Decoded {
    bytes: Zeroizing<Vec<u8>>,
    group: Arc<EnrolledGroup>,
}

impl State {
    /// All enrollment groups in order of their keys. A group that cannot be read is left out.
    pub(crate) async fn groups(&self) -> Result<Vec<Arc<EnrolledGroup>>, ServiceError> {
        let entries = Pages::all(&**self.store(), Table::Groups).collect();
        Ok(self.decoded_groups.all(entries.await?))
    }

    /// The enrollment group with this key.
    pub(crate) async fn group(
        &self,
        key: &str,
    ) -> Result<Option<Arc<EnrolledGroup>>, ServiceError> {
        let Some(bytes) = self.store().get(Table::Groups, key).await? else {
            return Ok(None);
        };
        match self.decoded_groups.known(key, &bytes) {
            Some(group) => Ok(Some(group)),
            None => Ok(Some(Arc::new(EnrolledGroup::new(read(&bytes)?)))),
        }
    }
}

impl DecodedGroups {
    /// Decodes all groups, and keeps them instead of those that were kept before.
    fn all(&self, entries: Vec<(String, Vec<u8>)>) -> Vec<Arc<EnrolledGroup>> {
        let mut kept = self.lock();
        let mut before = std::mem::take(&mut *kept);
        let mut groups = Vec::with_capacity(entries.len());
        for (key, bytes) in entries {
            let known = before.remove(&key).filter(|known| *known.bytes == bytes);
            let decoded = known.or_else(|| {
                let group = decode_or_skip(&key, &bytes).map(with_last_updated)?;
                let group = Arc::new(EnrolledGroup::new(group));
                let bytes = Zeroizing::new(bytes);
                Some(Decoded { bytes, group })
            });
            if let Some(decoded) = decoded {
                groups.push(Arc::clone(&decoded.group));
                kept.insert(key, decoded);
            }
        }
        groups
    }

    fn known(&self, key: &str, bytes: &[u8]) -> Option<Arc<EnrolledGroup>> {
        let kept = self.lock();
        let known = kept
            .get(key)
            .filter(|known| known.bytes.as_slice() == bytes)?;
        Some(Arc::clone(&known.group))
    }

    /// Nothing panics while the map is half changed, so a poisoned lock still guards good data.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Decoded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes hold keys.
impl fmt::Debug for DecodedGroups {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodedGroups").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use dps_types::enrollment::EnrollmentGroup;
    use dps_types::protocol::IfMatch;
    use dps_types::{SymmetricKey, SystemClock};

    use super::super::store::{Expected, MemoryStore, Store};
    use super::*;
    use crate::limits::Limits;

    fn group(name: &str) -> EnrollmentGroup {
        let key = SymmetricKey::generate();
        EnrollmentGroup::from_keys(name.parse().expect("an id"), &key, &key)
    }

    /// Two emulators that share a store.
    fn states() -> [State; 2] {
        let store: Arc<dyn Store> = Arc::new(MemoryStore::new());
        let state = || State::new(Arc::clone(&store), Arc::new(SystemClock), Limits::default());
        [state(), state()]
    }

    async fn names(state: &State) -> Vec<String> {
        let groups = state.groups().await.expect("read");
        let names = groups.iter().map(|it| it.enrollment_group_id.to_string());
        names.collect()
    }

    #[tokio::test]
    async fn a_group_is_decoded_once_while_it_is_the_same() {
        let [state, _] = states();
        let put = state.put_enrollment(group("a"), None, &[]).await;
        let put = put.expect("created");
        let first = state.groups().await.expect("read");
        let second = state.groups().await.expect("read");
        let one = state.group("a").await.expect("read").expect("it is there");
        assert_eq!(*first[0].document(), put);
        assert!(Arc::ptr_eq(&first[0], &second[0]) && Arc::ptr_eq(&first[0], &one));
    }

    #[tokio::test]
    async fn changes_of_another_emulator_are_seen_at_once() {
        let [here, there] = states();
        for name in ["a", "b"] {
            let put = there.put_enrollment(group(name), None, &[]).await;
            put.expect("created");
        }
        assert_eq!(names(&here).await, ["a", "b"]);

        let changed = group("a");
        let put = there.put_enrollment(changed, Some(&IfMatch::Any), &[]);
        let put = put.await.expect("replaced");
        let one = here.group("a").await.expect("read").expect("it");
        assert_eq!(*one.document(), put);
        assert_eq!(*here.groups().await.expect("read")[0].document(), put);

        let deleted = there.delete_enrollment::<EnrollmentGroup>("a", None).await;
        deleted.expect("deleted");
        assert!(here.group("a").await.expect("read").is_none());
        assert_eq!(names(&here).await, ["b"]);
        let kept: Vec<String> = here.decoded_groups.lock().keys().cloned().collect();
        assert_eq!(kept, ["b"], "the keys of a deleted group are not kept");
    }

    #[tokio::test]
    async fn a_group_that_cannot_be_read_is_left_out() {
        let [state, _] = states();
        let put = state.put_enrollment(group("a"), None, &[]).await;
        put.expect("created");
        assert_eq!(names(&state).await, ["a"]);
        let damaged = b"{".to_vec();
        let put = state
            .store()
            .put(Table::Groups, "a", Expected::Anything, damaged);
        assert!(put.await.expect("written"));
        assert_eq!(names(&state).await, Vec::<String>::new());
        assert_eq!(state.group("a").await.expect_err("damaged").status(), 500);
    }
}
