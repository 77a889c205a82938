//! The number of an NV index: a place in a TPM's memory for data.

use std::fmt;
use std::str::FromStr;

use tss_esapi::handles::NvIndexTpmHandle;

use crate::error::Error;

/// The number of an NV index, which holds data in the memory of a TPM: 0x01000000 to 0x01ffffff.
///
/// It is parsed from a hexadecimal number with `0x`, as tpm2-tools print it, or from a decimal number. The owner of a device uses
/// 0x01800000 to 0x01bfffff; the other ranges belong to the manufacturers and to the TCG.
///
/// Source: TCG, *Registry of Reserved TPM 2.0 Handles and Localities*, chapter 2.2.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NvIndex(u32);

impl NvIndex {
    /// 0x01800101, the default index of a [`StoredChain`](super::StoredChain).
    pub const CERTIFICATE_CHAIN: Self = Self(0x0180_0101);
    /// 0x01c00002, the certificate of the RSA endorsement key of 2048 bits that the TCG's template L-1 creates.
    ///
    /// Source: TCG, *EK Credential Profile*, chapter 2.2.1.4.
    pub const RSA_ENDORSEMENT_CERTIFICATE: Self = Self(0x01c0_0002);
    /// 0x01c0000a, the certificate of the P-256 endorsement key that the TCG's template L-2 creates. DPS does not use this key.
    ///
    /// Source: TCG, *EK Credential Profile*, chapter 2.2.1.4.
    pub const ECC_ENDORSEMENT_CERTIFICATE: Self = Self(0x01c0_000a);

    /// The index with this number.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if the number is not in the range.
    pub fn new(index: u32) -> Result<Self, Error> {
        match index {
            0x0100_0000..=0x01ff_ffff => Ok(Self(index)),
            _ => Err(Error::configuration(format!(
                "{index:#010x} is not an NV index: the range is 0x01000000 to 0x01ffffff"
            ))),
        }
    }

    /// The number of the index.
    pub fn value(self) -> u32 {
        self.0
    }

    pub(super) fn to_tss(self) -> tss_esapi::Result<NvIndexTpmHandle> {
        NvIndexTpmHandle::new(self.0)
    }
}

impl fmt::Display for NvIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#010x}", self.0)
    }
}

impl fmt::Debug for NvIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<u32> for NvIndex {
    type Error = Error;

    fn try_from(index: u32) -> Result<Self, Error> {
        Self::new(index)
    }
}

impl From<NvIndex> for u32 {
    fn from(index: NvIndex) -> Self {
        index.0
    }
}

impl FromStr for NvIndex {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let number = super::options::number(text).ok_or_else(|| {
            Error::configuration(format!(
                "{text:?} is not a valid NV index: it is a number such as 0x01800101"
            ))
        })?;
        Self::new(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_of_nv_indices_are_valid() {
        for (text, number) in [
            ("0x01000000", 0x0100_0000),
            ("0X1800101", 0x0180_0101),
            ("29360130", 0x01c0_0002),
            ("0x01ffffff", 0x01ff_ffff),
        ] {
            let index: NvIndex = text.parse().unwrap();
            assert_eq!(index.value(), number);
            assert_eq!(u32::from(index.to_tss().unwrap()), number);
        }
        for text in [
            "",
            "0x",
            "1800101",
            "0x00ffffff",
            "0x02000000",
            "0x81000101",
            "-1",
        ] {
            let error = text.parse::<NvIndex>().unwrap_err();
            assert_eq!(
                error.kind(),
                crate::ErrorKind::InvalidConfiguration,
                "{text}"
            );
        }
        assert_eq!(NvIndex::CERTIFICATE_CHAIN.to_string(), "0x01800101");
    }
}
