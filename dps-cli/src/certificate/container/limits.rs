//! The limits of a PKCS#12 file, checked before a key is derived from its password: a small file may ask for hours of work, or for
//! the memory of the whole machine.
//!
//! Everything in the file that derives a key is counted. An encrypted part is decrypted when its own work is within the limits, and
//! then its content is counted.

use std::fmt;

use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockCipherDecrypt, BlockModeDecrypt, KeyInit, KeyIvInit};
use des::TdesEde3;
use pkcs5::pbes2;
use pkcs12::cms::content_info::ContentInfo;
use pkcs12::cms::encrypted_data::EncryptedData;
use pkcs12::kdf::{Pkcs12KeyType, derive_key_utf8};
use pkcs12::pbe_params::Pkcs12PbeParams;
use pkcs12::{AuthenticatedSafe, Pfx};
use rc2::Rc2;
use sha1::Sha1;
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier, OctetString};
use x509_cert::der::{Decode, Encode, Reader, SliceReader, Tag, Tagged};
use x509_cert::spki::AlgorithmIdentifierOwned;
use zeroize::Zeroizing;

/// The most iterations of all key derivations together. Firefox, which uses more than other programs, writes 1,200,000.
/// The limits for fuzzing are small, so that work that is not counted takes noticeably longer than counted work.
pub(super) const MAX_ITERATIONS: u64 = if cfg!(fuzzing) { 5_000 } else { 5_000_000 };
/// The most memory of one derivation with scrypt, in bytes.
pub(super) const MAX_MEMORY: u64 = if cfg!(fuzzing) { 1 << 20 } else { 64 << 20 };
/// The deepest nesting of the objects in the file.
const MAX_DEPTH: u32 = 24;

/// A limit that a PKCS#12 file exceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LimitExceeded {
    /// [`MAX_ITERATIONS`].
    Iterations(u64),
    /// [`MAX_MEMORY`].
    Memory(u64),
    /// [`MAX_DEPTH`].
    Depth,
}

impl fmt::Display for LimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Iterations(found) => write!(
                f,
                "the file asks for {found} iterations to derive its keys; at most {MAX_ITERATIONS} are accepted"
            ),
            Self::Memory(found) => write!(
                f,
                "the file asks for {found} bytes of memory to derive a key; at most {MAX_MEMORY} are accepted"
            ),
            Self::Depth => write!(f, "the objects are nested more than {MAX_DEPTH} deep"),
        }
    }
}

impl std::error::Error for LimitExceeded {}

/// Checks the limits. A part that cannot be read or decrypted costs nothing: the file is then refused for this reason.
pub(super) fn check(pfx: &[u8], password: &str) -> Result<(), LimitExceeded> {
    let mut work = Work::default();
    let Ok(pfx) = Pfx::from_der(pfx) else {
        return Ok(());
    };
    if let Some(mac) = &pfx.mac_data {
        work.add(mac.iterations.unsigned_abs().into())?;
    }
    let Ok(safes) = content(&pfx.auth_safe) else {
        return Ok(());
    };
    let Ok(safes) = AuthenticatedSafe::from_der(safes.as_bytes()) else {
        return Ok(());
    };
    for safe in &safes {
        if let Ok(plain) = content(safe) {
            work.count(plain.as_bytes(), 0)?;
        } else if let Ok(encrypted) = encrypted(safe) {
            let inner = &encrypted.enc_content_info;
            let algorithm = &inner.content_enc_alg;
            work.algorithm(algorithm)?;
            let Some(data) = &inner.encrypted_content else {
                continue;
            };
            if let Some(plain) = decrypt(algorithm, data.as_bytes(), password) {
                work.count(&plain, 0)?;
            }
        }
    }
    Ok(())
}

/// The iterations that were counted.
#[derive(Default)]
struct Work(u64);

impl Work {
    fn add(&mut self, iterations: u64) -> Result<(), LimitExceeded> {
        self.0 = self.0.saturating_add(iterations);
        match self.0 <= MAX_ITERATIONS {
            true => Ok(()),
            false => Err(LimitExceeded::Iterations(self.0)),
        }
    }

    /// Counts every algorithm in these objects, at any depth. An octet string may contain more objects.
    fn count(&mut self, objects: &[u8], depth: u32) -> Result<(), LimitExceeded> {
        if depth > MAX_DEPTH {
            return Err(LimitExceeded::Depth);
        }
        let Ok(mut reader) = SliceReader::new(objects) else {
            return Ok(());
        };
        while !reader.is_finished() {
            let Ok(object) = AnyRef::decode(&mut reader) else {
                return Ok(());
            };
            if let Ok(algorithm) = object.decode_as::<AlgorithmIdentifierOwned>() {
                self.algorithm(&algorithm)?;
            }
            let tag = object.tag();
            if tag == Tag::OctetString || tag.is_constructed() {
                self.count(object.value(), depth + 1)?;
            }
        }
        Ok(())
    }

    fn algorithm(&mut self, algorithm: &AlgorithmIdentifierOwned) -> Result<(), LimitExceeded> {
        if let Some(parameters) = pbes1(algorithm) {
            // One derivation for the key, and one for the initialization vector.
            return self.add(2 * u64::from(parameters.iterations.unsigned_abs()));
        }
        match pbes2(algorithm).map(|parameters| parameters.kdf) {
            Some(pbes2::Kdf::Pbkdf2(pbkdf2)) => self.add(pbkdf2.iteration_count.into()),
            Some(pbes2::Kdf::Scrypt(scrypt)) => {
                let blocks = scrypt
                    .cost_parameter
                    .saturating_mul(scrypt.block_size.into());
                let memory = blocks.saturating_mul(128);
                if memory > MAX_MEMORY {
                    return Err(LimitExceeded::Memory(memory));
                }
                self.add(blocks.saturating_mul(scrypt.parallelization.into()))
            }
            _ => Ok(()),
        }
    }
}

fn content(info: &ContentInfo) -> x509_cert::der::Result<OctetString> {
    info.content.decode_as::<OctetString>()
}

fn encrypted(info: &ContentInfo) -> x509_cert::der::Result<EncryptedData> {
    info.content.decode_as()
}

/// `pbeWithSHAAnd…` (RFC 7292, appendix C).
const PKCS12_PBE: &str = "1.2.840.113549.1.12.1.";
const TRIPLE_DES: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.3");
const RC2_40: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.12.1.6");
const PBES2: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.5.13");

fn pbes1(algorithm: &AlgorithmIdentifierOwned) -> Option<Pkcs12PbeParams> {
    if !algorithm.oid.to_string().starts_with(PKCS12_PBE) {
        return None;
    }
    algorithm.parameters.as_ref()?.decode_as().ok()
}

fn pbes2(algorithm: &AlgorithmIdentifierOwned) -> Option<pbes2::Parameters> {
    if algorithm.oid != PBES2 {
        return None;
    }
    let parameters = algorithm.parameters.as_ref()?.to_der().ok()?;
    pbes2::Parameters::from_der(&parameters).ok()
}

fn decrypt(
    algorithm: &AlgorithmIdentifierOwned,
    data: &[u8],
    password: &str,
) -> Option<Zeroizing<Vec<u8>>> {
    if let Some(parameters) = pbes2(algorithm) {
        let plain = parameters.decrypt(password.as_bytes(), data).ok()?;
        return Some(Zeroizing::new(plain));
    }
    let parameters = pbes1(algorithm)?;
    match algorithm.oid {
        TRIPLE_DES => decrypt_pbes1::<TdesEde3>(&parameters, data, password, 24),
        RC2_40 => decrypt_pbes1::<Rc2>(&parameters, data, password, 5),
        _ => None,
    }
}

fn decrypt_pbes1<C: KeyInit + BlockCipherDecrypt>(
    parameters: &Pkcs12PbeParams,
    data: &[u8],
    password: &str,
    key_length: usize,
) -> Option<Zeroizing<Vec<u8>>> {
    let derive = |kind, length| {
        let salt = parameters.salt.as_bytes();
        derive_key_utf8::<Sha1>(password, salt, kind, parameters.iterations, length).ok()
    };
    let key = Zeroizing::new(derive(Pkcs12KeyType::EncryptionKey, key_length)?);
    let vector = derive(Pkcs12KeyType::Iv, 8)?;
    let cipher = Decryptor::<C>::new_from_slices(&key, &vector).ok()?;
    let plain = cipher.decrypt_padded_vec::<Pkcs7>(data).ok()?;
    Some(Zeroizing::new(plain))
}

#[cfg(test)]
mod tests {
    use x509_cert::der::asn1::ContextSpecific;
    use x509_cert::der::{Any, TagMode, TagNumber};

    use super::*;

    const FIXTURE: &[u8] = include_bytes!("../../../tests/fixtures/device-password.pfx");
    const LEGACY: &[u8] = include_bytes!("../../../tests/fixtures/device-legacy.pfx");
    const MANY: &[u8] = include_bytes!("../../../tests/fixtures/hostile-iterations.pfx");
    const MEMORY: &[u8] = include_bytes!("../../../tests/fixtures/hostile-memory.pfx");
    const DATA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.1");
    const ENCRYPTED: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.7.6");

    /// The objects in the only part of a file that is not encrypted.
    fn objects(pfx: &[u8]) -> Vec<u8> {
        let pfx = Pfx::from_der(pfx).unwrap();
        let safes = content(&pfx.auth_safe).unwrap();
        let safes = AuthenticatedSafe::from_der(safes.as_bytes()).unwrap();
        content(&safes[0]).unwrap().as_bytes().to_vec()
    }

    /// A file without a MAC, with this part.
    fn file(safe: &ContentInfo) -> Vec<u8> {
        let safes = [safe.clone()].to_vec().to_der().unwrap();
        let pfx = Pfx {
            version: pkcs12::pfx::Version::V3,
            auth_safe: ContentInfo {
                content_type: DATA,
                content: Any::new(Tag::OctetString, safes).unwrap(),
            },
            mac_data: None,
        };
        pfx.to_der().unwrap()
    }

    /// A part that is encrypted with this algorithm.
    fn encrypted_part(algorithm: &AlgorithmIdentifierOwned, encrypted: Vec<u8>) -> ContentInfo {
        let content = OctetString::new(encrypted).unwrap();
        let content = ContextSpecific {
            tag_number: TagNumber(0),
            tag_mode: TagMode::Implicit,
            value: content,
        };
        let inner = [
            DATA.to_der().unwrap(),
            algorithm.to_der().unwrap(),
            content.to_der().unwrap(),
        ]
        .concat();
        let inner = Any::new(Tag::Sequence, inner).unwrap().to_der().unwrap();
        let whole = [0_u8.to_der().unwrap(), inner].concat();
        ContentInfo {
            content_type: ENCRYPTED,
            content: Any::new(Tag::Sequence, whole).unwrap(),
        }
    }

    #[test]
    fn the_files_of_common_programs_are_within_the_limits() {
        for file in [FIXTURE, LEGACY] {
            assert_eq!(check(file, "contoso"), Ok(()));
            assert_eq!(check(file, "wrong"), Ok(()));
        }
    }

    #[test]
    fn many_keys_with_few_iterations_each_are_refused() {
        assert_eq!(check(MANY, ""), Err(LimitExceeded::Iterations(5_400_000)));
    }

    #[test]
    fn a_derivation_with_much_memory_is_refused() {
        assert_eq!(check(MEMORY, ""), Err(LimitExceeded::Memory(1 << 30)));
    }

    #[test]
    fn the_iterations_of_the_mac_are_counted() {
        let mut pfx = Pfx::from_der(FIXTURE).unwrap();
        pfx.mac_data.as_mut().unwrap().iterations = i32::MAX;
        let exceeded = check(&pfx.to_der().unwrap(), "contoso").unwrap_err();
        assert_eq!(exceeded, LimitExceeded::Iterations(i32::MAX as u64));
    }

    #[test]
    fn keys_inside_an_encrypted_part_are_counted() {
        let objects = objects(MANY);
        let parameters =
            pbes2::Parameters::generate_pbkdf2_sha256_aes256cbc(1000, &[7; 8], [7; 16]).unwrap();
        let encrypted = parameters.encrypt("contoso", &objects).unwrap();
        let algorithm = AlgorithmIdentifierOwned {
            oid: PBES2,
            parameters: Some(Any::encode_from(&parameters).unwrap()),
        };
        let file = file(&encrypted_part(&algorithm, encrypted));
        let exceeded = check(&file, "contoso").unwrap_err();
        assert_eq!(exceeded, LimitExceeded::Iterations(5_401_000));
        // With another password the content is not readable for the program either.
        assert_eq!(check(&file, "wrong"), Ok(()));
    }

    #[test]
    fn keys_inside_a_part_with_the_old_encryption_are_counted() {
        use cbc::cipher::BlockModeEncrypt;

        let objects = objects(MANY);
        let parameters = Pkcs12PbeParams {
            salt: OctetString::new([7; 8]).unwrap(),
            iterations: 1000,
        };
        let derive =
            |kind, length| derive_key_utf8::<Sha1>("contoso", &[7; 8], kind, 1000, length).unwrap();
        let key = derive(Pkcs12KeyType::EncryptionKey, 24);
        let vector = derive(Pkcs12KeyType::Iv, 8);
        let cipher = cbc::Encryptor::<TdesEde3>::new_from_slices(&key, &vector).unwrap();
        let encrypted = cipher.encrypt_padded_vec::<Pkcs7>(&objects);
        let algorithm = AlgorithmIdentifierOwned {
            oid: TRIPLE_DES,
            parameters: Some(Any::encode_from(&parameters).unwrap()),
        };
        let file = file(&encrypted_part(&algorithm, encrypted));
        let exceeded = check(&file, "contoso").unwrap_err();
        assert_eq!(exceeded, LimitExceeded::Iterations(5_402_000));
    }

    #[test]
    fn deep_nesting_is_refused() {
        let mut objects = OctetString::new([]).unwrap().to_der().unwrap();
        for _ in 0..30 {
            objects = OctetString::new(objects).unwrap().to_der().unwrap();
        }
        let exceeded = Work::default().count(&objects, 0);
        assert_eq!(exceeded, Err(LimitExceeded::Depth));
    }
}
