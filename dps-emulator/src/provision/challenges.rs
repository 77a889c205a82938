//! The open challenges of TPMs, in memory: the latest of each TPM under each registration id, limited in number and time.
//!
//! Anyone can ask for a challenge, also under the registration id of another device. Challenges for enrolled TPMs are
//! therefore kept apart from all others, one endorsement key has a few challenges at most, and the number of one client address
//! is limited: requests of a stranger do not remove the challenge of another device.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dps_types::sas::SasToken;
use dps_types::tpm::AuthenticationKey;
use dps_types::{OperationId, RegistrationId};

use crate::attest::tpm::{HmacKey, TpmKeys, TpmProof};
use crate::state::Record;

/// How long a challenge can be answered. A TPM takes seconds.
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// The most challenges of enrolled TPMs, and the most of all others.
const CAPACITY: usize = 10_000;
/// The most challenges for one endorsement key in each of the two. A TPM has one storage root key, and so one challenge
/// under each registration id.
const PER_ENDORSEMENT_KEY: usize = 16;

/// The challenges that may still be answered. Their keys are wiped with them.
#[derive(Debug)]
pub(crate) struct Challenges {
    pools: Mutex<Pools>,
}

#[derive(Debug)]
struct Pools {
    enrolled: Pool,
    others: Pool,
}

#[derive(Debug, Default)]
struct Pool {
    capacity: usize,
    per_address: usize,
    /// The oldest first.
    by_age: BTreeMap<u64, Challenge>,
    /// The ages of the challenges under each registration id, in lower case.
    by_device: HashMap<String, VecDeque<u64>>,
    /// The ages of the challenges for each endorsement key.
    by_endorsement_key: HashMap<Vec<u8>, VecDeque<u64>>,
    /// The ages of the challenges that each client address asked for.
    by_address: HashMap<IpAddr, VecDeque<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Challenge {
    /// The registration id in lower case.
    device: String,
    /// The address that asked, or its network.
    address: IpAddr,
    made: SystemTime,
    proof: TpmProof,
    /// The registration of a device that answered and has no enrollment. It is not written to the store.
    failed: Option<Record>,
}

impl Challenges {
    /// `per_address` is the most challenges of one client address in each of the two pools.
    pub(crate) fn new(per_address: u64) -> Self {
        let per_address = usize::try_from(per_address).unwrap_or(usize::MAX);
        Self::with_capacity(CAPACITY, per_address.max(1))
    }

    fn with_capacity(capacity: usize, per_address: usize) -> Self {
        let pool = || Pool {
            capacity,
            per_address,
            ..Pool::default()
        };
        Self {
            pools: Mutex::new(Pools {
                enrolled: pool(),
                others: pool(),
            }),
        }
    }

    /// Makes a challenge for a TPM: a new random key, wrapped. It replaces the TPM's previous challenge.
    pub(crate) fn make(
        &self,
        id: &RegistrationId,
        keys: TpmKeys,
        address: IpAddr,
        is_enrolled: bool,
        now: SystemTime,
    ) -> AuthenticationKey {
        let key = HmacKey::generate();
        let wrapped = keys.wrap(&key);
        let challenge = Challenge {
            device: id.to_lowercase(),
            address: network(address),
            made: now,
            proof: TpmProof { keys, key },
            failed: None,
        };
        let mut pools = self.pools();
        for pool in pools.both() {
            pool.forget(&challenge.device, &challenge.proof.keys);
        }
        match is_enrolled {
            true => pools.enrolled.add(challenge, now),
            false => pools.others.add(challenge, now),
        }
        wrapped
    }

    /// Returns true if this TPM has an open challenge under this registration id.
    pub(crate) fn has(&self, id: &RegistrationId, keys: &TpmKeys, now: SystemTime) -> bool {
        let mut pools = self.pools();
        pools.find(id, now, |of| of.proof.keys == *keys).is_some()
    }

    /// Returns the TPM whose open challenge the token answers.
    pub(crate) fn answered(
        &self,
        id: &RegistrationId,
        token: &SasToken,
        now: SystemTime,
    ) -> Option<TpmProof> {
        let mut pools = self.pools();
        let challenge = pools.find(id, now, |of| token.verify(&of.proof.key))?;
        Some(challenge.proof.clone())
    }

    /// Keeps the failed registration of a device without an enrollment for as long as its challenge.
    pub(crate) fn keep_failed(&self, record: Record, now: SystemTime) {
        let proof = record.proof.tpm();
        let is_answered = |of: &Challenge| Some(&of.proof) == proof;
        if let Some(challenge) = self.pools().find(&record.registration_id, now, is_answered) {
            challenge.failed = Some(record);
        }
    }

    /// Returns the failed registration of a device with this proof and without an enrollment.
    pub(crate) fn failed(
        &self,
        id: &RegistrationId,
        proof: &TpmProof,
        operation: &OperationId,
        now: SystemTime,
    ) -> Option<Record> {
        let mut pools = self.pools();
        let challenge = pools.find(id, now, |of| of.proof == *proof)?;
        let record = challenge.failed.as_ref();
        record
            .filter(|record| record.operation == *operation)
            .cloned()
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pools {
    fn both(&mut self) -> [&mut Pool; 2] {
        [&mut self.enrolled, &mut self.others]
    }

    /// Returns the open challenge under this registration id that matches.
    fn find(
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
    fn find(
        &mut self,
        device: &str,
        now: SystemTime,
        matches: impl Fn(&Challenge) -> bool,
    ) -> Option<&mut Challenge> {
        let ages = self.by_device.get(device)?;
        let is_match = |age: &u64| {
            let challenge = self.by_age.get(age);
            challenge.is_some_and(|of| !of.is_over(now) && matches(of))
        };
        let age = ages.iter().copied().find(is_match)?;
        self.by_age.get_mut(&age)
    }

    /// Adds a challenge. At the limit the oldest ones are removed, first those of the same endorsement key or address.
    fn add(&mut self, challenge: Challenge, now: SystemTime) {
        let endorsement_key = challenge.endorsement_key();
        let same_key = self.by_endorsement_key.get(&endorsement_key);
        if let Some(age) = oldest_at_limit(same_key, PER_ENDORSEMENT_KEY) {
            self.remove(age);
        }
        let same_address = self.by_address.get(&challenge.address);
        if let Some(age) = oldest_at_limit(same_address, self.per_address) {
            self.remove(age);
        }
        while self.by_age.len() >= self.capacity && self.remove_oldest() {}
        while self.oldest().is_some_and(|oldest| oldest.is_over(now)) && self.remove_oldest() {}
        let age = self.next;
        self.next += 1;
        let device = challenge.device.clone();
        self.by_device.entry(device).or_default().push_back(age);
        let same_key = self.by_endorsement_key.entry(endorsement_key);
        same_key.or_default().push_back(age);
        let same_address = self.by_address.entry(challenge.address);
        same_address.or_default().push_back(age);
        self.by_age.insert(age, challenge);
    }

    fn oldest(&self) -> Option<&Challenge> {
        self.by_age.values().next()
    }

    fn forget(&mut self, device: &str, keys: &TpmKeys) {
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
        remove_age(&mut self.by_address, &challenge.address, age);
        true
    }
}

impl Challenge {
    fn is_over(&self, now: SystemTime) -> bool {
        now.duration_since(self.made).unwrap_or_default() >= LIFETIME
    }

    fn endorsement_key(&self) -> Vec<u8> {
        self.proof.keys.endorsement_key().as_bytes().to_vec()
    }
}

/// What counts as one client address. A client with IPv6 usually has a whole /64 network.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

/// The first of these ages if there are as many as allowed.
fn oldest_at_limit(ages: Option<&VecDeque<u64>>, limit: usize) -> Option<u64> {
    ages.filter(|ages| ages.len() >= limit)?.front().copied()
}

/// Removes an age from an index, and the entry with its last one.
fn remove_age<K, Q>(index: &mut HashMap<K, VecDeque<u64>>, key: &Q, age: u64)
where
    K: std::hash::Hash + Eq + std::borrow::Borrow<Q>,
    Q: std::hash::Hash + Eq + ?Sized,
{
    if let Some(ages) = index.get_mut(key) {
        if let Ok(place) = ages.binary_search(&age) {
            ages.remove(place);
        }
        if ages.is_empty() {
            index.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use dps_types::sas::SasTokenBuilder;

    use super::*;
    use crate::attest::tpm::wrap::tests::{other_tpm_keys, tpm_keys, tpm_keys_number};

    const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn id(text: &str) -> RegistrationId {
        text.parse().expect("an id")
    }

    /// The key of the latest challenge for a device that is not enrolled.
    fn latest(challenges: &Challenges) -> HmacKey {
        let pools = challenges.pools();
        let (_, latest) = pools.others.by_age.last_key_value().expect("a challenge");
        latest.proof.key.clone()
    }

    #[test]
    fn the_number_is_limited_and_the_oldest_is_removed_first() {
        let challenges = Challenges::with_capacity(3, 100);
        let now = SystemTime::now();
        let open =
            || ["a", "b", "c", "d"].map(|device| challenges.has(&id(device), &tpm_keys(), now));
        for device in ["a", "b", "c"] {
            challenges.make(&id(device), tpm_keys(), CLIENT, false, now);
        }
        challenges.make(&id("A"), tpm_keys(), CLIENT, false, now);
        assert_eq!(open(), [true, true, true, false], "case does not matter");
        challenges.make(&id("d"), tpm_keys(), CLIENT, false, now);
        assert_eq!(open(), [true, false, true, true]);
        assert_eq!(challenges.pools().others.by_device.len(), 3);
    }

    #[test]
    fn a_stranger_does_not_remove_the_challenge_of_an_enrolled_device() {
        let challenges = Challenges::with_capacity(3, 100);
        let now = SystemTime::now();
        challenges.make(&id("device"), tpm_keys(), CLIENT, true, now);
        for number in 0..100 {
            let device = id(&format!("stranger-{number}"));
            challenges.make(&device, tpm_keys_number(number), CLIENT, false, now);
            challenges.make(&id("device"), tpm_keys_number(number), CLIENT, false, now);
        }
        assert!(challenges.has(&id("device"), &tpm_keys(), now));
        assert_eq!(challenges.pools().others.by_age.len(), 3);
    }

    #[test]
    fn one_endorsement_key_has_a_few_challenges_at_most() {
        let challenges = Challenges::with_capacity(1000, 1000);
        let now = SystemTime::now();
        challenges.make(&id("other"), tpm_keys_number(7), CLIENT, false, now);
        for number in 0..100 {
            let device = id(&format!("device-{number}"));
            challenges.make(&device, tpm_keys(), CLIENT, false, now);
        }
        let pools = challenges.pools();
        assert_eq!(pools.others.by_age.len(), PER_ENDORSEMENT_KEY + 1);
        assert_eq!(pools.others.by_device.len(), PER_ENDORSEMENT_KEY + 1);
        assert_eq!(pools.others.by_endorsement_key.len(), 2);
    }

    #[test]
    fn one_address_does_not_remove_the_challenges_of_others() {
        let other: IpAddr = "192.0.2.1".parse().expect("an address");
        for is_enrolled in [false, true] {
            let challenges = Challenges::with_capacity(10, 3);
            let now = SystemTime::now();
            challenges.make(&id("mine"), tpm_keys(), other, is_enrolled, now);
            for number in 0..100 {
                let device = id(&format!("device-{number}"));
                challenges.make(&device, tpm_keys_number(number), CLIENT, is_enrolled, now);
            }
            assert!(challenges.has(&id("mine"), &tpm_keys(), now));
            let mut pools = challenges.pools();
            let numbers = pools
                .both()
                .map(|pool| (pool.by_age.len(), pool.by_address.len()));
            let (used, empty) = ((4, 2), (0, 0));
            assert_eq!(
                numbers,
                if is_enrolled {
                    [used, empty]
                } else {
                    [empty, used]
                }
            );
        }
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let network = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(network("2001:db8::1"), network("2001:db8::ffff:0:0:1"));
        assert_ne!(network("2001:db8::1"), network("2001:db8:0:1::1"));
        assert_eq!(network("::ffff:192.0.2.1"), network("192.0.2.1"));
        assert_ne!(network("192.0.2.1"), network("192.0.2.2"));
    }

    #[test]
    fn each_is_open_for_ten_minutes_and_then_wiped() {
        let challenges = Challenges::new(1000);
        let made = SystemTime::now();
        challenges.make(&id("a"), tpm_keys(), CLIENT, false, made);
        let (early, late) = (
            made + LIFETIME - Duration::from_secs(1),
            made + Duration::from_secs(600),
        );
        assert!(challenges.has(&id("a"), &tpm_keys(), early));
        assert!(!challenges.has(&id("a"), &tpm_keys(), late));
        challenges.make(&id("b"), tpm_keys(), CLIENT, false, late);
        assert_eq!(challenges.pools().others.by_age.len(), 1);
        assert_eq!(challenges.pools().others.by_device.len(), 1);
    }

    #[test]
    fn each_tpm_has_its_own_challenge_under_one_id_and_the_latest_counts() {
        let challenges = Challenges::new(1000);
        let now = SystemTime::now();
        let make = |keys: TpmKeys| {
            let wrapped = challenges.make(&id("a"), keys, CLIENT, false, now);
            (wrapped.to_base64(), latest(&challenges))
        };
        let answered = |key: &HmacKey| {
            let token = SasTokenBuilder::new("0ne00000001/registrations/a", 1).sign_with(key);
            challenges.answered(&id("a"), &token, now)
        };
        let (first, second) = (make(tpm_keys()), make(tpm_keys()));
        assert!(first.0 != second.0 && first.1 != second.1, "a new key");
        let (_, other) = make(other_tpm_keys());

        assert!(answered(&first.1).is_none());
        let mine = answered(&second.1).expect("it is open");
        assert_eq!((mine.keys, mine.key), (tpm_keys(), second.1));
        assert_eq!(answered(&other).map(|of| of.keys), Some(other_tpm_keys()));
        assert_eq!(challenges.pools().others.by_age.len(), 2);
    }
}
