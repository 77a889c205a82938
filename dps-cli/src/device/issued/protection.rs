//! The options that protect a new key in a TPM: an authorization value, and a policy for the measured state of the device.

use clap::Args;

#[cfg(feature = "tpm")]
use crate::failure::{Failure, Result};
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
        let auth = crate::hardware::auth_value(file, "DPS_NEW_KEY_AUTH")?;
        let source = match auth {
            Some(auth) => source.with_auth(auth),
            None => source,
        };
        Ok(match self.policy()? {
            Some(policy) => source.with_pcr_policy(policy),
            None => source,
        })
    }

    fn policy(&self) -> Result<Option<dps_device::tpm::PcrPolicy>> {
        use dps_device::tpm::{PcrPolicy, PolicyAuthority};

        use crate::input::{read, read_text};

        let about =
            |error: dps_device::Error, file: &InputFile| Failure::from(error).about(file.display());
        if let Some(file) = &self.new_key_state {
            let state = read_text(file)?.trim().parse();
            let state = state.map_err(|error| about(error, file))?;
            return Ok(Some(PcrPolicy::fixed(state)));
        }
        let Some(file) = &self.new_key_authority else {
            return Ok(None);
        };
        let authority = PolicyAuthority::from_public_key(&*read(file)?);
        let authority = authority.map_err(|error| about(error, file))?;
        let mut policy = PcrPolicy::authorized(authority);
        for file in &self.new_key_approval {
            let approval = read_text(file)?.trim().parse();
            policy = policy.with_approval(approval.map_err(|error| about(error, file))?);
        }
        Ok(Some(policy))
    }
}
