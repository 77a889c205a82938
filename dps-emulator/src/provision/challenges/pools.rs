//! The challenges that this emulator made, limited in number and time.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::time::SystemTime;

use dps_types::RegistrationId;

use super::{LIFETIME, PER_ENDORSEMENT_KEY};
use crate::attest::tpm::{TpmKeys, TpmProof};
use crate::state::Record;

#[derive(Debug)]
pub(super) struct Pools {
    pub(super) enrolled: Pool,
    pub(super) others: Pool,
}

#[derive(Debug, Default)]
pub(super) struct Pool {
    pub(super) capacity: usize,
    /// The most challenges for one network address.
    pub(super) per_source: usize,
    /// The oldest first.
    pub(super) by_age: BTreeMap<u64, Challenge>,
    /// The ages of the challenges under each registration id, in lower case.
    pub(super) by_device: HashMap<String, Vec<u64>>,
    /// The ages of the challenges for each endorsement key.
    pub(super) by_endorsement_key: HashMap<Vec<u8>, Vec<u64>>,
    /// The ages of the challenges for each network address.
    pub(super) by_source: HashMap<IpAddr, Vec<u64>>,
    pub(super) next: u64,
    /// The devices and proofs of the challenges that were removed and are not yet removed from the store.
    pub(super) removed: Vec<(String, TpmProof)>,
}

#[derive(Debug)]
pub(super) struct Challenge {
    /// The registration id in lower case.
    pub(super) device: String,
    pub(super) source: IpAddr,
    pub(super) made: SystemTime,
    pub(super) proof: TpmProof,
    /// The registration of a device that answered and has no enrollment. It is not written to the store.
    pub(super) failed: Option<Record>,
}

impl Pools {
    pub(super) fn both(&mut self) -> [&mut Pool; 2] {
        [&mut self.enrolled, &mut self.others]
    }

    /// Returns the open challenge under this registration id that matches.
    pub(super) fn find(
        &mut self,
        id: &RegistrationId,
        now: SystemTime,
        matches: impl Fn(&Challenge) -> bool,
    ) -> Option<&mut Challenge> {
        let device = id.to_lowercase();
        let mut pools = self.both().into_iter();
        pools.find_map(|pool| pool.find(&device, now, &matches))
    }
}

impl Pool {
    pub(super) fn find(
        &mut self,
        device: &str,
        now: SystemTime,
        matches: impl Fn(&Challenge) -> bool,
    ) -> Option<&mut Challenge> {
        let ages = self.by_device.get(device)?;
        let is_match = |age: &u64| {
            let challenge = self.by_age.get(age);
            challenge.is_some_and(|of| !of.has_expired(now) && matches(of))
        };
        let age = ages.iter().copied().find(is_match)?;
        self.by_age.get_mut(&age)
    }

    /// Adds a challenge. At a limit the oldest ones are removed: those of the same endorsement key, then those of the same
    /// network address, then any.
    pub(super) fn add(&mut self, challenge: Challenge, now: SystemTime) {
        let endorsement_key = challenge.endorsement_key();
        let oldest_at = |ages: Option<&Vec<u64>>, limit| {
            let ages = ages.filter(|ages| ages.len() >= limit);
            ages.and_then(|ages| ages.first().copied())
        };
        let same_key = self.by_endorsement_key.get(&endorsement_key);
        if let Some(oldest) = oldest_at(same_key, PER_ENDORSEMENT_KEY) {
            self.remove(oldest);
        }
        let same_source = self.by_source.get(&challenge.source);
        if let Some(oldest) = oldest_at(same_source, self.per_source) {
            self.remove(oldest);
        }
        while self.by_age.len() >= self.capacity && self.remove_oldest() {}
        while self.oldest().is_some_and(|oldest| oldest.has_expired(now)) && self.remove_oldest() {}
        let age = self.next;
        self.next += 1;
        let device = challenge.device.clone();
        self.by_device.entry(device).or_default().push(age);
        let same_key = self.by_endorsement_key.entry(endorsement_key);
        same_key.or_default().push(age);
        let same_source = self.by_source.entry(challenge.source);
        same_source.or_default().push(age);
        self.by_age.insert(age, challenge);
    }

    fn oldest(&self) -> Option<&Challenge> {
        self.by_age.values().next()
    }

    pub(super) fn forget(&mut self, device: &str, keys: &TpmKeys) {
        let is_match = |age: &u64| {
            let challenge = self.by_age.get(age);
            challenge.is_some_and(|of| of.proof.keys == *keys)
        };
        let ages = self.by_device.get(device);
        if let Some(age) = ages.and_then(|ages| ages.iter().copied().find(is_match)) {
            self.remove(age);
        }
    }

    /// Returns true if there was one.
    fn remove_oldest(&mut self) -> bool {
        let oldest = self.by_age.keys().next().copied();
        oldest.is_some_and(|age| self.remove(age))
    }

    /// Returns true if it was there.
    fn remove(&mut self, age: u64) -> bool {
        let Some(challenge) = self.by_age.remove(&age) else {
            return false;
        };
        remove_age(&mut self.by_device, &challenge.device, age);
        let endorsement_key = challenge.endorsement_key();
        remove_age(&mut self.by_endorsement_key, &endorsement_key, age);
        remove_age(&mut self.by_source, &challenge.source, age);
        self.removed.push((challenge.device, challenge.proof));
        true
    }
}

impl Challenge {
    fn has_expired(&self, now: SystemTime) -> bool {
        now.duration_since(self.made).unwrap_or_default() >= LIFETIME
    }

    fn endorsement_key(&self) -> Vec<u8> {
        self.proof.keys.endorsement_key().as_bytes().to_vec()
    }
}

/// An address, or for IPv6 its network of 64 bits, in which one client may have every address.
pub(super) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()
        }
        address => address,
    }
}

/// Removes an age from an index, and the entry with its last one.
fn remove_age<K, Q>(index: &mut HashMap<K, Vec<u64>>, key: &Q, age: u64)
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ?Sized,
{
    if let Some(ages) = index.get_mut(key) {
        ages.retain(|other| *other != age);
        if ages.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_network_count_as_one() {
        for (address, expected) in [
            ("192.0.2.7", "192.0.2.7"),
            ("::ffff:192.0.2.7", "192.0.2.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ] {
            let network = network(address.parse().expect(address));
            assert_eq!(network.to_string(), expected);
        }
    }
}
