//! The challenges that were made and may still be answered: in memory, the latest of each device, so many and for so long.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dps_types::tpm::AuthenticationKey;
use dps_types::{OperationId, RegistrationId};

use super::{HmacKey, TpmKeys, TpmProof};
use crate::registry::Record;

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
    /// Where the challenge of a device is.
    by_device: HashMap<String, u64>,
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

    /// Makes a challenge for a TPM: a new random key, wrapped. The one before is forgotten.
    pub(crate) fn make(
        &self,
        id: &RegistrationId,
        keys: TpmKeys,
        now: SystemTime,
    ) -> AuthenticationKey {
        let key = HmacKey::generate();
        let wrapped = keys.wrap(&key);
        let challenge = Challenge {
            device: id.to_key(),
            made: now,
            proof: TpmProof { keys, key },
            failed: None,
        };
        let mut kept = self.kept();
        kept.forget(&challenge.device);
        while kept.by_age.len() >= self.capacity && kept.forget_oldest() {}
        while kept.oldest().is_some_and(|oldest| oldest.is_over(now)) && kept.forget_oldest() {}
        kept.add(challenge);
        wrapped
    }

    /// The key that the device was challenged with, unless it is too late.
    pub(crate) fn pending(&self, id: &RegistrationId, now: SystemTime) -> Option<TpmProof> {
        let mut kept = self.kept();
        let challenge = kept.of(id, now)?;
        Some(challenge.proof.clone())
    }

    /// Remembers what became of a device that is not enrolled, as long as its challenge.
    pub(crate) fn keep_failed(&self, record: Record, now: SystemTime) {
        if let Some(challenge) = self.kept().of(&record.registration_id, now) {
            challenge.failed = Some(record);
        }
    }

    /// What became of a device that is not enrolled.
    pub(crate) fn failed(
        &self,
        id: &RegistrationId,
        operation: &OperationId,
        now: SystemTime,
    ) -> Option<Record> {
        let mut kept = self.kept();
        let record = kept.of(id, now)?.failed.as_ref();
        record
            .filter(|record| record.operation == *operation)
            .cloned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn of(&mut self, id: &RegistrationId, now: SystemTime) -> Option<&mut Challenge> {
        let age = self.by_device.get(&id.to_key())?;
        let challenge = self.by_age.get_mut(age)?;
        (!challenge.is_over(now)).then_some(challenge)
    }

    fn oldest(&self) -> Option<&Challenge> {
        self.by_age.values().next()
    }

    fn add(&mut self, challenge: Challenge) {
        let age = self.next;
        self.next += 1;
        self.by_device.insert(challenge.device.clone(), age);
        self.by_age.insert(age, challenge);
    }

    fn forget(&mut self, device: &str) {
        if let Some(age) = self.by_device.remove(device) {
            self.by_age.remove(&age);
        }
    }

    /// Whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let oldest = self.by_age.pop_first();
        if let Some((_, challenge)) = &oldest {
            self.by_device.remove(&challenge.device);
        }
        oldest.is_some()
    }
}

impl Challenge {
    fn is_over(&self, now: SystemTime) -> bool {
        now.duration_since(self.made).unwrap_or_default() >= LIFETIME
    }
}

#[cfg(test)]
mod tests {
    use super::super::wrap::tests::tpm_keys;
    use super::*;

    fn id(text: &str) -> RegistrationId {
        text.parse().expect("an id")
    }

    #[test]
    fn so_many_are_kept_and_the_oldest_goes_first() {
        let challenges = Challenges::with_capacity(3);
        let now = SystemTime::now();
        let pending =
            || ["a", "b", "c", "d"].map(|device| challenges.pending(&id(device), now).is_some());
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
        assert!(challenges.pending(&id("a"), early).is_some());
        assert!(challenges.pending(&id("a"), late).is_none());
        challenges.make(&id("b"), tpm_keys(), late);
        assert_eq!(challenges.kept().by_age.len(), 1);
    }

    #[test]
    fn a_new_challenge_has_a_new_key() {
        let challenges = Challenges::default();
        let now = SystemTime::now();
        let key = |wrapped: AuthenticationKey| {
            (
                wrapped.to_base64(),
                challenges.pending(&id("a"), now).expect("pending").key,
            )
        };
        let one = key(challenges.make(&id("a"), tpm_keys(), now));
        let other = key(challenges.make(&id("a"), tpm_keys(), now));
        assert!(one.0 != other.0 && one.1 != other.1);
    }
}
