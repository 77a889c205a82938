//! Wraps a key so that only one TPM can use it.
//!
//! The TPM first opens a *credential* with its endorsement key, which contains the inner key. With that, and its storage
//! root key, it imports the *duplicate*: the key itself. Sources: TCG, *Trusted Platform Module Library*, part 1,
//! clauses 11.4.10 (KDFa), 23 (duplication) and 24 (credential protection), annex B.4 (OAEP); microsoft/TSS.MSR
//! `DrsServer.java`.

use aes::Aes128;
use cfb_mode::cipher::KeyIvInit;
use dps_types::SymmetricKey;
use dps_types::tpm::AuthenticationKey;
use getrandom::SysRng;
use hmac::{Hmac, KeyInit, Mac};
use rsa::Oaep;
use sha2::{Digest, Sha256};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::wrapping_key::WrappingKey;

const KEYED_HASH: u16 = 0x0008;
const HMAC: u16 = 0x0005;
const SHA256: u16 = 0x000b;
/// `sign`, `noDA`, `userWithAuth`. Not `fixedTPM`, because the key is made outside of the TPM.
const ATTRIBUTES: u32 = 0x0004_0440;
/// The policy of a key that may only be duplicated: `TPM2_PolicyCommandCode(TPM2_CC_Duplicate)`.
const POLICY: [u8; 32] = [
    0xbe, 0xf5, 0x6b, 0x8c, 0x1c, 0xc8, 0x4e, 0x11, 0xed, 0xd7, 0x17, 0x52, 0x8d, 0x2c, 0xd9, 0x93,
    0x56, 0xbd, 0x2b, 0xbf, 0x8f, 0x01, 0x52, 0x09, 0xc3, 0xf8, 0x4a, 0xee, 0xab, 0xa8, 0xe8, 0xa2,
];

/// The random parts of a wrapped key, except for the RSA padding.
#[derive(Zeroize, ZeroizeOnDrop)]
pub(super) struct Random {
    /// The inner key. Azure's C SDK requires AES-128.
    inner: [u8; 16],
    credential_seed: [u8; 32],
    duplicate_seed: [u8; 32],
    /// Hides the key in its public area.
    obfuscation: [u8; 32],
}

impl Random {
    #[expect(
        clippy::expect_used,
        reason = "without random numbers no key can be wrapped"
    )]
    pub(super) fn generate() -> Self {
        let mut random = Self {
            inner: [0; 16],
            credential_seed: [0; 32],
            duplicate_seed: [0; 32],
            obfuscation: [0; 32],
        };
        for part in [
            &mut random.inner[..],
            &mut random.credential_seed,
            &mut random.duplicate_seed,
            &mut random.obfuscation,
        ] {
            getrandom::fill(part).expect("the operating system provides random bytes");
        }
        random
    }
}

/// Wraps a key for the TPM with these two keys.
#[expect(
    clippy::expect_used,
    reason = "the lengths of all parts are known, and only the URI data is empty"
)]
pub(super) fn wrap(
    endorsement_key: &WrappingKey,
    storage_root_key: &WrappingKey,
    key: &SymmetricKey,
    random: &Random,
) -> AuthenticationKey {
    let credential = protect(
        &random.credential_seed,
        &storage_root_key.public.name(),
        sized(&random.inner),
    );
    let credential_secret = encrypt(endorsement_key, b"IDENTITY\0", &random.credential_seed);

    let public_area = public_area(key, random);
    let name = name(&public_area);
    let sensitive = sensitive(key, random);
    let mut inner = sized(
        &Sha256::new()
            .chain_update(&*sensitive)
            .chain_update(name)
            .finalize(),
    );
    inner.extend_from_slice(&sensitive);
    cfb(&random.inner, &mut inner);
    let duplicate = protect(&random.duplicate_seed, &name, inner);
    let duplicate_seed = encrypt(storage_root_key, b"DUPLICATE\0", &random.duplicate_seed);

    let parts = [
        credential,
        credential_secret,
        duplicate,
        duplicate_seed,
        public_area,
        // The URI data, which no known client reads.
        Vec::new(),
    ];
    AuthenticationKey::new(parts).expect("a valid wrapped key")
}

/// The `TPMT_PUBLIC` of the key.
fn public_area(key: &SymmetricKey, random: &Random) -> Vec<u8> {
    let unique = Sha256::new()
        .chain_update(random.obfuscation)
        .chain_update(key.as_bytes())
        .finalize();
    [
        &KEYED_HASH.to_be_bytes()[..],
        &SHA256.to_be_bytes(),
        &ATTRIBUTES.to_be_bytes(),
        &sized(&POLICY),
        &HMAC.to_be_bytes(),
        &SHA256.to_be_bytes(),
        &sized(&unique),
    ]
    .concat()
}

/// The `TPM2B_SENSITIVE` of the key: no authorization value, the obfuscation, the key.
fn sensitive(key: &SymmetricKey, random: &Random) -> Zeroizing<Vec<u8>> {
    let content = Zeroizing::new(
        [
            &KEYED_HASH.to_be_bytes()[..],
            &sized(&[]),
            &sized(&random.obfuscation),
            &sized(key.as_bytes()),
        ]
        .concat(),
    );
    sized(&content)
}

fn name(public_area: &[u8]) -> [u8; 34] {
    let mut name = [0; 34];
    name[..2].copy_from_slice(&SHA256.to_be_bytes());
    name[2..].copy_from_slice(&Sha256::digest(public_area));
    name
}

/// Encrypts with a key from the seed, for the object with this name, and prepends a check value.
fn protect(seed: &[u8; 32], name: &[u8], mut secret: Zeroizing<Vec<u8>>) -> Vec<u8> {
    let mut storage = Zeroizing::new([0; 16]);
    let block: &[u8; 32] = &kdf_a(seed, b"STORAGE", name, 128);
    storage.copy_from_slice(&block[..16]);
    cfb(&storage, &mut secret);
    let integrity = kdf_a(seed, b"INTEGRITY", &[], 256);
    let check = hmac(&*integrity, &[&secret, name]);
    [&sized(&*check)[..], &secret].concat()
}

/// The key derivation of TPMs, for at most 256 bits: the first block.
fn kdf_a(seed: &[u8; 32], label: &[u8], context: &[u8], bits: u32) -> Zeroizing<[u8; 32]> {
    let first = 1_u32.to_be_bytes();
    hmac(seed, &[&first, label, &[0], context, &bits.to_be_bytes()])
}

#[expect(clippy::expect_used, reason = "HMAC has no invalid length of a key")]
fn hmac(key: &[u8], data: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC accepts keys of any length");
    for part in data {
        mac.update(part);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

/// AES-128-CFB in place. Every key is used once, so that the initial value can be zero.
fn cfb(key: &[u8; 16], data: &mut [u8]) {
    cfb_mode::Encryptor::<Aes128>::new(key.into(), &[0; 16].into()).encrypt(data);
}

/// RSA-OAEP. The label has a zero at its end.
#[expect(
    clippy::expect_used,
    reason = "32 bytes fit into 2048 bits, the key was checked when it was read, and without random numbers nothing can be encrypted"
)]
fn encrypt(key: &WrappingKey, label: &[u8], secret: &[u8; 32]) -> Vec<u8> {
    let padding = Oaep::<Sha256>::new_with_label(label);
    let encrypted = key.rsa.encrypt(&mut SysRng, padding, secret);
    encrypted.expect("a message that fits")
}

/// A `TPM2B` of the content.
#[expect(clippy::expect_used, reason = "a key has at most 64 bytes")]
fn sized(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let length = u16::try_from(content.len()).expect("all content here is short");
    Zeroizing::new([&length.to_be_bytes()[..], content].concat())
}

#[cfg(test)]
pub(crate) mod tests {
    use dps_types::enrollment::TpmAttestation;
    use rsa::{BoxedUint, PrivateKey as RsaPrivateKey};

    use super::super::TpmKeys;
    use super::*;

    // A blob made by another program, which swtpm opened. Keys for this test alone.
    pub(in super::super) const ENDORSEMENT_KEY: &str = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEAhd/jHPPN1T7SDbuFkhsqoYwC8j050YSZHLdpCDUdVtD62Jzlr2/Ake7IW0Hl6vq3Y+Nxmt9aLfLBVXqavy/1obXJsjMzhbxZyb16inLcSZaJfG73FknlSj3hkuz6VUaNQou1rH1syoqxhcibzA+tbTtKt94f5l0bK5xKzssrN4CFfGF8kFtevJKAxHOFiIE7dmi9NThSFmG6xsd5/ttg1491+Jj/zU+upfjbQxB9KoxIHEwzOZag4T55oQMjvp8J8S/Pt4qkKIvGIa1cOLCmfPUxFisC/D+y4l5cNzxMVeAKoDsPwxWzlW5fpwkr8RnYkFLFAVjVporyXN+OxqZRKQ==";
    pub(in super::super) const STORAGE_ROOT_KEY: &str = "ARoAAQALAAMEcgAAAAYAgABDABAIAAAAAAABAJgAS825PRp/9QOqRlbTeW/LZHKRl3tEzjjq2Vw89exDn3/YeYlm8Wj91Eoal7MMJbdQk222G/8SJ2o/iOaOjVFCBpT2wgU4vpD8/2UXPIaqxMd5YXzJQbRUQNeUxA2W5D7k1wK/hiPp18KYuhbxQuIgC8pxTeQDubf2RqFXNHWQa71Rvw/ajxWNyYs4Qz26O7fAEbF8J0WMuv+L581R6mIoSsb0Ru0/bud4tKkmbrsSKyvBoD53RNGZxhNBgVrRDzPQ8cgeGcNrUZwUa2pyNLIwxUazI7GYIUtWvqUA6P+O4KQyw7Jw1TFp/rAP4YZ3VBwJ6kAcghoMHiiCJdfla8s=";
    const BLOB: &str = "ADQAIC+cdtGoFn6fWp1u6KKG4s4pLmnBaLGsj/7kjw8Zc0R94pU1Pl0b6Sy+jOHU7cNDcJmdAQAwtwMtxKGFz4hHfIXiRJWYIa4V+BPkjPNfEYp+5M2DQwFMefLonhZpL3SDdvnVPozfOr1wccTqSdKWF3bYZUWBryMm1EvMEr3c88RUaG/u0wh7Jqq6Q8H6tcJXRq/JSYGpXidDf5bSJjqRMuSwurPcLv51BdYTWfYQ61cddsBRoyJygMMHqGtf/snmOn1NawzjIbV/VFIBtWFRRcsyYSeXGBAkG4YjuY8bXuYJHKDohfJ/BR0J3umpOPoeQ1T62DC6CpoPPXcxgjqJrmbMh0/p/Ur2950FYY/QOCuWteeRLl71Fl2EAOj0+64M6xYxA2/G6WvK+hJnjRdMvXLGEjhdAI4AIOGKl9UZwe71+NI7Lm7JJpMAEtz0Ei9DnhzNE+ih1DkoiHN7FQ+AWQ7Dv8COhWZhRqbfSxO14U6tGsqCzZXBjWDEZnXZNj7eszi32INvjRyjyUxz0xsInN9ntyOV7qZr5vPxU9JEikO/cU/4H+nyxv58TAEA98bVyZvGQv0NdGCGRPY8EFOVssQt2WIZAQBLxi/G7tFhwdPmxzXtvHjA0SY0iteq91cz0wom/44Oiyd7bqHEr4vWWp/OusahWoWLPRAcV3KOtyM5+FoN60wvQkbgw7j+1f4xNHF68aS869X1N3NqgQjYxBHxd2VwmP8GpO59SDYxP26QBGVjH0zC7o9orQciX3kP1vmyB8SI8gM4PwgbsumBcc+89Mzwmu/ZPoBGJrCwVVlAOl7+214uUw8ctsmY0MYw3CiL3R3mE8GImgZtu4OoEWp2a+vpfriDMew78QcX3G3niSTs09XfSxi+kF+Ea+wheK4vQ/R2HsZ5EbCzN4WrbevR9LhBFEaLAQsCeYLlKXI9Aam6QWhtAFAACAALAAQEQAAgvvVrjBzIThHt1xdSjSzZk1a9K7+PAVIJw/hK7quo6KIABQALACBao++6ArFpHBpXwjUKxQhJVerKekRVpCuPMhcl7loORQAe3gUC480RjFLxPtwm0uL7OgkowwQxo+UHmVm1UWFy";
    const HMAC_KEY: [u8; 32] = [
        0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24,
        25, 26, 27, 28, 29, 30, 31,
    ];
    const INNER_KEY: [u8; 16] = [
        0x2b, 0x6e, 0x73, 0xa7, 0x16, 0x29, 0xc3, 0x09, 0x5e, 0x55, 0x0c, 0x53, 0xfc, 0xa7, 0xfa,
        0x08,
    ];
    const EK_P: &str = "bb06cb7a7d0c6203d1100cbb28d30d46bce82066048f4cee677367814176ddd33c67940207b19ba04de546fa7974a820b7bd301f0fed871e6fd995a936992b10670afb0f4dbe6a0e34c7379b6bd3359da6d24885d56330cca970ddce1a5d82f68692d08f347cfc49745fb460549f4237542d2ae1fac0ce633678a3bce20fba31";
    const EK_Q: &str = "b73f01595e99fae0cadb92d547d57f3c6f37b74124f91d5dec8379605063c4ce3f4c5aa4b06a81727b558464ed01302d166e9eb7f18e7a29b355601b86c2fb7c1e502f5f8727a50e1a17a4e09019584463ac2dcf8a63b47de3228ecc91918f45a3c4ccd7be79c27947c1a8bca67b983f1c1c07d7d74ea03b0e3d130a69885079";
    const SRK_P: &str = "c678b38961a008fd5f7962a71e43dd9759c3df0d5fbb588141bc76415cd67fd97d41abd0baae5d667718cca31e6dfe497d91d09e08052d40b61c95dccdc5e734a0531167a748ff12eb6eb95461a15e005769f19970f289da46d4d9596d905f69103f8a430a9f6d93297310351df032dd4437afe5437263300051947378d447a9";
    const SRK_Q: &str = "c40f54318d269c36a846bd5bc3b979b4a3e70e5a013a23eddd0dfec3adc3319c27cb124cbec5856a6acf29a3de6116723bbe808b897e284109c7f6e70675080fc250fa5754b2bb5ced7ecdaf609f5e38a2d6a4f9a6b716479be974a0d17357884ca49528ef585c6ba8e04db6a2f04f74d46c07aa1e1e6bf156c5a1ad341eb053";

    pub(crate) fn tpm_keys() -> TpmKeys {
        let mut shown = TpmAttestation::new(ENDORSEMENT_KEY);
        shown.storage_root_key = Some(STORAGE_ROOT_KEY.to_owned());
        TpmKeys::parse(&shown).expect("good keys")
    }

    /// Those of a TPM with the same endorsement key and another storage root key.
    pub(crate) fn other_tpm_keys() -> TpmKeys {
        let key = dps_types::tpm::TpmPublic::from_base64(STORAGE_ROOT_KEY).expect("a key");
        let mut bytes = key.as_bytes().to_vec();
        // Somewhere in the modulus.
        bytes[100] ^= 1;
        let key = dps_types::tpm::TpmPublic::parse(&bytes).expect("a key");
        let mut shown = TpmAttestation::new(ENDORSEMENT_KEY);
        shown.storage_root_key = Some(key.to_base64());
        TpmKeys::parse(&shown).expect("good keys")
    }

    /// The keys of a TPM with an endorsement key of its own for each number.
    pub(crate) fn tpm_keys_number(number: u16) -> TpmKeys {
        let key = dps_types::tpm::TpmPublic::from_base64(ENDORSEMENT_KEY).expect("a key");
        let mut bytes = key.as_bytes().to_vec();
        // Three bytes of the modulus. The last differs from the original.
        bytes[100..102].copy_from_slice(&number.to_be_bytes());
        bytes[102] ^= 0xff;
        let key = dps_types::tpm::TpmPublic::parse(&bytes).expect("a key");
        let mut shown = TpmAttestation::new(key.to_base64());
        shown.storage_root_key = Some(STORAGE_ROOT_KEY.to_owned());
        TpmKeys::parse(&shown).expect("good keys")
    }

    fn wrapping_keys() -> (WrappingKey, WrappingKey) {
        let key = |text: &str| {
            let public = dps_types::tpm::TpmPublic::from_base64(text).expect("a key");
            let modulus = BoxedUint::from_be_slice(public.modulus(), 2048).expect("2048 bits");
            let rsa = rsa::PublicKey::new(modulus, BoxedUint::from(65537_u64));
            WrappingKey {
                public,
                rsa: rsa.expect("a key"),
            }
        };
        (key(ENDORSEMENT_KEY), key(STORAGE_ROOT_KEY))
    }

    fn open(p: &str, q: &str, label: &[u8], secret: &[u8]) -> [u8; 32] {
        let prime = |hex: &str| {
            let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).expect("hex");
            let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(digit).collect();
            BoxedUint::from_be_slice(&bytes, 1024).expect("1024 bits")
        };
        let exponent = BoxedUint::from(65537_u64);
        let key = RsaPrivateKey::from_p_q(prime(p), prime(q), exponent).expect("a key");
        let seed = key.decrypt(Oaep::<Sha256>::new_with_label(label), secret);
        seed.expect("opened").try_into().expect("32 bytes")
    }

    /// The same random bytes result in the same blob, except for the RSA padding, which decrypts to the same.
    #[test]
    fn the_blob_agrees_with_another_implementation() {
        let blob = AuthenticationKey::from_base64(BLOB).expect("a blob");
        let open_credential =
            |blob: &AuthenticationKey| open(EK_P, EK_Q, b"IDENTITY\0", blob.credential_secret());
        let open_duplicate =
            |blob: &AuthenticationKey| open(SRK_P, SRK_Q, b"DUPLICATE\0", blob.duplicate_seed());
        let (credential_seed, duplicate_seed) = (open_credential(&blob), open_duplicate(&blob));
        let random = Random {
            inner: INNER_KEY,
            credential_seed,
            duplicate_seed,
            obfuscation: obfuscation(&blob, &duplicate_seed),
        };
        let key = SymmetricKey::from_bytes(HMAC_KEY).expect("a key");
        let (endorsement_key, storage_root_key) = wrapping_keys();
        let made = wrap(&endorsement_key, &storage_root_key, &key, &random);

        assert_eq!(made.credential(), blob.credential());
        assert_eq!(made.duplicate(), blob.duplicate());
        assert_eq!(made.public_area(), blob.public_area());
        assert_eq!(open_credential(&made), credential_seed);
        assert_eq!(open_duplicate(&made), duplicate_seed);
        assert_ne!(
            made.credential_secret(),
            blob.credential_secret(),
            "padded at random"
        );
        let sizes = [54, 258, 144, 258, 82, 2];
        assert_eq!(made.to_bytes().len(), sizes.iter().sum::<usize>());
        assert!(
            made.to_bytes().ends_with(&[0, 0]),
            "without URI data, but with its length"
        );
    }

    #[test]
    fn two_wrapped_keys_share_only_the_template_of_their_public_area() {
        let (endorsement_key, storage_root_key) = wrapping_keys();
        let key = SymmetricKey::from_bytes(HMAC_KEY).expect("a key");
        let wrap = || {
            wrap(
                &endorsement_key,
                &storage_root_key,
                &key,
                &Random::generate(),
            )
        };
        let (one, other) = (wrap(), wrap());
        assert_ne!(one.credential(), other.credential());
        assert_ne!(one.duplicate(), other.duplicate());
        let vector = AuthenticationKey::from_base64(BLOB).expect("a blob");
        let (template, unique) = one.public_area().split_at(48);
        assert_eq!(template, &vector.public_area()[..48]);
        assert_ne!(unique, &other.public_area()[48..]);
    }

    /// The obfuscation value that the other implementation used.
    fn obfuscation(blob: &AuthenticationKey, seed: &[u8; 32]) -> [u8; 32] {
        let mut sensitive = blob.duplicate()[34..].to_vec();
        let storage = kdf_a(seed, b"STORAGE", &name(blob.public_area()), 128);
        for key in [storage.first_chunk().expect("longer"), &INNER_KEY] {
            cfb_mode::Decryptor::<Aes128>::new(key.into(), &[0; 16].into()).decrypt(&mut sensitive);
        }
        // The inner check value, the length of it all, the type, no authorization value, a length.
        sensitive[34 + 2 + 2 + 2 + 2..][..32]
            .try_into()
            .expect("32 bytes")
    }
}
