//! The replicas that live, by their heartbeats.
//!
//! A replica is dead if several observations in a row find the same heartbeat. No times of two machines are compared, so clocks may
//! differ. While the store cannot be read there are no observations, so an interruption of the store makes no replica dead.

use std::collections::{HashMap, HashSet};

/// The heartbeats that one observer has seen.
#[derive(Debug)]
pub(crate) struct Living {
    /// The number of observations without a change after which a replica is dead.
    limit: u32,
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    heartbeat: Vec<u8>,
    /// The number of observations since the heartbeat changed.
    unchanged: u32,
}

impl Living {
    pub(super) fn new(limit: u32) -> Self {
        Self {
            limit,
            seen: HashMap::new(),
        }
    }

    /// Records the current heartbeats. Returns the dead replicas with their last heartbeats.
    pub(crate) fn observe(&mut self, heartbeats: Vec<(String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
        let present: HashSet<&String> = heartbeats.iter().map(|(id, _)| id).collect();
        self.seen.retain(|id, _| present.contains(id));
        for (id, heartbeat) in heartbeats {
            match self.seen.get_mut(&id) {
                Some(seen) if seen.heartbeat == heartbeat => {
                    seen.unchanged = seen.unchanged.saturating_add(1);
                }
                _ => {
                    let seen = Seen {
                        heartbeat,
                        unchanged: 0,
                    };
                    self.seen.insert(id, seen);
                }
            }
        }
        let dead = self.seen.iter();
        let dead = dead.filter(|(_, seen)| seen.unchanged >= self.limit);
        dead.map(|(id, seen)| (id.clone(), seen.heartbeat.clone()))
            .collect()
    }

    /// Whether the replica had a recent heartbeat at the last observation.
    pub(crate) fn includes(&self, id: &str) -> bool {
        let seen = self.seen.get(id);
        seen.is_some_and(|seen| seen.unchanged < self.limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(id: &str, beat: &str) -> (String, Vec<u8>) {
        (id.to_owned(), beat.as_bytes().to_vec())
    }

    #[test]
    fn a_replica_is_dead_when_its_heartbeat_has_not_changed_for_several_observations() {
        let mut living = Living::new(2);
        assert_eq!(living.observe(vec![beat("a", "1"), beat("b", "1")]), []);
        assert_eq!(living.observe(vec![beat("a", "2"), beat("b", "1")]), []);
        assert!(living.includes("b"));
        let dead = living.observe(vec![beat("a", "2"), beat("b", "1")]);
        assert_eq!(dead, [beat("b", "1")]);
        assert!(living.includes("a") && !living.includes("b"));
        // A heartbeat of a slow replica, of any value, counts.
        assert_eq!(living.observe(vec![beat("a", "3"), beat("b", "0")]), []);
        assert!(living.includes("b"));
    }

    #[test]
    fn a_replica_without_a_heartbeat_is_not_living() {
        let mut living = Living::new(2);
        living.observe(vec![beat("a", "1")]);
        assert!(!living.includes("other"));
        assert_eq!(living.observe(Vec::new()), []);
        assert!(!living.includes("a"));
    }
}
