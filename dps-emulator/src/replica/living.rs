//! Which replicas live, by their heartbeats.
//!
//! A replica is dead if its heartbeat has not changed for some time on the observer's own monotonic clock. No times of two
//! machines are compared, so clocks may differ.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

/// The heartbeats that one observer has seen.
#[derive(Debug)]
pub(crate) struct Living {
    timeout: Duration,
    seen: HashMap<String, Seen>,
}

#[derive(Debug)]
struct Seen {
    heartbeat: Vec<u8>,
    /// When the heartbeat changed last.
    since: Instant,
}

impl Living {
    pub(super) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            seen: HashMap::new(),
        }
    }

    /// Takes note of the current heartbeats. Returns the dead replicas with their last heartbeats.
    pub(crate) fn observe(
        &mut self,
        heartbeats: Vec<(String, Vec<u8>)>,
        now: Instant,
    ) -> Vec<(String, Vec<u8>)> {
        let present: HashSet<&String> = heartbeats.iter().map(|(id, _)| id).collect();
        self.seen.retain(|id, _| present.contains(id));
        for (id, heartbeat) in heartbeats {
            let is_known = self
                .seen
                .get(&id)
                .is_some_and(|seen| seen.heartbeat == heartbeat);
            if !is_known {
                let since = now;
                self.seen.insert(id, Seen { heartbeat, since });
            }
        }
        let dead = self.seen.iter();
        let dead = dead.filter(|(_, seen)| now.duration_since(seen.since) >= self.timeout);
        dead.map(|(id, seen)| (id.clone(), seen.heartbeat.clone()))
            .collect()
    }

    /// Whether the replica had a recent heartbeat at the last observation.
    pub(crate) fn includes(&self, id: &str, now: Instant) -> bool {
        let seen = self.seen.get(id);
        seen.is_some_and(|seen| now.duration_since(seen.since) < self.timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn beat(id: &str, beat: &str) -> (String, Vec<u8>) {
        (id.to_owned(), beat.as_bytes().to_vec())
    }

    #[test]
    fn a_replica_is_dead_when_its_heartbeat_has_not_changed_for_the_time_limit() {
        let mut living = Living::new(Duration::from_secs(10));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(
            living.observe(vec![beat("a", "1"), beat("b", "1")], at(0)),
            []
        );
        assert_eq!(
            living.observe(vec![beat("a", "2"), beat("b", "1")], at(9)),
            []
        );
        assert!(living.includes("b", at(9)));
        let dead = living.observe(vec![beat("a", "2"), beat("b", "1")], at(10));
        assert_eq!(dead, [beat("b", "1")]);
        assert!(living.includes("a", at(10)) && !living.includes("b", at(10)));
        // A heartbeat of a slow replica, of any value, counts.
        assert_eq!(
            living.observe(vec![beat("a", "3"), beat("b", "0")], at(11)),
            []
        );
        assert!(living.includes("b", at(11)));
    }

    #[test]
    fn a_replica_without_a_heartbeat_is_not_living() {
        let mut living = Living::new(Duration::from_secs(10));
        let start = Instant::now();
        living.observe(vec![beat("a", "1")], start);
        assert!(!living.includes("other", start));
        assert_eq!(living.observe(Vec::new(), start), []);
        assert!(!living.includes("a", start));
    }
}
