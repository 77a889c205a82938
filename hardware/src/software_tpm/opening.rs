//! Opens an encrypted key: `TPM2_ActivateCredential`, `TPM2_Import` and `TPM2_Load` in one step.
//!
//! Source: TCG, *Trusted Platform Module Library*, part 1 chapters 23 and 24, and part 2 chapter 12.

use aes::Aes128;
use aes::cipher::KeyIvInit;
use dps_types::tpm::AuthenticationKey;
use hmac::{Hmac, KeyInit, Mac};
use rsa::{Oaep, PrivateKey as RsaPrivateKey};
use sha2::{Digest, Sha256};

use super::Key;

const SHA256: [u8; 2] = [0x00, 0x0b];
const KEYED_HASH: [u8; 2] = [0x00, 0x08];
const HMAC: [u8; 2] = [0x00, 0x05];
/// `TPMA_OBJECT` bits.
const FIXED_TPM: u32 = 1 << 1;
const FIXED_PARENT: u32 = 1 << 4;
const SIGN: u32 = 1 << 18;
/// The maximum length of an HMAC-SHA256 key in a TPM: one block.
const MAX_KEY: usize = 64;

type Refusal = &'static str;

/// Opens a key, or returns the reason why a TPM would refuse it.
pub(super) fn open(
    wrapped: &AuthenticationKey,
    endorsement_key: &RsaPrivateKey,
    storage_root_key: &RsaPrivateKey,
    storage_root_name: &[u8],
) -> Result<Key, Refusal> {
    let inner_key = activate_credential(wrapped, endorsement_key, storage_root_name)?;
    let inner_key = <[u8; 16]>::try_from(inner_key.as_slice())
        .map_err(|_| "the inner key does not have 128 bits")?;
    let name = [&SHA256[..], &Sha256::digest(wrapped.public_area())].concat();

    // Without a seed there is no outer wrapper.
    let outer = match wrapped.duplicate_seed() {
        [] => Key::new(wrapped.duplicate().to_vec()),
        seed => {
            let seed = decrypt_seed(storage_root_key, seed, b"DUPLICATE\0")?;
            unwrap_outer(&seed, wrapped.duplicate(), &name)?
        }
    };
    let inner = decrypt(&inner_key, &outer);
    let (hash, sensitive) = sized(&inner)?;
    if hash != &*Sha256::digest([sensitive, &name].concat()) {
        return Err("the inner wrapper is not intact");
    }
    let Sensitive { seed, key } = Sensitive::parse(all(sensitive)?)?;
    if unique(wrapped.public_area())? != &*Sha256::digest([seed, key].concat()) {
        return Err("the key does not belong to its public area");
    }
    Ok(Key::new(key.to_vec()))
}

/// The credential: the key of the inner wrapper.
fn activate_credential(
    wrapped: &AuthenticationKey,
    endorsement_key: &RsaPrivateKey,
    storage_root_name: &[u8],
) -> Result<Key, Refusal> {
    let seed = decrypt_seed(endorsement_key, wrapped.credential_secret(), b"IDENTITY\0")?;
    let credential = unwrap_outer(&seed, wrapped.credential(), storage_root_name)?;
    all(&credential).map(|credential| Key::new(credential.to_vec()))
}

fn decrypt_seed(key: &RsaPrivateKey, encrypted: &[u8], label: &[u8]) -> Result<Key, Refusal> {
    let padding = Oaep::<Sha256>::new_with_label(label);
    let seed = key.decrypt(padding, encrypted);
    seed.map(Key::new)
        .map_err(|_| "a seed is not encrypted to this TPM")
}

/// Checks the integrity value, and then decrypts the rest.
fn unwrap_outer(seed: &[u8], wrapped: &[u8], name: &[u8]) -> Result<Key, Refusal> {
    let (integrity, encrypted) = sized(wrapped)?;
    let mut mac = mac(&kdfa(seed, "INTEGRITY", b"", 256));
    mac.update(encrypted);
    mac.update(name);
    mac.verify_slice(integrity)
        .map_err(|_| "the outer wrapper is not intact")?;
    let mut key = [0; 16];
    key.copy_from_slice(&kdfa(seed, "STORAGE", name, 128));
    Ok(decrypt(&key, encrypted))
}

fn decrypt(key: &[u8; 16], encrypted: &[u8]) -> Key {
    let mut bytes = Key::new(encrypted.to_vec());
    cfb_mode::Decryptor::<Aes128>::new(key.into(), &[0; 16].into()).decrypt(&mut bytes);
    bytes
}

/// `KDFa` with SHA-256, for output of up to one block.
fn kdfa(key: &[u8], label: &str, context: &[u8], bits: u16) -> Key {
    let mut mac = mac(key);
    mac.update(&1_u32.to_be_bytes());
    mac.update(label.as_bytes());
    mac.update(&[0]);
    mac.update(context);
    mac.update(&u32::from(bits).to_be_bytes());
    let block = mac.finalize().into_bytes();
    Key::new(block[..usize::from(bits / 8)].to_vec())
}

fn mac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC accepts keys of any length")
}

/// The `TPMT_SENSITIVE` of an HMAC key.
struct Sensitive<'a> {
    seed: &'a [u8],
    key: &'a [u8],
}

impl<'a> Sensitive<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, Refusal> {
        let rest = bytes
            .strip_prefix(&KEYED_HASH)
            .ok_or("it is not an HMAC key")?;
        let (_authorization, rest) = sized(rest)?;
        let (seed, rest) = sized(rest)?;
        let key = all(rest)?;
        if !(1..=MAX_KEY).contains(&key.len()) {
            return Err("the key is empty or too long");
        }
        Ok(Self { seed, key })
    }
}

/// The `unique` field of a public area, which must be that of an HMAC key that may be imported.
fn unique(area: &[u8]) -> Result<&[u8], Refusal> {
    const WRONG: Refusal = "the public area is not that of an imported HMAC key";
    let rest = area.strip_prefix(&KEYED_HASH).ok_or(WRONG)?;
    let rest = rest.strip_prefix(&SHA256).ok_or(WRONG)?;
    let (attributes, rest) = rest.split_first_chunk().ok_or(WRONG)?;
    let attributes = u32::from_be_bytes(*attributes);
    if attributes & (FIXED_TPM | FIXED_PARENT | SIGN) != SIGN {
        return Err(WRONG);
    }
    let (_policy, rest) = sized(rest)?;
    let rest = rest.strip_prefix(&HMAC).ok_or(WRONG)?;
    let rest = rest.strip_prefix(&SHA256).ok_or(WRONG)?;
    all(rest)
}

/// Splits off a `TPM2B`. Returns its content and the remaining bytes.
fn sized(bytes: &[u8]) -> Result<(&[u8], &[u8]), Refusal> {
    let (length, rest) = bytes.split_first_chunk().ok_or("a length is cut off")?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
        .ok_or("a buffer is cut off")
}

/// The content of a `TPM2B` with no bytes after it.
fn all(bytes: &[u8]) -> Result<&[u8], Refusal> {
    match sized(bytes)? {
        (content, []) => Ok(content),
        _ => Err("there are bytes after the end"),
    }
}
