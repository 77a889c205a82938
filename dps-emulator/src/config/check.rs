//! Checks the options of an emulator when it starts.

use dps_types::{HubHostname, IdScope};

use super::{DEFAULT_HUB, DEFAULT_ID_SCOPE, EmulatorBuilder};
use crate::access::AccessPolicy;
use crate::allocate::{Latency, LinkedHub};
use crate::error::{Error, ErrorKind};
use crate::issuance::IssuingAuthority;

impl EmulatorBuilder {
    /// The id scope of the instance.
    pub(crate) fn chosen_id_scope(&self) -> Result<IdScope, Error> {
        match &self.id_scope {
            Some(id_scope) => Ok(id_scope.clone()),
            None => IdScope::new(DEFAULT_ID_SCOPE).map_err(|error| invalid(error.to_string())),
        }
    }

    /// The linked hubs, each once.
    pub(crate) fn chosen_hubs(&self) -> Result<Vec<LinkedHub>, Error> {
        let mut hubs = self.hubs.clone();
        if hubs.is_empty() {
            let default = HubHostname::new(DEFAULT_HUB);
            hubs.push(default.map_err(|error| invalid(error.to_string()))?.into());
        }
        for (index, hub) in hubs.iter().enumerate() {
            let hostname = hub.hostname();
            if hubs.iter().take(index).any(|it| it.hostname() == hostname) {
                return Err(invalid(format!("the hub {hostname} is linked twice")));
            }
        }
        let (count, limit) = (hubs.len(), self.limits.linked_hubs);
        match count as u64 > limit {
            true => Err(invalid(format!(
                "{count} hubs are linked, and the limit is {limit}"
            ))),
            false => Ok(hubs),
        }
    }

    /// The policies, the owner's first.
    pub(crate) fn all_policies(&self) -> Result<Vec<AccessPolicy>, Error> {
        let mut all = vec![AccessPolicy::owner(self.service_key.clone())];
        for policy in &self.policies {
            let same = |other: &AccessPolicy| other.name().eq_ignore_ascii_case(policy.name());
            if all.iter().any(same) {
                let reason = format!("two policies have the name '{}'", policy.name());
                return Err(invalid(reason));
            }
            all.push(policy.clone());
        }
        Ok(all)
    }

    /// The latencies, all of linked hubs.
    pub(crate) fn checked_latencies(&self, hubs: &[LinkedHub]) -> Result<Vec<Latency>, Error> {
        let is_linked = |latency: &Latency| hubs.iter().any(|hub| hub.hostname == latency.hub);
        match self.latencies.iter().find(|latency| !is_linked(latency)) {
            Some(Latency { hub, .. }) => Err(invalid(format!(
                "a latency is set for the hub {hub}, which is not linked"
            ))),
            None => Ok(self.latencies.clone()),
        }
    }

    /// The certificate authorities, each once in its namespace. A certificate authority has one policy.
    pub(crate) fn checked_authorities(&self) -> Result<Vec<IssuingAuthority>, Error> {
        let all = &self.certificate_authorities;
        for (index, authority) in all.iter().enumerate() {
            if all.iter().take(index).any(|other| other.is_same(authority)) {
                return Err(invalid(format!(
                    "the certificate authority {authority} is configured twice: it has one policy"
                )));
            }
        }
        Ok(all.clone())
    }

    pub(crate) fn check_verified_cas(&self) -> Result<(), Error> {
        let (count, limit) = (self.verified_cas.len(), self.limits.ca_certificates);
        match count as u64 > limit {
            true => Err(invalid(format!(
                "{count} CA certificates are configured, and the limit is {limit}"
            ))),
            false => Ok(()),
        }
    }
}

pub(crate) fn invalid(reason: String) -> Error {
    Error::new(ErrorKind::Configuration, reason)
}
