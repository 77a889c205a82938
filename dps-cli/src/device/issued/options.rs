//! The options that name the place of an issued certificate and its key pair: files, a PKCS#11 token, or a TPM.

use std::path::PathBuf;
use std::sync::Arc;

use clap::{ArgGroup, Args};
use dps_device::certificate::KeyKind;

use super::chain_file::ChainFile;
use super::files::IssuedFiles;
use super::hardware_keys::{ChainsWithKeys, HardwareKeys};
use super::next_to_keys::NextToKeys;
use super::place::IssuedPlace;
use super::protection::KeyProtection;
use crate::device::attestation::AttestationOptions;
use crate::failure::Result;
use crate::hardware::{self, USES_TPM};

/// The place of the issued certificate and its private key.
#[derive(Args)]
#[command(next_help_heading = "Issued certificate", group = ArgGroup::new("new_key_place"))]
pub(in crate::device) struct NewKeyOptions {
    /// Generate the key pair of the issued certificate, and write the private key to this file
    #[arg(
        long,
        value_name = "FILE",
        group = "new_key_place",
        requires = "certificate_out"
    )]
    new_key: Option<PathBuf>,
    /// Generate the key pair of the issued certificate in a PKCS#11 token, by a URI with an object. Two key pairs are used in turn,
    /// whose labels are the object followed by -1 and -2. The variable DPS_PIN contains the PIN. Requires the feature pkcs11
    #[arg(long, value_name = "URI", group = "new_key_place")]
    new_key_pkcs11: Option<String>,
    /// Generate the key pair of the issued certificate in the TPM of this machine, or in the one that the value names. Two key pairs
    /// are used in turn. Requires the feature tpm
    #[arg(long, value_name = "TCTI", num_args = 0..=1, default_missing_value = "", groups = ["new_key_place", USES_TPM])]
    new_key_tpm: Option<String>,
    /// First of the two handles of the key pairs in the TPM; 0x81000111 by default
    #[arg(long, value_name = "HANDLE", requires = "new_key_tpm")]
    new_key_handle: Option<String>,
    #[command(flatten)]
    protection: KeyProtection,
    /// File for the issued certificate and its issuers. With the same name as --new-key, one file contains all. Without it, a token
    /// stores them with the key, and a TPM in the NV index 0x01800111 for the handle 0x81000111
    #[arg(long, value_name = "FILE")]
    pub(in crate::device) certificate_out: Option<PathBuf>,
}

impl NewKeyOptions {
    /// The place that the options name. `None` if they name none.
    ///
    /// # Errors
    /// If the key of the attestation is at this place, because a new key would replace it.
    pub(in crate::device) async fn place(
        &self,
        kind: KeyKind,
        attestation: &AttestationOptions,
    ) -> Result<Option<IssuedPlace>> {
        if let Some(uri) = &self.new_key_pkcs11 {
            let place = self.in_token(uri, kind, attestation);
            return place.await.map(Some);
        }
        if let Some(tcti) = &self.new_key_tpm {
            let place = self.in_tpm(tcti, kind, attestation);
            return place.await.map(Some);
        }
        Ok(match (&self.new_key, &self.certificate_out) {
            (Some(key), Some(chain)) => {
                Some(IssuedPlace::files(IssuedFiles::new(key, chain), kind))
            }
            _ => None,
        })
    }

    /// The place of two keys in hardware: the chain is in the file, or next to the key.
    #[cfg_attr(
        not(any(feature = "tpm", feature = "pkcs11")),
        expect(dead_code, reason = "no hardware")
    )]
    fn with_keys<K: ChainsWithKeys + 'static>(&self, keys: K) -> IssuedPlace {
        let keys = HardwareKeys::new(Arc::new(keys));
        match &self.certificate_out {
            Some(file) => {
                let store = ChainFile::new(file, Arc::new(keys.clone()));
                IssuedPlace::hardware(keys, store).with_chain_file(file)
            }
            None => IssuedPlace::hardware(keys.clone(), NextToKeys(keys)),
        }
    }

    #[cfg(feature = "pkcs11")]
    async fn in_token(
        &self,
        uri: &str,
        kind: KeyKind,
        attestation: &AttestationOptions,
    ) -> Result<IssuedPlace> {
        let keys = super::token::KeysInToken::open(uri, kind).await?;
        if let Some(key) = &attestation.pkcs11 {
            keys.check_other(key)?;
        }
        Ok(self.with_keys(keys))
    }

    #[cfg(not(feature = "pkcs11"))]
    async fn in_token(&self, _: &str, _: KeyKind, _: &AttestationOptions) -> Result<IssuedPlace> {
        Err(hardware::missing_feature("pkcs11"))
    }

    #[cfg(feature = "tpm")]
    async fn in_tpm(
        &self,
        tcti: &str,
        kind: KeyKind,
        attestation: &AttestationOptions,
    ) -> Result<IssuedPlace> {
        use dps_device::certificate::TpmKeySource;

        use super::tpm::{KeysInTpm, check_hub_key, check_other, handles};

        let handles = handles(self.new_key_handle.as_deref())?;
        if let Some(key) = &attestation.tpm_key {
            check_other(handles, key)?;
        }
        if attestation.tpm.is_some() {
            check_hub_key(handles)?;
        }
        let has_file = self.certificate_out.is_some();
        let tpm = hardware::tpm(tcti, &attestation.tpm_access).await?;
        let source = TpmKeySource::new(tpm.clone(), handles, kind)?;
        let source = self.protection.apply(source)?;
        Ok(self.with_keys(KeysInTpm::new(tpm, handles, source, has_file)?))
    }

    #[cfg(not(feature = "tpm"))]
    async fn in_tpm(&self, _: &str, _: KeyKind, _: &AttestationOptions) -> Result<IssuedPlace> {
        let _ = (&self.new_key_handle, &self.protection);
        Err(hardware::missing_feature("tpm"))
    }
}
