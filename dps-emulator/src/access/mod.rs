//! Who may do what at the service endpoint: shared access policies with their keys and permissions, and Entra tokens by role.
//!
//! Source: azure-docs `iot-dps/how-to-control-access.md` (policies), `concepts-control-access-dps-azure-ad.md` (roles). Like
//! the IoT hub, the service has one answer for whoever it does not let in, 401002: the emulator's log says why.

mod act;
mod bearer;
mod keys;
mod permission;
mod policy;

use std::time::SystemTime;

use dps_types::SymmetricKey;
use dps_types::protocol::decode;
use dps_types::sas::SasToken;

pub(crate) use act::Act;
pub(crate) use bearer::BearerToken;
pub use bearer::EntraRole;
pub use permission::Permission;
pub use policy::AccessPolicy;
pub(crate) use policy::{OWNER, Policy};

use crate::service_error::ServiceError;

/// Everybody whom the service endpoint knows.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) policies: Vec<Policy>,
    pub(crate) bearer_tokens: Vec<BearerToken>,
    /// The names that a token may claim.
    pub(crate) hosts: Vec<String>,
}

impl Access {
    /// The primary key of the first policy, the owner's.
    pub(crate) fn owner_key(&self) -> &SymmetricKey {
        &self.policies[0].keys[0]
    }

    /// Checks the `Authorization` header of a request to `path`: who it is, and whether they may.
    pub(crate) fn authorize(
        &self,
        authorization: Option<&str>,
        path: &str,
        act: Act,
        now: SystemTime,
    ) -> Result<(), ServiceError> {
        let text = authorization.unwrap_or_default();
        let judged = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.bearer(token.trim(), act)
            }
            _ => self.policy(text, path, act, now),
        };
        judged.map_err(|reason| {
            tracing::info!(%act, reason, "an operator is refused");
            ServiceError::unauthorized()
        })
    }

    fn bearer(&self, token: &str, act: Act) -> Result<(), &'static str> {
        let known = self
            .bearer_tokens
            .iter()
            .find(|known| known.is(token))
            .ok_or("the bearer token is not one that was configured")?;
        match known.role().may(act) {
            true => Ok(()),
            false => Err("the role of the bearer token does not allow it"),
        }
    }

    /// Checks a shared access signature: policy, claimed host and path, expiry, signature, permission.
    fn policy(
        &self,
        text: &str,
        path: &str,
        act: Act,
        now: SystemTime,
    ) -> Result<(), &'static str> {
        let token: SasToken = text
            .parse()
            .map_err(|_| "there is no shared access signature")?;
        let policy = token
            .policy()
            .and_then(|name| self.policies.iter().find(|policy| policy.is_named(name)))
            .ok_or("the token names no policy (skn) of this instance")?;
        if !self.covers(&token, path) {
            Err("the token claims another host or path (sr)")
        } else if token.expires_at() < now {
            Err("the token has expired (se)")
        } else if !policy.keys.iter().any(|key| token.verify(key)) {
            Err("neither key of the policy made the token's signature (sig)")
        } else if !policy.may(act) {
            Err("the policy has not the permission")
        } else {
            Ok(())
        }
    }

    /// The claim is to a host of ours, with or without a port, or to a path below it that leads to what is asked for.
    fn covers(&self, token: &SasToken, path: &str) -> bool {
        let resource = token.resource();
        let authority = resource.split('/').next().unwrap_or_default();
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let ours = self
            .hosts
            .iter()
            .any(|ours| ours.eq_ignore_ascii_case(host));
        ours && decode(path).is_some_and(|path| token.covers(&format!("{authority}{path}")))
    }
}
