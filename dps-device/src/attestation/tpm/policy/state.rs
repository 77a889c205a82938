//! A measured state: the values of some PCRs.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};
use tss_esapi::structures::{PcrSelectSize, PcrSelectionList, PcrSlot};

use super::pcr::{Pcr, PcrBank};
use crate::attestation::tpm::connection::Connection;
use crate::attestation::tpm::error::TpmError;
use crate::attestation::tpm::handle::Tpm;
use crate::error::Error;

/// The number of PCRs of a PC. Source: TCG, *PC Client Platform TPM Profile*, chapter 4.6.
const PCRS: u8 = 24;

/// The values of some PCRs of one bank. It is not a secret.
///
/// The text form is `sha256:0=…,7=…` with hexadecimal values.
#[derive(Clone, PartialEq, Eq)]
pub struct MeasuredState {
    bank: PcrBank,
    values: BTreeMap<u8, Vec<u8>>,
}

impl Tpm {
    /// Reads PCRs: the measured state of this start of the device.
    ///
    /// # Errors
    /// [`InvalidConfiguration`](crate::ErrorKind::InvalidConfiguration) if a number is greater than 23, there is no number, or the TPM
    /// does not have this bank. [`Signing`](crate::ErrorKind::Signing) if the TPM fails.
    pub async fn measured_state(
        &self,
        bank: PcrBank,
        pcrs: impl IntoIterator<Item = u8>,
    ) -> Result<MeasuredState, Error> {
        let pcrs = pcrs.into_iter().collect::<Vec<_>>();
        check(&pcrs)?;
        self.run(move |connection| {
            let values = pcrs.into_iter().map(|index| {
                let pcr = Pcr { bank, index };
                Ok((index, read(connection, pcr)?))
            });
            let values = values.collect::<Result<_, TpmError>>()?;
            Ok(MeasuredState { bank, values })
        })
        .await
        .map_err(|error| error.into_error("the PCRs cannot be read"))
    }
}

impl MeasuredState {
    /// The PCRs, in ascending order.
    pub fn pcrs(&self) -> impl Iterator<Item = Pcr> {
        let bank = self.bank;
        self.values.keys().map(move |index| Pcr {
            bank,
            index: *index,
        })
    }

    /// The PCRs that have other values now, with a description of the change.
    pub(super) fn changes(
        &self,
        connection: &mut Connection<'_>,
    ) -> Result<Vec<(Pcr, String)>, TpmError> {
        let mut changes = Vec::new();
        for (pcr, expected) in self.pcrs().zip(self.values.values()) {
            let value = read(connection, pcr)?;
            if value != *expected {
                let (value, expected) = (hex(&value), hex(expected));
                changes.push((
                    pcr,
                    format!("{pcr} is {value}, and the policy requires {expected}"),
                ));
            }
        }
        Ok(changes)
    }

    /// The hash of the values in ascending order, `pcrDigest` in `TPM2_PolicyPCR`.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut hash = Sha256::new();
        for value in self.values.values() {
            hash.update(value);
        }
        hash.finalize().into()
    }

    pub(super) fn selection(&self) -> tss_esapi::Result<PcrSelectionList> {
        selection(self.bank, self.values.keys())
    }

    /// The `TPML_PCR_SELECTION` of the PCRs. Source: TCG, *TPM Library*, part 2, chapters 10.6.2 and 10.9.7.
    pub(super) fn selection_bytes(&self) -> Vec<u8> {
        let bits = self
            .values
            .keys()
            .fold(0_u32, |bits, index| bits | 1 << index);
        let [first, second, third, _] = bits.to_le_bytes();
        let mut bytes = 1_u32.to_be_bytes().to_vec();
        bytes.extend(self.bank.number().to_be_bytes());
        bytes.extend([3, first, second, third]);
        bytes
    }
}

impl fmt::Display for MeasuredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.bank)?;
        for (number, (index, value)) in self.values.iter().enumerate() {
            let separator = if number == 0 { ':' } else { ',' };
            write!(f, "{separator}{index}={}", hex(value))?;
        }
        Ok(())
    }
}

impl fmt::Debug for MeasuredState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MeasuredState({self})")
    }
}

impl FromStr for MeasuredState {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let invalid = || {
            Error::configuration(format!(
                "{text:?} is not a valid measured state: it has the form sha256:0=HEX,7=HEX"
            ))
        };
        let (bank, list) = text.split_once(':').ok_or_else(invalid)?;
        let bank: PcrBank = bank.parse()?;
        let mut values = BTreeMap::new();
        for item in list.split(',') {
            let (index, value) = item.split_once('=').ok_or_else(invalid)?;
            let index = index.parse::<u8>().map_err(|_| invalid())?;
            let value = from_hex(value).ok_or_else(invalid)?;
            if value.len() != bank.length() || values.insert(index, value).is_some() {
                return Err(invalid());
            }
        }
        check(&values.keys().copied().collect::<Vec<_>>())?;
        Ok(Self { bank, values })
    }
}

fn check(pcrs: &[u8]) -> Result<(), Error> {
    match pcrs.iter().max() {
        Some(..PCRS) => Ok(()),
        Some(index) => Err(Error::configuration(format!(
            "{index} is not the number of a PCR: the numbers are 0 to 23"
        ))),
        None => Err(Error::configuration(
            "a measured state has at least one PCR",
        )),
    }
}

fn read(connection: &mut Connection<'_>, pcr: Pcr) -> Result<Vec<u8>, TpmError> {
    let (_, _, values) = connection.checked("TPM2_PCR_Read", |context| {
        context.pcr_read(selection(pcr.bank, [&pcr.index])?)
    })?;
    match values.value() {
        [value] => Ok(value.value().to_vec()),
        _ => Err(TpmError::configuration(format!(
            "the TPM has no {pcr}: the firmware has turned this bank off, or the TPM does not support it"
        ))),
    }
}

fn selection<'a>(
    bank: PcrBank,
    pcrs: impl IntoIterator<Item = &'a u8>,
) -> tss_esapi::Result<PcrSelectionList> {
    let slots = pcrs
        .into_iter()
        .map(|index| PcrSlot::try_from(1_u32 << index));
    let slots = slots.collect::<tss_esapi::Result<Vec<_>>>()?;
    PcrSelectionList::builder()
        .with_size_of_select(PcrSelectSize::ThreeOctets)
        .with_selection(bank.to_tss(), &slots)
        .build()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !digits || !text.len().is_multiple_of(2) {
        return None;
    }
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_form_is_read_and_written() {
        let (zero, one) = ("00".repeat(32), "0f".repeat(32));
        let state: MeasuredState = format!("sha256:7={one},0={zero}").parse().unwrap();
        assert_eq!(state.to_string(), format!("sha256:0={zero},7={one}"));
        let pcrs = state.pcrs().map(|pcr| pcr.to_string()).collect::<Vec<_>>();
        assert_eq!(
            pcrs,
            ["PCR 0 of the bank sha256", "PCR 7 of the bank sha256"]
        );
        // TPML_PCR_SELECTION: one selection, SHA-256, three bytes, the bits 0 and 7.
        assert_eq!(
            state.selection_bytes(),
            [0, 0, 0, 1, 0, 0x0b, 3, 0x81, 0, 0]
        );
    }

    #[test]
    fn an_invalid_text_is_refused() {
        let zero = "00".repeat(32);
        for text in [
            "",
            "sha256",
            "sha256:",
            &format!("sha1:0={zero}"),
            &format!("sha256:24={zero}"),
            &format!("sha256:256={zero}"),
            &format!("sha256:0={zero}00"),
            &format!("sha256:0={}", "+1".repeat(32)),
            &format!("sha384:0={zero}"),
            &format!("sha256:0={zero},0={zero}"),
            &format!("sha256:0={zero},"),
            "sha256:0",
        ] {
            let error = text.parse::<MeasuredState>().unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::InvalidConfiguration);
        }
    }

    proptest! {
        #[test]
        fn every_state_is_read_from_its_text(
            values in prop::collection::btree_map(0..24_u8, prop::collection::vec(any::<u8>(), 48), 1..24)
        ) {
            let state = MeasuredState { bank: PcrBank::Sha384, values };
            prop_assert_eq!(state.to_string().parse::<MeasuredState>().unwrap(), state);
        }

        #[test]
        fn no_text_panics(text in "(sha256:)?.{0,99}") {
            let _ = text.parse::<MeasuredState>();
        }
    }
}
