//! A TPM in Rust: its keys, its memory, and the attestation of a device with this TPM.

mod opening;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use dps_device::Attestation;
use dps_device::attestation::{Proof, TpmKeys};
use dps_types::RegistrationId;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::tpm::{AuthenticationKey, TpmPublic};
use hmac::{Hmac, KeyInit, Mac};
use rsa::traits::PublicKeyParts;
use rsa::{BoxedUint, PrivateKey as RsaPrivateKey};
use serde_json::Value;
use sha2::Sha256;
use zeroize::Zeroizing;

const TPMS: &str = include_str!("../fixtures/tpms.json");

/// The public areas of the usual templates, up to the modulus.
const ENDORSEMENT_KEY: &[u8] =
    b"\x01\x3a\x00\x01\x00\x0b\x00\x03\x00\xb2\x00\x20\x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\
      \xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa\x00\x06\x00\x80\x00\x43\x00\x10\x08\x00\x00\x00\
      \x00\x00\x01\x00";
const STORAGE_ROOT_KEY: &[u8] =
    b"\x01\x1a\x00\x01\x00\x0b\x00\x03\x04\x72\x00\x00\x00\x06\x00\x80\x00\x43\x00\x10\x08\x00\x00\x00\x00\x00\x01\x00";

/// A TPM in software. It opens the keys that DPS encrypts for it with the checks of a real TPM.
///
/// Its keys are fixed and public, so it is for tests only. Clones are the same TPM.
#[derive(Clone)]
pub struct SoftwareTpm(Arc<Chip>);

struct Chip {
    endorsement_key: (RsaPrivateKey, TpmPublic),
    storage_root_key: (RsaPrivateKey, TpmPublic),
    memory: Mutex<Memory>,
}

/// The bytes of an HMAC key.
type Key = Zeroizing<Vec<u8>>;

#[derive(Default)]
struct Memory {
    /// The key of the last challenge, which a restart removes.
    challenge: Option<Key>,
    /// The hub key, which survives a restart.
    hub: Option<Key>,
}

impl SoftwareTpm {
    /// The number of different TPMs.
    pub const COUNT: usize = 6;

    /// One of [`COUNT`](Self::COUNT) TPMs with different keys. Number 0 is that of the [vector](Self::from_vector). Two TPMs with the
    /// same number have the same keys, and separate memories.
    ///
    /// # Panics
    /// If there is no TPM with this number.
    pub fn number(number: usize) -> Self {
        let tpms: Value = serde_json::from_str(TPMS).expect("the fixture is JSON");
        let tpm = &tpms[number];
        assert!(tpm.is_object(), "there is no TPM with the number {number}");
        let endorsement_key = private_key(&tpm["ek"]);
        let storage_root_key = private_key(&tpm["srk"]);
        Self(Arc::new(Chip {
            endorsement_key: with_public(endorsement_key, ENDORSEMENT_KEY),
            storage_root_key: with_public(storage_root_key, STORAGE_ROOT_KEY),
            memory: Mutex::default(),
        }))
    }

    /// The TPM of `fixtures/authentication-key-vector.json`.
    pub fn from_vector() -> Self {
        Self::number(0)
    }

    /// A device with this TPM and the registration id that Azure's SDKs use.
    pub fn attestation(&self) -> SoftwareTpmAttestation {
        self.attestation_as(self.endorsement_key().default_registration_id())
    }

    /// A device with this TPM and another registration id.
    pub fn attestation_as(&self, registration_id: RegistrationId) -> SoftwareTpmAttestation {
        SoftwareTpmAttestation {
            registration_id,
            tpm: self.clone(),
        }
    }

    /// The bytes of the key of the last challenge. `None` before a challenge, and after a hub key was stored.
    pub fn challenge_key(&self) -> Option<Vec<u8>> {
        self.memory().challenge.as_deref().cloned()
    }

    /// The bytes of the stored hub key.
    pub fn hub_key(&self) -> Option<Vec<u8>> {
        self.memory().hub.as_deref().cloned()
    }

    /// Turns the TPM off and on again: only the hub key survives.
    pub fn restart(&self) {
        self.memory().challenge = None;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0
            .memory
            .lock()
            .expect("no thread panics while it holds the lock")
    }

    fn open(&self, key: &AuthenticationKey) -> Result<Key, SignError> {
        let (endorsement_key, _) = &self.0.endorsement_key;
        let (storage_root_key, public) = &self.0.storage_root_key;
        opening::open(key, endorsement_key, storage_root_key, &public.name())
            .map_err(SignError::new)
    }
}

#[async_trait]
impl Sign for SoftwareTpm {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        let memory = self.memory();
        hmac(memory.challenge.as_ref().or(memory.hub.as_ref()), data)
    }
}

#[async_trait]
impl TpmKeys for SoftwareTpm {
    fn endorsement_key(&self) -> &TpmPublic {
        &self.0.endorsement_key.1
    }

    fn storage_root_key(&self) -> &TpmPublic {
        &self.0.storage_root_key.1
    }

    async fn activate(&self, challenge: &AuthenticationKey) -> Result<(), SignError> {
        let key = self.open(challenge)?;
        self.memory().challenge = Some(key);
        Ok(())
    }

    async fn keep_hub_key(&self, key: &AuthenticationKey) -> Result<(), SignError> {
        let key = self.open(key)?;
        *self.memory() = Memory {
            challenge: None,
            hub: Some(key),
        };
        Ok(())
    }

    async fn sign_for_hub(&self, data: &[u8]) -> Result<Signature, SignError> {
        hmac(self.memory().hub.as_ref(), data)
    }
}

impl fmt::Debug for SoftwareTpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareTpm(..)")
    }
}

/// The attestation of a device with a [`SoftwareTpm`].
#[derive(Debug, Clone)]
pub struct SoftwareTpmAttestation {
    registration_id: RegistrationId,
    tpm: SoftwareTpm,
}

impl Attestation for SoftwareTpmAttestation {
    fn registration_id(&self) -> &RegistrationId {
        &self.registration_id
    }

    fn proof(&self) -> Proof<'_> {
        Proof::Tpm(&self.tpm)
    }
}

fn hmac(key: Option<&Key>, data: &[u8]) -> Result<Signature, SignError> {
    let key = key.ok_or_else(|| SignError::new("the TPM has no key yet"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
    mac.update(data);
    Ok(Signature(mac.finalize().into_bytes().into()))
}

fn private_key(primes: &Value) -> RsaPrivateKey {
    let [p, q] = ["p", "q"].map(|name| {
        let hex = primes[name].as_str().expect("a prime in hex");
        let prime = BoxedUint::from_be_hex(hex, 1024).into_option();
        prime.expect("a prime of 1024 bits")
    });
    RsaPrivateKey::from_p_q(p, q, BoxedUint::from(65537_u32)).expect("two primes")
}

fn with_public(key: RsaPrivateKey, template: &[u8]) -> (RsaPrivateKey, TpmPublic) {
    let modulus = key.n().to_be_bytes();
    let public = TpmPublic::parse(&[template, &modulus].concat()).expect("a key of the template");
    (key, public)
}
