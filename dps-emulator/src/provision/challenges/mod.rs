//! The open challenges of TPMs: the latest of each TPM under each registration id, limited in number and time. They are in memory,
//! and if other emulators share the store, in the store too: a device may answer at another emulator.
//!
//! Anyone can ask for a challenge, also under the registration id of another device. Challenges for enrolled TPMs are
//! therefore kept apart from all others, and one endorsement key and one network address have a limited number of them:
//! requests of a stranger do not remove the challenge of another device.

mod pools;
mod shared;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use dps_types::sas::SasToken;
use dps_types::tpm::AuthenticationKey;
use dps_types::{OperationId, RegistrationId};

use crate::attest::tpm::{HmacKey, TpmKeys, TpmProof};
use crate::service_error::ServiceError;
use crate::state::Record;
use crate::state::store::Store;
use pools::{Challenge, Pool, Pools, network};
use shared::SharedChallenges;
#[cfg(fuzzing)]
pub(crate) use shared::StoredChallenge;

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
    /// If other emulators share the store. The pools then only limit the number of challenges that this emulator made.
    shared: Option<SharedChallenges>,
}

impl Challenges {
    /// `per_source` is the most challenges for one network address in each of the two pools.
    pub(crate) fn new(per_source: usize, shared: Option<Arc<dyn Store>>) -> Self {
        Self {
            shared: shared.map(SharedChallenges::new),
            ..Self::with_limits(CAPACITY, per_source.max(1))
        }
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
            shared: None,
        }
    }

    /// Makes a challenge for a TPM: a new random key, wrapped. It replaces the TPM's previous challenge.
    pub(crate) async fn make(
        &self,
        id: &RegistrationId,
        keys: TpmKeys,
        is_enrolled: bool,
        source: IpAddr,
        now: SystemTime,
    ) -> Result<AuthenticationKey, ServiceError> {
        let key = HmacKey::generate();
        let wrapped = keys.wrap(&key);
        let challenge = Challenge {
            device: id.to_lowercase(),
            source: network(source),
            made: now,
            proof: TpmProof { keys, key },
            failed: None,
        };
        let stored = self
            .shared
            .as_ref()
            .map(|shared| (shared, challenge.device.clone(), challenge.proof.clone()));
        let removed = self.add(challenge, is_enrolled, now);
        if let Some((shared, device, proof)) = stored {
            shared.put(&device, &proof, now).await?;
            for (device, proof) in removed {
                shared.remove(&device, &proof).await?;
            }
        }
        Ok(wrapped)
    }

    /// Returns true if this TPM has an open challenge under this registration id.
    pub(crate) async fn has(
        &self,
        id: &RegistrationId,
        keys: &TpmKeys,
        now: SystemTime,
    ) -> Result<bool, ServiceError> {
        let is_of_tpm = |proof: &TpmProof| proof.keys == *keys;
        let found = self.find(id, now, is_of_tpm).await?;
        Ok(found.is_some())
    }

    /// Returns the TPM whose open challenge the token answers.
    pub(crate) async fn answered(
        &self,
        id: &RegistrationId,
        token: &SasToken,
        now: SystemTime,
    ) -> Result<Option<TpmProof>, ServiceError> {
        let is_answered = |proof: &TpmProof| token.verify(&proof.key);
        let found = self.find(id, now, is_answered).await?;
        Ok(found.map(|(proof, _)| proof))
    }

    /// Keeps the failed registration of a device without an enrollment for as long as its challenge.
    pub(crate) async fn keep_failed(
        &self,
        record: Record,
        now: SystemTime,
    ) -> Result<(), ServiceError> {
        if let Some(shared) = &self.shared {
            return shared.keep_failed(record, now).await;
        }
        let proof = record.proof.tpm();
        let is_answered = |of: &Challenge| Some(&of.proof) == proof;
        if let Some(challenge) = self.pools().find(&record.registration_id, now, is_answered) {
            challenge.failed = Some(record);
        }
        Ok(())
    }

    /// Returns the failed registration of a device with this proof and without an enrollment.
    pub(crate) async fn failed(
        &self,
        id: &RegistrationId,
        proof: &TpmProof,
        operation: &OperationId,
        now: SystemTime,
    ) -> Result<Option<Record>, ServiceError> {
        let found = self.find(id, now, |of| of == proof).await?;
        let record = found.and_then(|(_, failed)| failed);
        Ok(record.filter(|record| record.operation == *operation))
    }

    /// Removes expired challenges from the store, also those of emulators that died.
    pub(crate) async fn sweep(&self, now: SystemTime) -> Result<(), ServiceError> {
        match &self.shared {
            Some(shared) => shared.sweep(now).await,
            None => Ok(()),
        }
    }

    /// The open challenge under this registration id that matches, and the failed registration that is kept with it.
    async fn find(
        &self,
        id: &RegistrationId,
        now: SystemTime,
        matches: impl Fn(&TpmProof) -> bool,
    ) -> Result<Option<(TpmProof, Option<Record>)>, ServiceError> {
        if let Some(shared) = &self.shared {
            return shared.find(&id.to_lowercase(), now, matches).await;
        }
        let mut pools = self.pools();
        let found = pools.find(id, now, |of| matches(&of.proof));
        Ok(found.map(|of| (of.proof.clone(), of.failed.clone())))
    }

    /// Adds a challenge to its pool. Returns those that it replaces, and that a limit removes.
    fn add(
        &self,
        challenge: Challenge,
        is_enrolled: bool,
        now: SystemTime,
    ) -> Vec<(String, TpmProof)> {
        let mut pools = self.pools();
        for pool in pools.both() {
            pool.forget(&challenge.device, &challenge.proof.keys);
        }
        // The store has one entry for a TPM under an id, which is overwritten.
        let _replaced = pools.both().map(|pool| std::mem::take(&mut pool.removed));
        let pool = match is_enrolled {
            true => &mut pools.enrolled,
            false => &mut pools.others,
        };
        pool.add(challenge, now);
        std::mem::take(&mut pool.removed)
    }

    fn pools(&self) -> MutexGuard<'_, Pools> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

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

    #[tokio::test]
    async fn the_number_is_limited_and_the_oldest_is_removed_first() {
        let challenges = Challenges::with_limits(3, 3);
        let now = SystemTime::now();
        let open = async || {
            let mut open = [false; 4];
            for (open, device) in open.iter_mut().zip(["a", "b", "c", "d"]) {
                let has = challenges.has(&id(device), &tpm_keys(), now).await;
                *open = has.expect("read");
            }
            open
        };
        for device in ["a", "b", "c"] {
            challenges
                .make(&id(device), tpm_keys(), false, SOURCE, now)
                .await
                .expect("made");
        }
        challenges
            .make(&id("A"), tpm_keys(), false, SOURCE, now)
            .await
            .expect("made");
        assert_eq!(
            open().await,
            [true, true, true, false],
            "case does not matter"
        );
        challenges
            .make(&id("d"), tpm_keys(), false, SOURCE, now)
            .await
            .expect("made");
        assert_eq!(open().await, [true, false, true, true]);
        assert_eq!(challenges.pools().others.by_device.len(), 3);
    }

    #[tokio::test]
    async fn a_client_without_enrollment_does_not_remove_the_challenge_of_an_enrolled_device() {
        let challenges = Challenges::with_limits(3, 3);
        let now = SystemTime::now();
        challenges
            .make(&id("device"), tpm_keys(), true, SOURCE, now)
            .await
            .expect("made");
        for number in 0..100 {
            let device = id(&format!("stranger-{number}"));
            challenges
                .make(&device, tpm_keys_number(number), false, SOURCE, now)
                .await
                .expect("made");
            challenges
                .make(&id("device"), tpm_keys_number(number), false, SOURCE, now)
                .await
                .expect("made");
        }
        assert!(
            challenges
                .has(&id("device"), &tpm_keys(), now)
                .await
                .expect("read")
        );
        assert_eq!(challenges.pools().others.by_age.len(), 3);
    }

    #[tokio::test]
    async fn one_endorsement_key_has_a_few_challenges_at_most() {
        let challenges = Challenges::with_limits(1000, 1000);
        let now = SystemTime::now();
        challenges
            .make(&id("other"), tpm_keys_number(7), false, SOURCE, now)
            .await
            .expect("made");
        for number in 0..100 {
            let device = id(&format!("device-{number}"));
            challenges
                .make(&device, tpm_keys(), false, SOURCE, now)
                .await
                .expect("made");
        }
        let pools = challenges.pools();
        assert_eq!(pools.others.by_age.len(), PER_ENDORSEMENT_KEY + 1);
        assert_eq!(pools.others.by_device.len(), PER_ENDORSEMENT_KEY + 1);
        assert_eq!(pools.others.by_endorsement_key.len(), 2);
    }

    #[tokio::test]
    async fn one_network_address_does_not_remove_the_challenges_of_another() {
        let challenges = Challenges::with_limits(20, 4);
        let now = SystemTime::now();
        let other: IpAddr = "2001:db8:1::1".parse().expect("an address");
        challenges
            .make(&id("other"), tpm_keys(), false, other, now)
            .await
            .expect("made");
        for number in 0..100 {
            // Each address of one IPv6 network, and as many keys as a stranger likes.
            let source = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, number).into();
            let keys = tpm_keys_number(number);
            challenges
                .make(&id(&format!("stranger-{number}")), keys, false, source, now)
                .await
                .expect("made");
        }
        assert!(
            challenges
                .has(&id("other"), &tpm_keys(), now)
                .await
                .expect("read")
        );
        let pools = challenges.pools();
        assert_eq!(pools.others.by_age.len(), 5);
        assert_eq!(pools.others.by_source.len(), 2);
    }

    #[tokio::test]
    async fn each_is_open_for_ten_minutes_and_then_wiped() {
        let challenges = Challenges::new(1000, None);
        let made = SystemTime::now();
        challenges
            .make(&id("a"), tpm_keys(), false, SOURCE, made)
            .await
            .expect("made");
        let (early, late) = (
            made + LIFETIME - Duration::from_secs(1),
            made + Duration::from_secs(600),
        );
        assert!(
            challenges
                .has(&id("a"), &tpm_keys(), early)
                .await
                .expect("read")
        );
        assert!(
            !challenges
                .has(&id("a"), &tpm_keys(), late)
                .await
                .expect("read")
        );
        challenges
            .make(&id("b"), tpm_keys(), false, SOURCE, late)
            .await
            .expect("made");
        assert_eq!(challenges.pools().others.by_age.len(), 1);
        assert_eq!(challenges.pools().others.by_device.len(), 1);
    }

    #[tokio::test]
    async fn each_tpm_has_its_own_challenge_under_one_id_and_the_latest_counts() {
        let challenges = Challenges::new(1000, None);
        let now = SystemTime::now();
        let make = async |keys: TpmKeys| {
            let wrapped = challenges
                .make(&id("a"), keys, false, SOURCE, now)
                .await
                .expect("made");
            (wrapped.to_base64(), latest(&challenges))
        };
        let answered = async |key: &HmacKey| {
            let token = SasTokenBuilder::new("0ne00000001/registrations/a", 1).sign_with(key);
            challenges
                .answered(&id("a"), &token, now)
                .await
                .expect("read")
        };
        let (first, second) = (make(tpm_keys()).await, make(tpm_keys()).await);
        assert!(first.0 != second.0 && first.1 != second.1, "a new key");
        let (_, other) = make(other_tpm_keys()).await;

        assert!(answered(&first.1).await.is_none());
        let mine = answered(&second.1).await.expect("it is open");
        assert_eq!((mine.keys, mine.key), (tpm_keys(), second.1));
        assert_eq!(
            answered(&other).await.map(|of| of.keys),
            Some(other_tpm_keys())
        );
        assert_eq!(challenges.pools().others.by_age.len(), 2);
    }
}
