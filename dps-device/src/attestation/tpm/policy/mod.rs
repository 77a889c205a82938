//! A policy for a key pair: the TPM signs with it only while its PCRs have certain values.
//!
//! Sources: TCG, *TPM Library*, part 1, chapter 19.7 (enhanced authorization); part 3, chapter 23 (`TPM2_PolicyPCR`,
//! `TPM2_PolicyAuthorize`, `TPM2_PolicyAuthValue`).

mod authority;
mod digest;
mod pcr;
mod state;

pub use authority::{Approval, PolicyAuthority};
pub use pcr::{Pcr, PcrBank};
pub use state::MeasuredState;

use tss_esapi::interface_types::session_handles::PolicySession;
use tss_esapi::structures::{Digest, Nonce};

use super::connection::Connection;
use super::error::TpmError;
use digest::PolicyDigest;

/// A policy for a [`TpmKeyPair`](super::TpmKeyPair): the TPM signs with the key only in a measured state.
///
/// Firmware and boot loaders extend the PCRs with the hash of each program that they start, so that another program leads to other
/// values. A key pair without a policy is usable in every state.
///
/// ```no_run
/// # async fn create(public_key: &[u8], approval: &str) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_device::tpm::{KeyKind, PcrBank, PcrPolicy, PolicyAuthority, Tpm, TpmOptions};
///
/// let tpm = Tpm::open(TpmOptions::default()).await?;
/// let state = tpm.measured_state(PcrBank::Sha256, [0, 2, 4, 7]).await?;
/// // For one state, which cannot be changed later:
/// let policy = PcrPolicy::fixed(state);
/// let key = tpm.key_pair().with_pcr_policy(policy).create(KeyKind::P256).await?;
///
/// // For every state that an authority has signed, so that the device can be updated:
/// let authority = PolicyAuthority::from_public_key(public_key)?;
/// let policy = PcrPolicy::authorized(authority).with_approval(approval.parse()?);
/// let key = tpm.key_pair().with_pcr_policy(policy).open().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct PcrPolicy(Kind);

#[derive(Debug, Clone)]
enum Kind {
    Fixed(MeasuredState),
    Authorized(PolicyAuthority, Vec<Approval>),
}

impl PcrPolicy {
    /// A policy for one state. A key with it is useless after an update that changes a PCR.
    pub fn fixed(state: MeasuredState) -> Self {
        Self(Kind::Fixed(state))
    }

    /// A policy for each state that this authority approves. A use of the key requires an approval of the current state.
    pub fn authorized(authority: PolicyAuthority) -> Self {
        Self(Kind::Authorized(authority, Vec::new()))
    }

    /// Adds an approval, which is used in its state. A fixed policy has no approvals and ignores it.
    #[must_use]
    pub fn with_approval(mut self, approval: Approval) -> Self {
        if let Kind::Authorized(_, approvals) = &mut self.0 {
            approvals.push(approval);
        }
        self
    }

    /// The `authPolicy` of a key with this policy.
    pub(super) fn digest(&self, has_auth: bool) -> Result<[u8; 32], TpmError> {
        let state = match &self.0 {
            Kind::Fixed(state) => PolicyDigest::default().pcr(state),
            Kind::Authorized(authority, _) => PolicyDigest::authorized(&authority.name()?),
        };
        let policy = match has_auth {
            true => state.auth_value(),
            false => state,
        };
        Ok(policy.value())
    }

    /// Checks that the policy allows the current state, and that the authority has signed its approval.
    pub(super) fn check(&self, connection: &mut Connection<'_>) -> Result<(), TpmError> {
        let (state, approval) = self.current(connection)?;
        let Some((authority, approval)) = approval else {
            return Ok(());
        };
        let approved = PolicyDigest::default().pcr(state).value();
        authority.verify(connection, &approved, approval).map(drop)
    }

    /// Runs the commands of the policy in a policy session.
    pub(super) fn satisfy(
        &self,
        connection: &mut Connection<'_>,
        session: PolicySession,
        has_auth: bool,
    ) -> Result<(), TpmError> {
        let (state, approval) = self.current(connection)?;
        let approved = PolicyDigest::default().pcr(state).value();
        // Before TPM2_PolicyPCR, because no PCR may be extended between that command and the use of the key.
        let verified = match approval {
            Some((authority, approval)) => Some(authority.verify(connection, &approved, approval)?),
            None => None,
        };
        connection.plain("TPM2_PolicyPCR", |context| {
            let digest = Digest::try_from(&state.digest()[..])?;
            context.policy_pcr(session, digest, state.selection()?)
        })?;
        if let Some((name, ticket)) = verified {
            connection.plain("TPM2_PolicyAuthorize", |context| {
                let approved = Digest::try_from(&approved[..])?;
                context.policy_authorize(session, approved, Nonce::default(), &name, ticket)
            })?;
        }
        match has_auth {
            true => connection.plain("TPM2_PolicyAuthValue", |context| {
                context.policy_auth_value(session)
            }),
            false => Ok(()),
        }
    }

    /// The state that the TPM is in, with its approval.
    #[expect(clippy::type_complexity, reason = "one use")]
    fn current(
        &self,
        connection: &mut Connection<'_>,
    ) -> Result<(&MeasuredState, Option<(&PolicyAuthority, &Approval)>), TpmError> {
        let (authority, approvals) = match &self.0 {
            Kind::Fixed(state) => {
                return match state.changes(connection)? {
                    changes if changes.is_empty() => Ok((state, None)),
                    changes => Err(TpmError::changed(changes)),
                };
            }
            Kind::Authorized(authority, approvals) => (authority, approvals),
        };
        let mut latest = None;
        for approval in approvals.iter().rev() {
            let changes = approval.state().changes(connection)?;
            if changes.is_empty() {
                return Ok((approval.state(), Some((authority, approval))));
            }
            latest.get_or_insert(changes);
        }
        Err(latest.map_or_else(
            || {
                TpmError::configuration(
                    "the policy has no approval of a measured state: let the authority sign the state of this device, and add \
                     the approval with `with_approval`",
                )
            },
            TpmError::changed,
        ))
    }
}
