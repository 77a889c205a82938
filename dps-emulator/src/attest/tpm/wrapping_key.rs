//! An RSA key of a TPM, checked for its role.

use std::fmt;

use dps_types::tpm::TpmPublic;
use rsa::{BoxedUint, PublicKey as RsaPublicKey};

/// `TPMA_OBJECT`: the key was made in its TPM and never leaves it.
const MADE_IN_TPM: u32 = 1 << 1 | 1 << 4 | 1 << 5;

/// An RSA key of a TPM that encrypts secrets for it.
#[derive(Clone)]
pub(super) struct WrappingKey {
    pub(super) public: TpmPublic,
    pub(super) rsa: RsaPublicKey,
}

impl WrappingKey {
    pub(super) fn new(text: &str, role: u32) -> Result<Self, String> {
        let public = TpmPublic::from_base64(text).map_err(|error| error.to_string())?;
        let required = MADE_IN_TPM | role;
        if public.attributes() & required != required {
            return Err("its attributes are not those of a key for this role".to_owned());
        }
        let modulus = BoxedUint::from_be_slice(public.modulus(), 2048);
        let rsa = modulus
            .ok()
            .and_then(|modulus| RsaPublicKey::new(modulus, BoxedUint::from(65537_u64)).ok())
            .ok_or("its modulus is not a valid RSA modulus")?;
        Ok(Self { public, rsa })
    }
}

impl PartialEq for WrappingKey {
    fn eq(&self, other: &Self) -> bool {
        self.public == other.public
    }
}

impl Eq for WrappingKey {}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.public.fmt(f)
    }
}
