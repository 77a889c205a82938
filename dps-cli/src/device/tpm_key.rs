//! The options that the use of the key of `--tpm-key` requires: its authorization value, and its policy for the measured state.

use clap::Args;

#[cfg(feature = "tpm")]
use crate::failure::Result;
#[cfg(feature = "tpm")]
use crate::hardware;
use crate::input::InputFile;

/// The authorization value and the policy with which the key was created.
#[derive(Args)]
#[cfg_attr(not(feature = "tpm"), allow(dead_code, reason = "no TPM"))]
pub(crate) struct TpmKeyAccess {
    /// File with the authorization value of the key of --tpm-key, at most 32 bytes; - for stdin. Without it, the variable
    /// DPS_TPM_KEY_AUTH; without both, the value is empty
    #[arg(long, value_name = "FILE", requires = "tpm_key")]
    tpm_key_auth_file: Option<InputFile>,
    /// File with the measured state to which the key of --tpm-key is bound, as `dps key measure` has written it
    #[arg(long, value_name = "FILE", requires = "tpm_key")]
    tpm_key_state: Option<InputFile>,
    /// File with the public key of the authority to whose approved states the key of --tpm-key is bound, on P-256, in PEM
    #[arg(
        long,
        value_name = "FILE",
        requires = "tpm_key_approval",
        conflicts_with = "tpm_key_state"
    )]
    tpm_key_authority: Option<InputFile>,
    /// File with an approval of the authority, which `dps key approve` writes; repeat it for several
    #[arg(long, value_name = "FILE", requires_all = ["tpm_key_authority", "tpm_key"])]
    tpm_key_approval: Vec<InputFile>,
}

#[cfg(feature = "tpm")]
impl TpmKeyAccess {
    /// The key that is opened with this value and this policy.
    pub(super) fn apply(
        &self,
        key: dps_device::tpm::KeyPairOptions,
    ) -> Result<dps_device::tpm::KeyPairOptions> {
        let file = self.tpm_key_auth_file.as_ref();
        let key = match hardware::auth_value(file, "DPS_TPM_KEY_AUTH")? {
            Some(auth) => key.with_auth(auth),
            None => key,
        };
        let (state, authority) = (&self.tpm_key_state, &self.tpm_key_authority);
        let approvals = &self.tpm_key_approval;
        let policy = hardware::pcr_policy(state.as_ref(), authority.as_ref(), approvals)?;
        Ok(match policy {
            Some(policy) => key.with_pcr_policy(policy),
            None => key,
        })
    }
}
