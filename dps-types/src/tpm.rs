//! Binary structures of TPM attestation: public keys, and keys that are wrapped for one TPM.
//!
//! All integers are big-endian; a `TPM2B` is a 16-bit length and that many bytes. Sources: TCG, *Trusted Platform Module
//! Library*, part 1 chapter 24 and part 2 chapters 10 to 12; Azure `azure-iot-sdk-c` `hsm_client_tpm.c`,
//! `azure-iot-sdk-csharp` `SecurityProviderTpmHsm`.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use data_encoding::BASE32_NOPAD;
use sha2::{Digest, Sha256};

use crate::{ParseError, RegistrationId, base64_text};

const RSA: u16 = 0x0001;
const ECC: u16 = 0x0023;
const SHA256: u16 = 0x000b;
const AES: u16 = 0x0006;
const CFB: u16 = 0x0043;
const NULL: u16 = 0x0010;

/// `TPMA_OBJECT`: of a key that only protects other keys, `restricted` and `decrypt` are set and `sign` is clear.
const RESTRICTED: u32 = 1 << 16;
const DECRYPT: u32 = 1 << 17;
const SIGN: u32 = 1 << 18;

/// The public part of an endorsement key or a storage root key: RSA of 2048 bits, names by SHA-256, AES-128-CFB within.
///
/// DPS and its SDKs use only this kind of key. The public exponent is 65537.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TpmPublic {
    /// The whole `TPM2B_PUBLIC`.
    bytes: Vec<u8>,
    attributes: u32,
}

impl TpmPublic {
    /// The length of the modulus, in bytes.
    pub const MODULUS_BYTES: usize = 256;

    /// Reads a `TPM2B_PUBLIC`, its length included, and nothing after it.
    ///
    /// # Errors
    /// If it is malformed, or a key of another kind.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut outer = Reader::new("TPM public key", bytes);
        let area = outer.sized("public area")?;
        outer.end()?;
        let mut area = Reader::new("TPM public key", area);
        if area.rest.starts_with(&ECC.to_be_bytes()) {
            return Err(area.wrong(
                "it is an elliptic curve key, and DPS encrypts its challenge to an RSA key of 2048 bits",
            ));
        }
        area.expect("type", RSA)?;
        area.expect("name algorithm", SHA256)?;
        let attributes = area.u32("attributes")?;
        if attributes & (RESTRICTED | DECRYPT | SIGN) != RESTRICTED | DECRYPT {
            return Err(area.wrong("it is not a restricted decryption key"));
        }
        area.sized("policy")?;
        area.expect("symmetric algorithm", AES)?;
        area.expect("symmetric key bits", 128)?;
        area.expect("symmetric mode", CFB)?;
        area.expect("scheme", NULL)?;
        area.expect("key bits", 2048)?;
        if !matches!(area.u32("exponent")?, 0 | 65537) {
            return Err(area.wrong("its exponent is not 65537"));
        }
        let modulus = area.sized("modulus")?;
        let is_long = modulus.first().is_some_and(|byte| byte & 0x80 != 0);
        if modulus.len() != Self::MODULUS_BYTES || !is_long {
            return Err(area.wrong("its modulus is not of 2048 bits"));
        }
        area.end()?;
        Ok(Self {
            bytes: bytes.to_vec(),
            attributes,
        })
    }

    /// [`parse`](Self::parse) of base64, as enrollments and requests carry it. White space is ignored.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when it is not base64.
    pub fn from_base64(text: &str) -> Result<Self, ParseError> {
        let bytes = base64_text::decode(text)
            .ok_or_else(|| ParseError::new("TPM public key", "it is not base64"))?;
        Self::parse(&bytes)
    }

    /// The whole `TPM2B_PUBLIC`, its length included.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The whole `TPM2B_PUBLIC` in base64, as enrollments and requests carry it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.bytes)
    }

    /// The `TPMT_PUBLIC`: everything except the length.
    #[expect(
        clippy::indexing_slicing,
        reason = "`parse` requires the length and a whole public area"
    )]
    pub fn area(&self) -> &[u8] {
        &self.bytes[2..]
    }

    /// The object's name: the algorithm's number and the hash of the public area.
    pub fn name(&self) -> [u8; 34] {
        let mut name = [0; 34];
        name[..2].copy_from_slice(&SHA256.to_be_bytes());
        name[2..].copy_from_slice(&Sha256::digest(self.area()));
        name
    }

    /// The RSA modulus, 256 bytes.
    #[expect(
        clippy::indexing_slicing,
        reason = "`parse` requires a modulus of this length at the end"
    )]
    pub fn modulus(&self) -> &[u8] {
        &self.bytes[self.bytes.len() - Self::MODULUS_BYTES..]
    }

    /// `TPMA_OBJECT`: 0x000300b2 of an endorsement key and 0x00030472 of a storage root key, by the usual templates.
    pub fn attributes(&self) -> u32 {
        self.attributes
    }

    /// The registration id that Azure's SDKs derive from the endorsement key of a device: SHA-256 of the `TPM2B_PUBLIC`, in lower
    /// case base32 without padding, 52 characters.
    #[expect(
        clippy::expect_used,
        reason = "52 letters and digits are a registration id"
    )]
    pub fn default_registration_id(&self) -> RegistrationId {
        let mut id = BASE32_NOPAD.encode(&Sha256::digest(&self.bytes));
        id.make_ascii_lowercase();
        RegistrationId::new(id).expect("a valid registration id")
    }
}

impl fmt::Debug for TpmPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TpmPublic")
            .field("attributes", &format_args!("{:#010x}", self.attributes))
            .finish_non_exhaustive()
    }
}

/// The `authenticationKey` of DPS: a symmetric key, wrapped so that only the TPM with the right endorsement key and storage
/// root key can use it. It is never visible outside the TPM.
///
/// Six `TPM2B` in sequence. Each accessor returns the content without the length.
#[derive(Clone, PartialEq, Eq)]
pub struct AuthenticationKey {
    parts: [Vec<u8>; 6],
}

impl AuthenticationKey {
    const PARTS: [&'static str; 6] = [
        "credential",
        "secret of the credential",
        "key",
        "seed of the key",
        "public area of the key",
        "URI data",
    ];

    /// Creates a wrapped key from its six parts.
    ///
    /// # Errors
    /// If one is longer than 65535 bytes, or one that cannot be empty is: all but the URI data and the seed.
    pub fn new(parts: [Vec<u8>; 6]) -> Result<Self, ParseError> {
        for (index, (part, name)) in parts.iter().zip(Self::PARTS).enumerate() {
            if u16::try_from(part.len()).is_err() {
                return Err(Self::wrong(format!("the {name} is too long")));
            }
            // A key without an outer wrapper has no seed.
            if part.is_empty() && !matches!(index, 3 | 5) {
                return Err(Self::wrong(format!("the {name} is empty")));
            }
        }
        Ok(Self { parts })
    }

    /// Parses the six parts. Bytes after them are ignored, as Azure's SDKs do.
    ///
    /// # Errors
    /// If a part is missing, cut off, or empty where it cannot be.
    pub fn parse(bytes: &[u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new("authenticationKey", bytes);
        let mut parts: [Vec<u8>; 6] = Default::default();
        for (part, name) in parts.iter_mut().zip(Self::PARTS) {
            *part = reader.sized(name)?.to_vec();
        }
        Self::new(parts)
    }

    /// [`parse`](Self::parse) of base64, as the service sends it. White space is ignored.
    ///
    /// # Errors
    /// As [`parse`](Self::parse), and when it is not base64.
    pub fn from_base64(text: &str) -> Result<Self, ParseError> {
        let bytes = base64_text::decode(text).ok_or_else(|| Self::wrong("it is not base64"))?;
        Self::parse(&bytes)
    }

    /// The six parts with their lengths.
    #[expect(
        clippy::expect_used,
        reason = "`new` refuses a part that is longer than 65535 bytes"
    )]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in &self.parts {
            let length = u16::try_from(part.len()).expect("at most 65535 bytes");
            bytes.extend(length.to_be_bytes());
            bytes.extend(part);
        }
        bytes
    }

    /// [`to_bytes`](Self::to_bytes) in base64, as the service sends it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(self.to_bytes())
    }

    /// The `TPM2B_ID_OBJECT` for `TPM2_ActivateCredential`: it holds the key of the inner wrapper.
    pub fn credential(&self) -> &[u8] {
        &self.parts[0]
    }

    /// The `TPM2B_ENCRYPTED_SECRET` of the credential, encrypted to the endorsement key.
    pub fn credential_secret(&self) -> &[u8] {
        &self.parts[1]
    }

    /// The `TPM2B_PRIVATE` for `TPM2_Import`: the wrapped key.
    pub fn duplicate(&self) -> &[u8] {
        &self.parts[2]
    }

    /// The `TPM2B_ENCRYPTED_SECRET` of the outer wrapper, encrypted to the storage root key. Empty without an outer wrapper.
    pub fn duplicate_seed(&self) -> &[u8] {
        &self.parts[3]
    }

    /// The `TPMT_PUBLIC` of the wrapped key.
    pub fn public_area(&self) -> &[u8] {
        &self.parts[4]
    }

    /// Text that the inner key encrypts, and that no known client reads. May be empty.
    pub fn uri_data(&self) -> &[u8] {
        &self.parts[5]
    }

    fn wrong(reason: impl Into<std::borrow::Cow<'static, str>>) -> ParseError {
        ParseError::new("authenticationKey", reason)
    }
}

impl fmt::Debug for AuthenticationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthenticationKey(..)")
    }
}

/// Reads big-endian integers and sized buffers in sequence.
struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(what: &'static str, rest: &'a [u8]) -> Self {
        Self { what, rest }
    }

    fn take(&mut self, length: usize, name: &str) -> Result<&'a [u8], ParseError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(length)
            .ok_or_else(|| self.truncated(name))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, name: &str) -> Result<[u8; N], ParseError> {
        let (taken, rest) = self
            .rest
            .split_first_chunk()
            .ok_or_else(|| self.truncated(name))?;
        self.rest = rest;
        Ok(*taken)
    }

    fn u16(&mut self, name: &str) -> Result<u16, ParseError> {
        self.array(name).map(u16::from_be_bytes)
    }

    fn u32(&mut self, name: &str) -> Result<u32, ParseError> {
        self.array(name).map(u32::from_be_bytes)
    }

    fn sized(&mut self, name: &str) -> Result<&'a [u8], ParseError> {
        let length = self.u16(name)?;
        self.take(length.into(), name)
    }

    fn expect(&mut self, name: &str, expected: u16) -> Result<(), ParseError> {
        match self.u16(name)? {
            found if found == expected => Ok(()),
            found => Err(self.wrong(format!("its {name} is {found:#06x}, not {expected:#06x}"))),
        }
    }

    fn end(&self) -> Result<(), ParseError> {
        match self.rest.len() {
            0 => Ok(()),
            more => Err(self.wrong(format!("{more} bytes too many"))),
        }
    }

    fn truncated(&self, name: &str) -> ParseError {
        self.wrong(format!("it ends within the {name}"))
    }

    fn wrong(&self, reason: impl Into<std::borrow::Cow<'static, str>>) -> ParseError {
        ParseError::new(self.what, reason)
    }
}
