//! Encrypts a key for a TPM as DPS does. Source: TCG, *TPM Library*, part 1, clauses 23 and 24.

use aes::Aes128;
use cfb_mode::cipher::KeyIvInit;
use dps_device::attestation::TpmKeys;
use dps_types::tpm::{AuthenticationKey, TpmPublic};
use getrandom::SysRng;
use hmac::{Hmac, KeyInit, Mac};
use rsa::{BoxedUint, Oaep, PublicKey as RsaPublicKey};
use sha2::{Digest, Sha256};

const INNER: [u8; 16] = [0x11; 16];
const CREDENTIAL_SEED: [u8; 32] = [0x22; 32];
const DUPLICATE_SEED: [u8; 32] = [0x33; 32];
const OBFUSCATION: [u8; 32] = [0x44; 32];

/// The six parts of an `authenticationKey` for this TPM.
pub(crate) fn parts(tpm: &dyn TpmKeys, key: &[u8]) -> [Vec<u8>; 6] {
    let storage_root_key = tpm.storage_root_key();
    let unique = Sha256::new()
        .chain_update(OBFUSCATION)
        .chain_update(key)
        .finalize();
    let area = [
        // KEYEDHASH, SHA256, sign | noDA | userWithAuth, no policy, HMAC with SHA256.
        &[
            0x00, 0x08, 0x00, 0x0b, 0x00, 0x04, 0x04, 0x40, 0x00, 0x00, 0x00, 0x05, 0x00, 0x0b,
        ][..],
        &sized(&unique),
    ]
    .concat();
    let name = [&[0x00, 0x0b][..], &Sha256::digest(&area)].concat();
    let sensitive = sized(
        &[
            &[0x00, 0x08, 0x00, 0x00][..],
            &sized(&OBFUSCATION),
            &sized(key),
        ]
        .concat(),
    );
    let check = Sha256::new()
        .chain_update(&sensitive)
        .chain_update(&name)
        .finalize();
    let mut inner = [sized(&check), sensitive].concat();
    cfb(&INNER, &mut inner);
    [
        protect(&CREDENTIAL_SEED, &storage_root_key.name(), sized(&INNER)),
        encrypt(tpm.endorsement_key(), b"IDENTITY\0", &CREDENTIAL_SEED),
        protect(&DUPLICATE_SEED, &name, inner),
        encrypt(storage_root_key, b"DUPLICATE\0", &DUPLICATE_SEED),
        area,
        b"anything".to_vec(),
    ]
}

pub(crate) fn wrap(tpm: &dyn TpmKeys, key: &[u8]) -> AuthenticationKey {
    AuthenticationKey::new(parts(tpm, key)).unwrap()
}

/// HMAC-SHA256 in software.
pub(crate) fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    Hmac::<Sha256>::new_from_slice(key)
        .unwrap()
        .chain_update(data)
        .finalize()
        .into_bytes()
        .into()
}

fn protect(seed: &[u8], name: &[u8], mut secret: Vec<u8>) -> Vec<u8> {
    let storage = kdf(seed, b"STORAGE", name, 128);
    cfb(storage.first_chunk().unwrap(), &mut secret);
    let check = hmac(
        &kdf(seed, b"INTEGRITY", &[], 256),
        &[&secret, name].concat(),
    );
    [sized(&check), secret].concat()
}

fn kdf(seed: &[u8], label: &[u8], context: &[u8], bits: u32) -> [u8; 32] {
    hmac(
        seed,
        &[
            &1_u32.to_be_bytes()[..],
            label,
            &[0],
            context,
            &bits.to_be_bytes(),
        ]
        .concat(),
    )
}

fn encrypt(key: &TpmPublic, label: &[u8], secret: &[u8]) -> Vec<u8> {
    let modulus = BoxedUint::from_be_slice(key.modulus(), 2048).unwrap();
    let key = RsaPublicKey::new(modulus, BoxedUint::from(65537_u32)).unwrap();
    let padding = Oaep::<Sha256>::new_with_label(label);
    key.encrypt(&mut SysRng, padding, secret).unwrap()
}

fn cfb(key: &[u8; 16], data: &mut [u8]) {
    cfb_mode::Encryptor::<Aes128>::new(key.into(), &[0; 16].into()).encrypt(data);
}

fn sized(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap();
    [&length.to_be_bytes()[..], content].concat()
}
