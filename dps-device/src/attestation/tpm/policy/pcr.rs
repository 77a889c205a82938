//! A platform configuration register (PCR), and the bank that it is in.

use std::fmt;
use std::str::FromStr;

use tss_esapi::interface_types::algorithm::HashingAlgorithm;

use crate::error::Error;

/// The PCRs of one hash algorithm. A TPM has one or more banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PcrBank {
    /// SHA-256, which every TPM 2.0 of a PC has.
    Sha256,
    /// SHA-384.
    Sha384,
}

impl PcrBank {
    /// The length of a value, in bytes.
    pub(super) fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
        }
    }

    /// Source: TCG, *TPM Library*, part 2, chapter 6.3 (`TPM_ALG_ID`).
    pub(super) fn number(self) -> u16 {
        match self {
            Self::Sha256 => 0x000b,
            Self::Sha384 => 0x000c,
        }
    }

    pub(super) fn to_tss(self) -> HashingAlgorithm {
        match self {
            Self::Sha256 => HashingAlgorithm::Sha256,
            Self::Sha384 => HashingAlgorithm::Sha384,
        }
    }
}

impl fmt::Display for PcrBank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
        })
    }
}

impl FromStr for PcrBank {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "sha256" => Ok(Self::Sha256),
            "sha384" => Ok(Self::Sha384),
            _ => Err(Error::configuration(format!(
                "{text:?} is not a supported bank of PCRs: use sha256 or sha384"
            ))),
        }
    }
}

/// A PCR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Pcr {
    /// The bank.
    pub bank: PcrBank,
    /// The number, 0 to 23.
    pub index: u8,
}

impl fmt::Display for Pcr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PCR {} of the bank {}", self.index, self.bank)
    }
}
