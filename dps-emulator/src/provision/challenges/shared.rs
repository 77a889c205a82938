//! The open challenges of TPMs in a store that several emulators share.

use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use dps_types::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::LIFETIME;
use crate::attest::tpm::{TpmKeys, TpmProof};
use crate::service_error::ServiceError;
use crate::state::store::{Expected, Pages, Store, Table};
use crate::state::{Record, decode_or_skip, encode};

#[derive(Debug)]
pub(super) struct SharedChallenges(Arc<dyn Store>);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct StoredChallenge {
    made: Timestamp,
    proof: TpmProof,
    /// The registration of a device that answered and has no enrollment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    failed: Option<Record>,
}

impl SharedChallenges {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Writes the challenge of a TPM under a registration id, in place of its previous one.
    pub(super) async fn put(
        &self,
        device: &str,
        proof: &TpmProof,
        now: SystemTime,
    ) -> Result<(), ServiceError> {
        let key = key(device, &proof.keys);
        let challenge = encode(&StoredChallenge {
            made: now.into(),
            proof: proof.clone(),
            failed: None,
        })?;
        self.0
            .put(Table::Challenges, &key, Expected::Anything, challenge)
            .await?;
        Ok(())
    }

    /// Removes a challenge, unless the TPM has a newer one, which another emulator may have made.
    pub(super) async fn remove(&self, device: &str, proof: &TpmProof) -> Result<(), ServiceError> {
        let key = key(device, &proof.keys);
        let Some(bytes) = self.0.get(Table::Challenges, &key).await? else {
            return Ok(());
        };
        let stored = decode_or_skip::<StoredChallenge>(&key, &bytes);
        if stored.is_none_or(|stored| stored.proof == *proof) {
            let expected = Expected::Exactly(&bytes);
            self.0.delete(Table::Challenges, &key, expected).await?;
        }
        Ok(())
    }

    /// The open challenge under this registration id that matches, and the failed registration that is kept with it.
    pub(super) async fn find(
        &self,
        device: &str,
        now: SystemTime,
        matches: impl Fn(&TpmProof) -> bool,
    ) -> Result<Option<(TpmProof, Option<Record>)>, ServiceError> {
        let prefix = format!("{device}/");
        let mut pages = Pages::with_prefix(&*self.0, Table::Challenges, &prefix);
        while let Some(page) = pages.next().await? {
            for (key, bytes) in page {
                if let Some(found) = decode_or_skip::<StoredChallenge>(&key, &bytes)
                    && !found.has_expired(now)
                    && matches(&found.proof)
                {
                    return Ok(Some((found.proof, found.failed)));
                }
            }
        }
        Ok(None)
    }

    /// Keeps the failed registration of a device with its challenge, unless the challenge has been replaced.
    pub(super) async fn keep_failed(
        &self,
        record: Record,
        now: SystemTime,
    ) -> Result<(), ServiceError> {
        let Some(proof) = record.proof.tpm() else {
            return Ok(());
        };
        let key = key(&record.registration_id.to_lowercase(), &proof.keys);
        let Some(bytes) = self.0.get(Table::Challenges, &key).await? else {
            return Ok(());
        };
        let Some(mut challenge) = decode_or_skip::<StoredChallenge>(&key, &bytes) else {
            return Ok(());
        };
        if challenge.proof == *proof && !challenge.has_expired(now) {
            challenge.failed = Some(record);
            let expected = Expected::Exactly(&bytes);
            let kept = encode(&challenge)?;
            self.0.put(Table::Challenges, &key, expected, kept).await?;
        }
        Ok(())
    }

    /// Removes expired challenges.
    pub(super) async fn sweep(&self, now: SystemTime) -> Result<(), ServiceError> {
        let mut pages = Pages::all(&*self.0, Table::Challenges);
        while let Some(page) = pages.next().await? {
            for (key, bytes) in page {
                let challenge = decode_or_skip::<StoredChallenge>(&key, &bytes);
                if challenge.is_none_or(|challenge| challenge.has_expired(now)) {
                    let expected = Expected::Exactly(&bytes);
                    self.0.delete(Table::Challenges, &key, expected).await?;
                }
            }
        }
        Ok(())
    }
}

impl StoredChallenge {
    fn has_expired(&self, now: SystemTime) -> bool {
        let made: SystemTime = self.made.into();
        now.duration_since(made).unwrap_or_default() >= LIFETIME
    }
}

/// `{registration id in lower case}/{SHA-256 of both keys of the TPM}`. A registration id has no slash.
fn key(device: &str, keys: &TpmKeys) -> String {
    let shown = keys.shown();
    let mut hash = Sha256::new();
    hash.update(&shown.endorsement_key);
    hash.update(b"/");
    hash.update(shown.storage_root_key.as_deref().unwrap_or_default());
    let mut key = format!("{device}/");
    for byte in hash.finalize() {
        // Writing to a String does not fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}
