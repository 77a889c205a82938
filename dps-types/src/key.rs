//! A symmetric key that is never printed, and the derivation of device keys from a group key.

use std::fmt;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use crate::sas::{Sign, SignError, Signature};
use crate::{ParseError, RegistrationId, base64_text};

/// A symmetric key of 16 to 64 bytes. It is wiped from memory when dropped.
///
/// Debug prints `SymmetricKey(..)`; comparison runs in constant time.
///
/// ```
/// use dps_types::SymmetricKey;
///
/// let group_key = SymmetricKey::generate();
/// let device_key = group_key.derive_device_key(&"toaster-1".parse()?);
/// assert_eq!(SymmetricKey::from_base64(&device_key.to_base64())?.as_bytes(), device_key.as_bytes());
/// # Ok::<_, dps_types::ParseError>(())
/// ```
#[derive(Clone)]
pub struct SymmetricKey(Zeroizing<Vec<u8>>);

impl SymmetricKey {
    /// The minimum length of a key, in bytes. Source: azure-docs `iot-dps/concepts-symmetric-key-attestation.md`.
    pub const MIN_BYTES: usize = 16;
    /// The maximum length of a key, in bytes, and the length of the keys that the service generates.
    pub const MAX_BYTES: usize = 64;

    /// Creates a key from its bytes.
    ///
    /// # Errors
    /// If there are fewer than 16 or more than 64.
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Result<Self, ParseError> {
        Self::from_zeroizing(Zeroizing::new(bytes.into()))
    }

    fn from_zeroizing(bytes: Zeroizing<Vec<u8>>) -> Result<Self, ParseError> {
        match bytes.len() {
            Self::MIN_BYTES..=Self::MAX_BYTES => Ok(Self(bytes)),
            length => Err(ParseError::new(
                "symmetric key",
                format!("{length} bytes, and it must be 16 to 64"),
            )),
        }
    }

    /// Parses base64, as the portal, connection strings, enrollments and `openssl rand -base64` write it. White space is
    /// ignored.
    ///
    /// # Errors
    /// If the text is not base64 of 16 to 64 bytes. The error does not repeat the text.
    pub fn from_base64(text: &str) -> Result<Self, ParseError> {
        let bytes = base64_text::decode(text)
            .ok_or_else(|| ParseError::new("symmetric key", "it is not base64"))?;
        Self::from_zeroizing(bytes)
    }

    /// Generates a random key of 64 bytes, with the random numbers of the operating system.
    ///
    /// # Panics
    /// If the operating system cannot provide random numbers.
    pub fn generate() -> Self {
        let mut bytes = Zeroizing::new(vec![0; Self::MAX_BYTES]);
        #[expect(clippy::expect_used, reason = "a documented panic")]
        getrandom::fill(&mut bytes).expect("the operating system provides random numbers");
        Self(bytes)
    }

    /// Derives the key of one device from this key of its enrollment group:
    /// HMAC-SHA256 of the registration id, in its original case.
    ///
    /// Source: azure-docs `iot-dps/concepts-symmetric-key-attestation.md`.
    #[must_use]
    pub fn derive_device_key(&self, device: &RegistrationId) -> Self {
        let mut derived = self.hmac_sha256(device.as_str().as_bytes());
        let key = Self(Zeroizing::new(derived.to_vec()));
        derived.zeroize();
        key
    }

    /// Computes HMAC-SHA256 of the data with this key.
    pub fn hmac_sha256(&self, data: &[u8]) -> [u8; 32] {
        #[expect(clippy::expect_used, reason = "HMAC has no invalid length of a key")]
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC accepts keys of any length");
        mac.update(data);
        mac.finalize().into_bytes().into()
    }

    /// The bytes of the key. They are the secret itself.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key in base64, wiped when dropped. This is the secret itself.
    pub fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(&*self.0))
    }
}

impl PartialEq for SymmetricKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SymmetricKey {}

impl fmt::Debug for SymmetricKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SymmetricKey(..)")
    }
}

#[async_trait]
impl Sign for SymmetricKey {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        Ok(Signature(self.hmac_sha256(data)))
    }
}

/// The text of a symmetric key in an enrollment. Any text is accepted, so that a document can be read although its key
/// is not valid. [`EncodedKey::parse`] returns the key.
#[derive(Clone)]
pub struct EncodedKey(Zeroizing<String>);

impl EncodedKey {
    /// Parses the key.
    ///
    /// # Errors
    /// If the text is not base64 of 16 to 64 bytes.
    pub fn parse(&self) -> Result<SymmetricKey, ParseError> {
        SymmetricKey::from_base64(&self.0)
    }

    /// The text. This is the secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// Returns true if the text is empty or only white space. SDKs that read an enrollment and write it back send such keys, and
    /// they mean that there is no key.
    pub fn is_blank(&self) -> bool {
        self.0.trim().is_empty()
    }
}

impl From<&SymmetricKey> for EncodedKey {
    fn from(key: &SymmetricKey) -> Self {
        Self(key.to_base64())
    }
}

impl From<String> for EncodedKey {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl Serialize for EncodedKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EncodedKey {
    /// The error does not show the value, which serde's own error would.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::String(text) => Ok(text.into()),
            _ => Err(de::Error::custom("it is not a string")),
        }
    }
}

impl PartialEq for EncodedKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for EncodedKey {}

impl fmt::Debug for EncodedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncodedKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_16_to_64_bytes() {
        for (length, valid) in [
            (0, false),
            (15, false),
            (16, true),
            (32, true),
            (64, true),
            (65, false),
        ] {
            assert_eq!(
                SymmetricKey::from_bytes(vec![7; length]).is_ok(),
                valid,
                "{length}"
            );
        }
    }

    #[test]
    fn errors_and_debug_never_show_the_key() {
        let text = "c2VjcmV0IHNlY3JldCBzZWNyZXQ=";
        let key = SymmetricKey::from_base64(text).expect("valid");
        assert_eq!(
            format!("{key:?} {:?}", EncodedKey::from(&key)),
            "SymmetricKey(..) EncodedKey(..)"
        );
        let error = SymmetricKey::from_base64("c2VjcmV0!").expect_err("not base64");
        assert_eq!(error.to_string(), "invalid symmetric key: it is not base64");
        assert_eq!(*key.to_base64(), text);
    }

    #[test]
    fn generated_keys_differ() {
        assert_ne!(SymmetricKey::generate(), SymmetricKey::generate());
        assert_eq!(SymmetricKey::generate().to_base64().len(), 88);
    }

    /// The HMAC is of the registration id in its own case: another case results in another key.
    #[test]
    fn derivation_keeps_the_case_of_the_registration_id() {
        let group = SymmetricKey::from_bytes([1; 32]).expect("valid");
        let upper: RegistrationId = "DEV-1".parse().expect("valid");
        let lower: RegistrationId = "dev-1".parse().expect("valid");
        assert_ne!(
            group.derive_device_key(&upper),
            group.derive_device_key(&lower)
        );
    }
}
