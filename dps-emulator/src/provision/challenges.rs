//! The open challenges of TPMs, in memory: the latest of each TPM under each registration id, limited in number and time.
//!
//! Anyone can ask for a challenge, also under the registration id of another device. Challenges for enrolled TPMs are
//! therefore kept apart from all others, and one endorsement key and one network address have a limited number of them:
//! requests of a stranger do not remove the challenge of another device.

use std::collections::{BTreeMap, HashMap};
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
    /// The most challenges for one network address.
    per_source: usize,
    /// The oldest first.
    by_age: BTreeMap<u64, Challenge>,
    /// The ages of the challenges under each registration id, in lower case.
    by_device: HashMap<String, Vec<u64>>,
    /// The ages of the challenges for each endorsement key.
    by_endorsement_key: HashMap<Vec<u8>, Vec<u64>>,
    /// The ages of the challenges for each network address.
    by_source: HashMap<IpAddr, Vec<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Challenge {
    /// The registration id in lower case.
    device: String,
    source: IpAddr,
    made: SystemTime,
    proof: TpmProof,
    /// The registration of a device that answered and has no enrollment. It is not written to the store.
    failed: Option<Record>,
}

impl Challenges {
    /// `per_source` is the most challenges for one network address in each of the two pools.
    pub(crate) fn new(per_source: usize) -> Self {
        Self::with_limits(CAPACITY, per_source.max(1))
    }

    fn with_limits(capacity: usize, per_source: usize) -> Self {
        let pool = || Pool {
            capacity,
            per_source,
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
        is_enrolled: bool,
        source: IpAddr,
        now: SystemTime,
    ) -> AuthenticationKey {
        let key = HmacKey::generate();
        let wrapped = keys.wrap(&key);
        let challenge = Challenge {
            device: id.to_lowercase(),
            source: network(source),
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
            challenge.is_some_and(|of| !of.has_expired(now) && matches(of))
        };
        let age = ages.iter().copied().find(is_match)?;
        self.by_age.get_mut(&age)
    }

    /// Adds a challenge. At a limit the oldest ones are removed: those of the same endorsement key, then those of the same
    /// network address, then any.
    fn add(&mut self, challenge: Challenge, now: SystemTime) {
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
        remove_age(&mut self.by_source, &challenge.source, age);
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
fn network(address: IpAddr) -> IpAddr {
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
    use std::net::Ipv4Addr;

    use dps_types::sas::SasTokenBuilder;

    use super::*;
    use crate::attest::tpm::wrap::tests::{other_tpm_keys, tpm_keys, tpm_keys_number};

    const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

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
        let challenges = Challenges::with_limits(3, 3);
        let now = SystemTime::now();
        let open =
            || ["a", "b", "c", "d"].map(|device| challenges.has(&id(device), &tpm_keys(), now));
        for device in ["a", "b", "c"] {
            challenges.make(&id(device), tpm_keys(), false, SOURCE, now);
        }
        challenges.make(&id("A"), tpm_keys(), false, SOURCE, now);
        assert_eq!(open(), [true, true, true, false], "case does not matter");
        challenges.make(&id("d"), tpm_keys(), false, SOURCE, now);
        assert_eq!(open(), [true, false, true, true]);
        assert_eq!(challenges.pools().others.by_device.len(), 3);
    }

    #[test]
    fn a_client_without_enrollment_does_not_remove_the_challenge_of_an_enrolled_device() {
        let challenges = Challenges::with_limits(3, 3);
        let now = SystemTime::now();
        challenges.make(&id("device"), tpm_keys(), true, SOURCE, now);
        for number in 0..100 {
            let device = id(&format!("stranger-{number}"));
            challenges.make(&device, tpm_keys_number(number), false, SOURCE, now);
            challenges.make(&id("device"), tpm_keys_number(number), false, SOURCE, now);
        }
        assert!(challenges.has(&id("device"), &tpm_keys(), now));
        assert_eq!(challenges.pools().others.by_age.len(), 3);
    }

    #[test]
    fn one_endorsement_key_has_a_few_challenges_at_most() {
        let challenges = Challenges::with_limits(1000, 1000);
        let now = SystemTime::now();
        challenges.make(&id("other"), tpm_keys_number(7), false, SOURCE, now);
        for number in 0..100 {
            let device = id(&format!("device-{number}"));
            challenges.make(&device, tpm_keys(), false, SOURCE, now);
        }
        let pools = challenges.pools();
        assert_eq!(pools.others.by_age.len(), PER_ENDORSEMENT_KEY + 1);
        assert_eq!(pools.others.by_device.len(), PER_ENDORSEMENT_KEY + 1);
        assert_eq!(pools.others.by_endorsement_key.len(), 2);
    }

    #[test]
    fn one_network_address_does_not_remove_the_challenges_of_another() {
        let challenges = Challenges::with_limits(20, 4);
        let now = SystemTime::now();
        let other: IpAddr = "2001:db8:1::1".parse().expect("an address");
        challenges.make(&id("other"), tpm_keys(), false, other, now);
        for number in 0..100 {
            // Each address of one IPv6 network, and as many keys as a stranger likes.
            let source = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, number).into();
            let keys = tpm_keys_number(number);
            challenges.make(&id(&format!("stranger-{number}")), keys, false, source, now);
        }
        assert!(challenges.has(&id("other"), &tpm_keys(), now));
        let pools = challenges.pools();
        assert_eq!(pools.others.by_age.len(), 5);
        assert_eq!(pools.others.by_source.len(), 2);
    }

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

    #[test]
    fn each_is_open_for_ten_minutes_and_then_wiped() {
        let challenges = Challenges::new(1000);
        let made = SystemTime::now();
        challenges.make(&id("a"), tpm_keys(), false, SOURCE, made);
        let (early, late) = (
            made + LIFETIME - Duration::from_secs(1),
            made + Duration::from_secs(600),
        );
        assert!(challenges.has(&id("a"), &tpm_keys(), early));
        assert!(!challenges.has(&id("a"), &tpm_keys(), late));
        challenges.make(&id("b"), tpm_keys(), false, SOURCE, late);
        assert_eq!(challenges.pools().others.by_age.len(), 1);
        assert_eq!(challenges.pools().others.by_device.len(), 1);
    }

    #[test]
    fn each_tpm_has_its_own_challenge_under_one_id_and_the_latest_counts() {
        let challenges = Challenges::new(1000);
        let now = SystemTime::now();
        let make = |keys: TpmKeys| {
            let wrapped = challenges.make(&id("a"), keys, false, SOURCE, now);
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
