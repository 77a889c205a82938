//! The public keys of a TPM, checked for their role, and the keys that are wrapped for it.

use std::ops::Deref;

use dps_types::enrollment::TpmAttestation;
use dps_types::tpm::{AuthenticationKey, TpmPublic};
use dps_types::{EncodedKey, ParseError, SymmetricKey};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::wrap;
use super::wrapping_key::WrappingKey;

/// `TPMA_OBJECT`: use requires the authorization value. A storage root key requires it to import a key.
const USER_WITH_AUTH: u32 = 1 << 6;
/// `TPMA_OBJECT`: use requires a policy. An endorsement key requires it to open a credential.
const ADMIN_WITH_POLICY: u32 = 1 << 7;

/// The public keys that a TPM presents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TpmKeys {
    endorsement_key: WrappingKey,
    storage_root_key: WrappingKey,
}

/// A TPM, and the key that it received to sign with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Kept", into = "Kept")]
pub(crate) struct TpmProof {
    pub(crate) keys: TpmKeys,
    pub(crate) key: HmacKey,
}

/// A key to wrap for a TPM: 32 random bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "EncodedKey", into = "EncodedKey")]
pub(crate) struct HmacKey(SymmetricKey);

impl TpmKeys {
    /// Reads the keys that a device presents.
    ///
    /// # Errors
    /// If a key is missing, malformed, or unsuitable for its role. The text names the key and the reason.
    pub(crate) fn parse(shown: &TpmAttestation) -> Result<Self, String> {
        let storage_root_key = shown.storage_root_key.as_deref();
        let storage_root_key = storage_root_key.ok_or("The storageRootKey is missing.")?;
        Ok(Self {
            endorsement_key: endorsement(&shown.endorsement_key)
                .map_err(|error| format!("The endorsementKey cannot be used: {error}."))?,
            storage_root_key: WrappingKey::new(storage_root_key, USER_WITH_AUTH)
                .map_err(|error| format!("The storageRootKey cannot be used: {error}."))?,
        })
    }

    pub(crate) fn endorsement_key(&self) -> &TpmPublic {
        &self.endorsement_key.public
    }

    /// Returns the keys in the form in which a device presents them.
    pub(crate) fn shown(&self) -> TpmAttestation {
        let mut shown = TpmAttestation::new(self.endorsement_key.public.to_base64());
        shown.storage_root_key = Some(self.storage_root_key.public.to_base64());
        shown
    }

    /// Wraps a key so that only this TPM can use it.
    pub(crate) fn wrap(&self, key: &HmacKey) -> AuthenticationKey {
        let random = wrap::Random::generate();
        wrap::wrap(&self.endorsement_key, &self.storage_root_key, key, &random)
    }
}

/// Checks the endorsement key of an enrollment.
///
/// # Errors
/// If it cannot be the endorsement key of a TPM.
pub(crate) fn check_endorsement_key(text: &str) -> Result<(), String> {
    endorsement(text).map(drop)
}

fn endorsement(text: &str) -> Result<WrappingKey, String> {
    WrappingKey::new(text, ADMIN_WITH_POLICY)
}

impl HmacKey {
    #[expect(
        clippy::expect_used,
        reason = "without random numbers no key can be made, and 32 bytes are a key"
    )]
    pub(crate) fn generate() -> Self {
        let mut bytes = Zeroizing::new(vec![0; 32]);
        getrandom::fill(&mut bytes).expect("the operating system provides random bytes");
        let key = SymmetricKey::from_bytes(std::mem::take(&mut *bytes));
        Self(key.expect("32 bytes are a key"))
    }
}

impl Deref for HmacKey {
    type Target = SymmetricKey;

    fn deref(&self) -> &SymmetricKey {
        &self.0
    }
}

impl TryFrom<EncodedKey> for HmacKey {
    type Error = ParseError;

    fn try_from(text: EncodedKey) -> Result<Self, ParseError> {
        text.parse().map(Self)
    }
}

impl From<HmacKey> for EncodedKey {
    fn from(key: HmacKey) -> Self {
        (&key.0).into()
    }
}

/// A proof in the store.
#[derive(Serialize, Deserialize)]
struct Kept {
    tpm: TpmAttestation,
    key: HmacKey,
}

impl From<TpmProof> for Kept {
    fn from(proof: TpmProof) -> Self {
        Self {
            tpm: proof.keys.shown(),
            key: proof.key,
        }
    }
}

impl TryFrom<Kept> for TpmProof {
    type Error = String;

    fn try_from(kept: Kept) -> Result<Self, String> {
        Ok(Self {
            keys: TpmKeys::parse(&kept.tpm)?,
            key: kept.key,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::wrap::tests::{ENDORSEMENT_KEY, STORAGE_ROOT_KEY};
    use super::*;

    fn shown(endorsement_key: &str, storage_root_key: &str) -> TpmAttestation {
        let mut shown = TpmAttestation::new(endorsement_key);
        shown.storage_root_key = Some(storage_root_key.to_owned());
        shown
    }

    #[test]
    fn a_proof_survives_the_store_and_debug_output_has_no_key() {
        let proof = TpmProof {
            keys: TpmKeys::parse(&shown(ENDORSEMENT_KEY, STORAGE_ROOT_KEY)).expect("good keys"),
            key: HmacKey::generate(),
        };
        let kept = serde_json::to_string(&proof).expect("written");
        let key = proof.key.to_base64();
        assert!(kept.contains(&*key), "it can be used after a restart");
        assert_eq!(
            serde_json::from_str::<TpmProof>(&kept).expect("read"),
            proof
        );
        assert!(!format!("{proof:?}").contains(&*key));
        assert_eq!(proof.key.as_bytes().len(), 32);
    }

    #[test]
    fn each_key_requires_the_attributes_of_its_role() {
        assert!(TpmKeys::parse(&shown(ENDORSEMENT_KEY, STORAGE_ROOT_KEY)).is_ok());
        for (endorsement_key, storage_root_key, at) in [
            (STORAGE_ROOT_KEY, STORAGE_ROOT_KEY, "endorsementKey"),
            (ENDORSEMENT_KEY, ENDORSEMENT_KEY, "storageRootKey"),
        ] {
            let error = TpmKeys::parse(&shown(endorsement_key, storage_root_key)).unwrap_err();
            assert_eq!(
                error,
                format!(
                    "The {at} cannot be used: its attributes are not those of a key for this role."
                )
            );
        }
    }

    proptest! {
        /// Any bytes in the place of the modulus are refused, or are a key to wrap for.
        #[test]
        fn any_modulus_is_used_or_refused(modulus in any::<[u8; 32]>(), place in 0_usize..8) {
            let mut bytes = TpmPublic::from_base64(ENDORSEMENT_KEY).expect("a key").as_bytes().to_vec();
            let start = bytes.len() - 256 + place * 32;
            bytes[start..start + 32].copy_from_slice(&modulus);
            let Ok(public) = TpmPublic::parse(&bytes) else { return Ok(()) };
            if let Ok(keys) = TpmKeys::parse(&shown(&public.to_base64(), STORAGE_ROOT_KEY)) {
                prop_assert_eq!(keys.wrap(&HmacKey::generate()).credential_secret().len(), 256);
            }
        }

        #[test]
        fn arbitrary_bytes_do_not_panic(one in any::<Vec<u8>>(), other in any::<String>()) {
            use base64::{Engine as _, engine::general_purpose::STANDARD};
            prop_assert!(TpmKeys::parse(&shown(&STANDARD.encode(one), STORAGE_ROOT_KEY)).is_err());
            prop_assert!(TpmKeys::parse(&shown(ENDORSEMENT_KEY, &other)).is_err());
        }
    }
}
