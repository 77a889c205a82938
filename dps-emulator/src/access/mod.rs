//! Access control of the service API: shared access policies with their keys and permissions, and Entra tokens by role.
//!
//! Source: azure-docs `iot-dps/how-to-control-access.md` (policies), `concepts-control-access-dps-azure-ad.md` (roles). The
//! service refuses every caller with the same answer, 401002. The reason is for the emulator's log.

mod action;
mod bearer;
mod keys;
mod permission;
mod policy;

use std::time::SystemTime;

use dps_types::SymmetricKey;
use dps_types::protocol::decode;
use dps_types::sas::SasToken;

pub(crate) use action::ServiceAction;
pub(crate) use bearer::BearerToken;
pub use bearer::EntraRole;
pub(crate) use keys::OWNER;
pub use permission::Permission;
pub use policy::AccessPolicy;
pub(crate) use policy::{OWNER_PERMISSIONS, Policy};

use crate::attest::elapsed;
use crate::service_error::ServiceError;

/// The callers that the service API accepts.
#[derive(Debug)]
pub(crate) struct Access {
    pub(crate) policies: Vec<Policy>,
    pub(crate) bearer_tokens: Vec<BearerToken>,
    /// The host names that a token may be for.
    pub(crate) hosts: Vec<String>,
    /// Whether the shared access policies are refused, as the instance's property `disableLocalAuth` demands.
    pub(crate) local_auth_disabled: bool,
}

impl Access {
    /// The primary key of the first policy, `provisioningserviceowner`.
    #[expect(
        clippy::indexing_slicing,
        reason = "the policy of the owner is always the first"
    )]
    pub(crate) fn owner_key(&self) -> &SymmetricKey {
        &self.policies[0].keys[0]
    }

    /// Verifies the `Authorization` header of a request to `path`, and that the caller is allowed this action.
    ///
    /// # Errors
    /// 401002 with the reason.
    pub(crate) fn authorize(
        &self,
        authorization: Option<&str>,
        path: &str,
        action: ServiceAction,
        now: SystemTime,
    ) -> Result<(), ServiceError> {
        let text = authorization.unwrap_or_default();
        let checked = match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => {
                self.check_bearer(token.trim(), action)
            }
            _ if text.is_empty() => Err("the request has no Authorization header".to_owned()),
            _ if self.local_auth_disabled => Err(
                "shared access policies are disabled (disableLocalAuth): use a bearer token"
                    .to_owned(),
            ),
            _ => self.check_signature(text, path, action, now),
        };
        checked.map_err(|reason| ServiceError::unauthorized().with_reason(reason))
    }

    /// Whether the key of a policy signed the token.
    pub(crate) fn know_the_key_of(&self, token: &SasToken) -> bool {
        self.policies.iter().any(|policy| policy.signed(token))
    }

    fn check_bearer(&self, token: &str, action: ServiceAction) -> Result<(), String> {
        let mut known = self.bearer_tokens.iter();
        let Some(known) = known.find(|known| known.is(token)) else {
            let count = self.bearer_tokens.len();
            return Err(format!(
                "the bearer token is not one of the {count} that the emulator was started with; it cannot verify Azure's own"
            ));
        };
        match known.role().allows(action) {
            true => Ok(()),
            false => Err(format!(
                "the bearer token has the role {}, which does not allow to {action}",
                known.role().name()
            )),
        }
    }

    /// Checks a shared access signature: policy, host and path, expiry, signature, permission.
    fn check_signature(
        &self,
        text: &str,
        path: &str,
        action: ServiceAction,
        now: SystemTime,
    ) -> Result<(), String> {
        let token: SasToken = text.parse().map_err(|error| {
            format!("the Authorization header is neither a bearer token nor a shared access signature: {error}")
        })?;
        let Some(name) = token.policy() else {
            return Err("the token names no shared access policy (skn)".to_owned());
        };
        let Some(policy) = self.policies.iter().find(|policy| policy.is_named(name)) else {
            let names: Vec<&str> = self.policies.iter().map(|policy| &*policy.name).collect();
            return Err(format!(
                "the token names the policy (skn) '{name}'; the policies are {}",
                names.join(", ")
            ));
        };
        if !self.covers(&token, path) {
            return Err(format!(
                "the token is for the resource (sr) '{}'; the request is for '{path}' of one of the hosts {}",
                token.resource(),
                self.hosts.join(", ")
            ));
        }
        if token.expires_at() < now {
            let end = elapsed::relative(token.expires_at(), now);
            return Err(format!("the token ended {end}"));
        }
        if !policy.keys.iter().any(|key| token.verify(key)) {
            return Err(format!(
                "neither key of the policy '{name}' made the token's signature (sig)"
            ));
        }
        match policy.allows(action) {
            true => Ok(()),
            false => Err(format!(
                "the policy '{name}' has the permissions {}; to {action} requires {}",
                policy.permission_names(),
                action.permission()
            )),
        }
    }

    /// Returns true if the token is for one of the hosts, with or without a port, and for the path or one above it.
    fn covers(&self, token: &SasToken, path: &str) -> bool {
        let resource = token.resource();
        let authority = resource.split('/').next().unwrap_or_default();
        let host = authority
            .rsplit_once(':')
            .map_or(authority, |(host, _)| host);
        let is_known = self
            .hosts
            .iter()
            .any(|known| known.eq_ignore_ascii_case(host));
        is_known && decode(path).is_some_and(|path| token.covers(&format!("{authority}{path}")))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use dps_types::sas::SasTokenBuilder;

    use super::*;

    const NOW: u64 = 1_800_000_000;
    const PATH: &str = "/enrollments/dev-1";

    fn access() -> Access {
        let policy = |name: &str, permissions: &[Permission]| Policy {
            name: name.to_owned(),
            permissions: permissions.to_vec(),
            keys: [key(1), key(2)],
        };
        Access {
            policies: vec![
                policy(OWNER, &[Permission::EnrollmentWrite]),
                policy("reader", &[Permission::EnrollmentRead]),
            ],
            bearer_tokens: vec![BearerToken::new("known", EntraRole::DataReader)],
            hosts: vec!["localhost".to_owned()],
            local_auth_disabled: false,
        }
    }

    fn key(byte: u8) -> SymmetricKey {
        SymmetricKey::from_bytes([byte; 32]).unwrap()
    }

    fn token(resource: &str, policy: Option<&str>, expiry: u64, with: u8) -> String {
        let mut token = SasTokenBuilder::new(resource, expiry);
        if let Some(policy) = policy {
            token = token.policy(policy);
        }
        token.sign_with(&key(with)).reveal().to_string()
    }

    fn reason(authorization: Option<&str>) -> String {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        let action = ServiceAction::WriteEnrollments;
        let error = access()
            .authorize(authorization, PATH, action, now)
            .unwrap_err();
        assert_eq!((error.status(), error.message()), (401, "Unauthorized"));
        error.reason().to_owned()
    }

    #[test]
    fn each_refusal_has_its_reason_and_no_secret() {
        let owner = Some(OWNER);
        for (authorization, expected) in [
            (None, "no Authorization header"),
            (
                Some("Basic c2VjcmV0".to_owned()),
                "neither a bearer token nor",
            ),
            (Some("Bearer secret".to_owned()), "not one of the 1 that"),
            (
                Some("Bearer known".to_owned()),
                "role Device Provisioning Service Data Reader, which does not allow to write enrollments",
            ),
            (
                Some(token("localhost", None, NOW, 1)),
                "names no shared access policy",
            ),
            (
                Some(token("localhost", Some("writer"), NOW, 1)),
                "'writer'; the policies are provisioningserviceowner, reader",
            ),
            (
                Some(token("other.example", owner, NOW, 1)),
                "(sr) 'other.example'; the request is for '/enrollments/dev-1' of one of the hosts localhost",
            ),
            (
                Some(token("localhost", owner, NOW - 840, 1)),
                "the token ended 14 minutes ago (at 2027-01-15T07:46:00Z; it is 2027-01-15T08:00:00Z)",
            ),
            (
                Some(token("localhost", owner, NOW, 3)),
                "neither key of the policy",
            ),
            (
                Some(token("localhost", Some("reader"), NOW, 2)),
                "has the permissions EnrollmentRead; to write enrollments requires EnrollmentWrite",
            ),
        ] {
            let reason = reason(authorization.as_deref());
            assert!(reason.contains(expected), "{reason}");
            assert!(
                !reason.contains("secret") && !reason.contains("c2VjcmV0"),
                "{reason}"
            );
        }
    }

    #[test]
    fn a_valid_token_is_accepted() {
        let now = UNIX_EPOCH + Duration::from_secs(NOW);
        for authorization in [
            token("localhost:8443", Some(OWNER), NOW, 1),
            token(
                "localhost/enrollments",
                Some("ProvisioningServiceOwner"),
                NOW,
                2,
            ),
        ] {
            let action = ServiceAction::WriteEnrollments;
            assert_eq!(
                access().authorize(Some(&authorization), PATH, action, now),
                Ok(())
            );
        }
    }
}
