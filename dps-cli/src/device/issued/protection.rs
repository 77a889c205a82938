//! The options that protect a new key in a TPM: an authorization value, and a policy for the measured state of the device.

use clap::Args;

#[cfg(feature = "tpm")]
use crate::failure::Result;
#[cfg(feature = "tpm")]
use crate::hardware;
use crate::input::InputFile;

/// The protection of the new keys in the TPM. Each use of the keys requires the same options.
#[derive(Args)]
#[cfg_attr(not(feature = "tpm"), allow(dead_code, reason = "no TPM"))]
pub(super) struct KeyProtection {
    /// File with the authorization value of the new keys in the TPM, at most 32 bytes; - for stdin. Without it, the variable
    /// DPS_NEW_KEY_AUTH; without both, the value is empty
    #[arg(long, value_name = "FILE", requires = "new_key_tpm")]
    new_key_auth_file: Option<InputFile>,
    /// Let the TPM use the new keys only in the measured state of this file, which `dps key measure` writes
    #[arg(long, value_name = "FILE", requires = "new_key_tpm")]
    new_key_state: Option<InputFile>,
    /// Let the TPM use the new keys only in the measured states that an authority has approved: file with its public key on P-256,
    /// in PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "new_key_approval",
        conflicts_with = "new_key_state"
    )]
    new_key_authority: Option<InputFile>,
    /// File with an approval of the authority, which `dps key approve` writes; repeat it for several
    #[arg(long, value_name = "FILE", requires_all = ["new_key_authority", "new_key_tpm"])]
    new_key_approval: Vec<InputFile>,
}

#[cfg(feature = "tpm")]
impl KeyProtection {
    /// The source whose keys have this protection.
    pub(super) fn apply(
        &self,
        source: dps_device::certificate::TpmKeySource,
    ) -> Result<dps_device::certificate::TpmKeySource> {
        let file = self.new_key_auth_file.as_ref();
        let source = match hardware::auth_value(file, "DPS_NEW_KEY_AUTH")? {
            Some(auth) => source.with_auth(auth),
            None => source,
        };
        let (state, authority) = (&self.new_key_state, &self.new_key_authority);
        let approvals = &self.new_key_approval;
        let policy = hardware::pcr_policy(state.as_ref(), authority.as_ref(), approvals)?;
        Ok(match policy {
            Some(policy) => source.with_pcr_policy(policy),
            None => source,
        })
    }
}
