//! Authorization values of a TPM, with the length that the TPM accepts.

use std::fmt;

use zeroize::Zeroizing;

use crate::error::Error;

/// The authorization value of a key: at most 32 bytes, because the keys of this crate have names with SHA-256.
///
/// Source: TCG, *TPM Library*, part 1, chapter 19.6.4 (authorization values): a value is not longer than the digest of the algorithm
/// of the object's name.
pub type KeyAuth = AuthValue<32>;

/// The authorization value of a hierarchy: at most 64 bytes. Many TPMs accept 32 or 48 only.
///
/// Source: TCG, *TPM Library*, part 3, `TPM2_HierarchyChangeAuth`.
pub type HierarchyAuth = AuthValue<64>;

/// An authorization value of at most `MAX` bytes. Debug does not show it, and it is wiped when it is dropped. The default is empty.
///
/// ```
/// use dps_device::tpm::KeyAuth;
///
/// assert!(KeyAuth::new("a secret of the device").is_ok());
/// assert!(KeyAuth::new([7; 33]).is_err());
/// ```
#[derive(Clone)]
pub struct AuthValue<const MAX: usize>(Zeroizing<Vec<u8>>);

impl<const MAX: usize> AuthValue<MAX> {
    /// The maximum length in bytes.
    pub const MAX_BYTES: usize = MAX;

    /// The value with these bytes.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if it is too long.
    pub fn new(value: impl AsRef<[u8]>) -> Result<Self, Error> {
        let value = value.as_ref();
        match value.len() <= MAX {
            true => Ok(Self(Zeroizing::new(value.to_vec()))),
            false => Err(Error::configuration(format!(
                "an authorization value of the TPM has {} bytes: at most {MAX} are possible",
                value.len()
            ))),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<const MAX: usize> Default for AuthValue<MAX> {
    fn default() -> Self {
        Self(Zeroizing::default())
    }
}

impl<const MAX: usize> fmt::Debug for AuthValue<MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthValue(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_has_the_length_that_a_tpm_accepts() {
        for length in [0, 1, 32] {
            let value = KeyAuth::new(vec![7; length]).unwrap();
            assert_eq!(value.as_bytes().len(), length);
            assert_eq!(value.is_empty(), length == 0);
        }
        HierarchyAuth::new([7; 64]).unwrap();
        for error in [
            KeyAuth::new([7; 33]).unwrap_err(),
            HierarchyAuth::new([7; 65]).unwrap_err(),
        ] {
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains("at most"), "{error}");
        }
        assert!(!format!("{:?}", KeyAuth::new("hunter2").unwrap()).contains("hunter2"));
    }
}
