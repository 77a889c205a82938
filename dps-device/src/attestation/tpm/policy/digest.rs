//! The digest of a policy, as the TPM computes it while the commands of the policy run.

use sha2::{Digest as _, Sha256};

use super::state::MeasuredState;

// TCG, TPM Library, part 2, chapter 6.5.2.
const POLICY_AUTHORIZE: u32 = 0x0000_016a;
const POLICY_AUTH_VALUE: u32 = 0x0000_016b;
const POLICY_PCR: u32 = 0x0000_017f;

#[derive(Default)]
pub(super) struct PolicyDigest([u8; 32]);

impl PolicyDigest {
    /// The digest after `TPM2_PolicyAuthorize` without a policy reference, which replaces what came before. Source: part 3, chapter 23.16.
    pub(super) fn authorized(authority: &[u8]) -> Self {
        let Self(digest) = Self::default().update(POLICY_AUTHORIZE, &[authority]);
        Self(Sha256::digest(digest).into())
    }

    /// Source: part 3, chapter 23.7.
    pub(super) fn pcr(self, state: &MeasuredState) -> Self {
        self.update(POLICY_PCR, &[&state.selection_bytes(), &state.digest()])
    }

    /// Source: part 3, chapter 23.17.
    pub(super) fn auth_value(self) -> Self {
        self.update(POLICY_AUTH_VALUE, &[])
    }

    pub(super) fn value(self) -> [u8; 32] {
        self.0
    }

    fn update(self, command: u32, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new()
            .chain_update(self.0)
            .chain_update(command.to_be_bytes());
        for part in parts {
            hash.update(part);
        }
        Self(hash.finalize().into())
    }
}

impl MeasuredState {
    /// The bytes that an authority signs to approve this state: the digest of the policy. See
    /// [`Approval::new`](super::Approval::new).
    pub fn message_to_approve(&self) -> [u8; 32] {
        PolicyDigest::default().pcr(self).value()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with `tpm2_policypcr` and `tpm2_policyauthvalue` of tpm2-tools 5.4, on zero values.
    #[test]
    fn the_digests_are_those_of_tpm2_tools() {
        let zero = "00".repeat(32);
        let state: MeasuredState = format!("sha256:16={zero},23={zero}").parse().unwrap();
        let pcr = PolicyDigest::default().pcr(&state);
        assert_eq!(hex(&pcr.0), PCR_16_23);
        assert_eq!(hex(&pcr.auth_value().value()), PCR_16_23_AUTH_VALUE);
    }

    const PCR_16_23: &str = "599a9cca81c171e404e4afc462e7415ee799c498b00ff6edb68d07de1dc47a20";
    const PCR_16_23_AUTH_VALUE: &str =
        "2c8606b3943c5e755c7f8bf0601e50e08451f73ef1c113d549528e15dd829fd1";

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
