//! The challenges that were made and may still be answered: in memory, the latest of each TPM under each name, so many and
//! for so long.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dps_types::sas::SasToken;
use dps_types::tpm::AuthenticationKey;
use dps_types::{OperationId, RegistrationId};

use super::{HmacKey, TpmKeys, TpmProof};
use crate::state::Record;

/// How long a challenge can be answered. A TPM takes seconds at most.
const LIFETIME: Duration = Duration::from_secs(10 * 60);
/// How many challenges are kept: anyone can ask for one, also under a name that nobody enrolled.
const CAPACITY: usize = 10_000;

/// The challenges that may still be answered. Their keys are wiped with them.
#[derive(Debug)]
pub(crate) struct Challenges {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// The oldest first.
    by_age: BTreeMap<u64, Challenge>,
    /// Where the challenges under a name are. There may be more than one: anyone can ask for one under any name, and must
    /// not take the device's own away with it.
    by_device: HashMap<String, Vec<u64>>,
    next: u64,
}

#[derive(Debug)]
struct Challenge {
    device: String,
    made: SystemTime,
    proof: TpmProof,
    /// The registration of a device that proved itself and has no enrollment. It is not worth a place in the store.
    failed: Option<Record>,
}

impl Default for Challenges {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl Challenges {
    fn with_capacity(capacity: usize) -> Self {
        Self {
            capacity,
            kept: Mutex::default(),
        }
    }

    /// Makes a challenge for a TPM: a new random key, wrapped. The TPM's one before is forgotten.
    pub(crate) fn make(
        &self,
        id: &RegistrationId,
        keys: TpmKeys,
        now: SystemTime,
    ) -> AuthenticationKey {
        let key = HmacKey::generate();
        let wrapped = keys.wrap(&key);
        let challenge = Challenge {
            device: id.to_lowercase(),
            made: now,
            proof: TpmProof { keys, key },
            failed: None,
        };
        let mut kept = self.kept();
        kept.forget(&challenge.device, &challenge.proof.keys);
        while kept.by_age.len() >= self.capacity && kept.forget_oldest() {}
        while kept.oldest().is_some_and(|oldest| oldest.is_over(now)) && kept.forget_oldest() {}
        kept.add(challenge);
        wrapped
    }

    /// Whether this TPM has a challenge to answer under this name.
    pub(crate) fn has(&self, id: &RegistrationId, keys: &TpmKeys, now: SystemTime) -> bool {
        let mut kept = self.kept();
        kept.find(id, now, |of| of.proof.keys == *keys).is_some()
    }

    /// The TPM whose challenge the token answers, unless it is too late.
    pub(crate) fn answered(
        &self,
        id: &RegistrationId,
        token: &SasToken,
        now: SystemTime,
    ) -> Option<TpmProof> {
        let mut kept = self.kept();
        let challenge = kept.find(id, now, |of| token.verify(&of.proof.key))?;
        Some(challenge.proof.clone())
    }

    /// Remembers what became of a device that is not enrolled, as long as its challenge.
    pub(crate) fn keep_failed(&self, record: Record, now: SystemTime) {
        let proof = record.proof.tpm();
        let is_answered = |of: &Challenge| Some(&of.proof) == proof;
        if let Some(challenge) = self.kept().find(&record.registration_id, now, is_answered) {
            challenge.failed = Some(record);
        }
    }

    /// What became of a device with this proof that is not enrolled.
    pub(crate) fn failed(
        &self,
        id: &RegistrationId,
        proof: &TpmProof,
        operation: &OperationId,
        now: SystemTime,
    ) -> Option<Record> {
        let mut kept = self.kept();
        let challenge = kept.find(id, now, |of| of.proof == *proof)?;
        let record = challenge.failed.as_ref();
        record
            .filter(|record| record.operation == *operation)
            .cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    /// The challenge under this name that is so, and not over.
    fn find(
        &mut self,
        id: &RegistrationId,
        now: SystemTime,
        is_so: impl Fn(&Challenge) -> bool,
    ) -> Option<&mut Challenge> {
        let ages = self.by_device.get(&id.to_lowercase())?;
        let is_it = |age: &u64| {
            let challenge = self.by_age.get(age);
            challenge.is_some_and(|of| !of.is_over(now) && is_so(of))
        };
        let age = ages.iter().copied().find(is_it)?;
        self.by_age.get_mut(&age)
    }

    fn oldest(&self) -> Option<&Challenge> {
        self.by_age.values().next()
    }

    fn add(&mut self, challenge: Challenge) {
        let age = self.next;
        self.next += 1;
        let ages = self.by_device.entry(challenge.device.clone());
        ages.or_default().push(age);
        self.by_age.insert(age, challenge);
    }

    fn forget(&mut self, device: &str, keys: &TpmKeys) {
        let is_it = |age: &u64| {
            let challenge = self.by_age.get(age);
            challenge.is_some_and(|of| of.proof.keys == *keys)
        };
        let ages = self.by_device.get(device);
        if let Some(age) = ages.and_then(|ages| ages.iter().copied().find(is_it)) {
            self.remove(age);
        }
    }

    /// Whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.by_age.keys().next().copied();
        oldest.is_some_and(|age| self.remove(age))
    }

    /// Whether it was there.
    fn remove(&mut self, age: u64) -> bool {
        let Some(challenge) = self.by_age.remove(&age) else {
            return false;
        };
        if let Some(ages) = self.by_device.get_mut(&challenge.device) {
            ages.retain(|other| *other != age);
            if ages.is_empty() {
                self.by_device.remove(&challenge.device);
            }
        }
        true
    }
}

impl Challenge {
    fn is_over(&self, now: SystemTime) -> bool {
        now.duration_since(self.made).unwrap_or_default() >= LIFETIME
    }
}

#[cfg(test)]
mod tests {
    use dps_types::sas::SasTokenBuilder;

    use super::super::wrap::tests::{other_tpm_keys, tpm_keys};
    use super::*;

    fn id(text: &str) -> RegistrationId {
        text.parse().expect("an id")
    }

    /// The key of the latest challenge.
    fn latest(challenges: &Challenges) -> HmacKey {
        let kept = challenges.kept();
        let (_, latest) = kept.by_age.last_key_value().expect("a challenge");
        latest.proof.key.clone()
    }

    #[test]
    fn so_many_are_kept_and_the_oldest_goes_first() {
        let challenges = Challenges::with_capacity(3);
        let now = SystemTime::now();
        let pending =
            || ["a", "b", "c", "d"].map(|device| challenges.has(&id(device), &tpm_keys(), now));
        for device in ["a", "b", "c"] {
            challenges.make(&id(device), tpm_keys(), now);
        }
        challenges.make(&id("A"), tpm_keys(), now);
        assert_eq!(pending(), [true, true, true, false], "an id has no case");
        challenges.make(&id("d"), tpm_keys(), now);
        assert_eq!(pending(), [true, false, true, true]);
        assert_eq!(challenges.kept().by_device.len(), 3);
    }

    #[test]
    fn each_is_kept_for_ten_minutes_and_then_wiped() {
        let challenges = Challenges::default();
        let made = SystemTime::now();
        challenges.make(&id("a"), tpm_keys(), made);
        let (early, late) = (
            made + LIFETIME - Duration::from_secs(1),
            made + Duration::from_secs(600),
        );
        assert!(challenges.has(&id("a"), &tpm_keys(), early));
        assert!(!challenges.has(&id("a"), &tpm_keys(), late));
        challenges.make(&id("b"), tpm_keys(), late);
        assert_eq!(challenges.kept().by_age.len(), 1);
        assert_eq!(challenges.kept().by_device.len(), 1);
    }

    #[test]
    fn each_tpm_has_its_own_under_one_name_and_the_latest_counts() {
        let challenges = Challenges::default();
        let now = SystemTime::now();
        let make = |keys: TpmKeys| {
            let wrapped = challenges.make(&id("a"), keys, now);
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
        let mine = answered(&second.1).expect("it stands");
        assert_eq!((mine.keys, mine.key), (tpm_keys(), second.1));
        assert_eq!(answered(&other).map(|of| of.keys), Some(other_tpm_keys()));
        assert_eq!(challenges.kept().by_age.len(), 2);
    }
}
