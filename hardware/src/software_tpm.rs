//! A TPM in Rust: the keys, what it keeps, and the attestation of a device that has one.

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
use rsa::{BoxedUint, RsaPrivateKey};
use serde_json::Value;
use sha2::Sha256;
use zeroize::Zeroizing;

const TPMS: &str = include_str!("../fixtures/tpms.json");

/// The public areas as the usual templates make them, up to the modulus.
const ENDORSEMENT_KEY: &[u8] =
    b"\x01\x3a\x00\x01\x00\x0b\x00\x03\x00\xb2\x00\x20\x83\x71\x97\x67\x44\x84\xb3\xf8\x1a\x90\xcc\x8d\x46\xa5\xd7\x24\
      \xfd\x52\xd7\x6e\x06\x52\x0b\x64\xf2\xa1\xda\x1b\x33\x14\x69\xaa\x00\x06\x00\x80\x00\x43\x00\x10\x08\x00\x00\x00\
      \x00\x00\x01\x00";
const STORAGE_ROOT_KEY: &[u8] =
    b"\x01\x1a\x00\x01\x00\x0b\x00\x03\x04\x72\x00\x00\x00\x06\x00\x80\x00\x43\x00\x10\x08\x00\x00\x00\x00\x00\x01\x00";

/// A TPM without a chip: it opens what DPS wraps for it with the same checks, and refuses what a TPM refuses.
///
/// Its keys are fixed and public: it is for tests alone. Clones are the same TPM.
#[derive(Clone)]
pub struct SoftwareTpm(Arc<Chip>);

struct Chip {
    endorsement_key: (RsaPrivateKey, TpmPublic),
    storage_root_key: (RsaPrivateKey, TpmPublic),
    memory: Mutex<Memory>,
}

/// A key for HMAC, opened.
type Key = Zeroizing<Vec<u8>>;

#[derive(Default)]
struct Memory {
    /// The key of the last challenge. A restart forgets it.
    challenge: Option<Key>,
    /// Outlives a restart.
    hub: Option<Key>,
}

impl SoftwareTpm {
    /// How many different ones there are.
    pub const COUNT: usize = 6;

    /// One of [`COUNT`](Self::COUNT) with keys of their own; number 0 has those of the
    /// [vector](Self::from_vector). Two of the same number hold the same keys, and each its own memory.
    ///
    /// # Panics
    /// When there is no such number.
    pub fn number(number: usize) -> Self {
        let tpms: Value = serde_json::from_str(TPMS).expect("the fixture is JSON");
        let tpm = &tpms[number];
        assert!(tpm.is_object(), "there is no TPM of number {number}");
        let endorsement_key = private_key(&tpm["ek"]);
        let storage_root_key = private_key(&tpm["srk"]);
        Self(Arc::new(Chip {
            endorsement_key: with_public(endorsement_key, ENDORSEMENT_KEY),
            storage_root_key: with_public(storage_root_key, STORAGE_ROOT_KEY),
            memory: Mutex::default(),
        }))
    }

    /// The one that `fixtures/authentication-key-vector.json` is for.
    pub fn from_vector() -> Self {
        Self::number(0)
    }

    /// A device that has this TPM, with the registration id that Azure's SDKs give it.
    pub fn attestation(&self) -> SoftwareTpmAttestation {
        self.attestation_as(self.endorsement_key().default_registration_id())
    }

    /// A device that has this TPM, with another registration id.
    pub fn attestation_as(&self, registration_id: RegistrationId) -> SoftwareTpmAttestation {
        SoftwareTpmAttestation {
            registration_id,
            tpm: self.clone(),
        }
    }

    /// The bytes of the key of the last challenge. `None` without one, and when a hub key has taken its place.
    pub fn challenge_key(&self) -> Option<Vec<u8>> {
        self.memory().challenge.as_deref().cloned()
    }

    /// The bytes of the hub key that it keeps.
    pub fn hub_key(&self) -> Option<Vec<u8>> {
        self.memory().hub.as_deref().cloned()
    }

    /// Power off and on: all but the hub key is forgotten.
    pub fn restart(&self) {
        self.memory().challenge = None;
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().expect("nobody panics with the memory")
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

/// A device that proves itself with a [`SoftwareTpm`].
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
    let key = key.ok_or_else(|| SignError::new("the TPM holds no key yet"))?;
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key");
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
