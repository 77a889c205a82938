//! Certificates that DPS and the hubs issue to devices: the certificate authorities of the instance's namespaces.
//!
//! Source: `device.json` and `service.json` of api-version 2026-11-01; azure-docs, certificate management of Azure Device Registry.

mod authority;
mod choices;
mod config;
mod credential;
mod handle;
mod request;
mod revocation;

use std::sync::Arc;

use dps_types::{Clock, ErrorCode, RegistrationId};

#[cfg(fuzzing)]
pub(crate) use authority::fuzzing;
pub(crate) use choices::RENEWAL_LIFETIME;
pub(crate) use config::IssuerName;
pub use config::IssuingAuthority;
pub(crate) use credential::Credential;
pub use handle::IssuanceHandle;
pub(crate) use request::decode as decode_csr;

use crate::attest::PresentedChain;
use crate::certificate::{Certificate, RequestedKey};
use crate::error::Error;
use crate::fault::{FaultOutcome, Faults, Step};
use crate::service_error::{ServiceError, ServiceFailure};
use crate::state::Terms;
use crate::state::store::Store;
use authority::Authority;
use request::RequestRefused;

/// Issues certificates to devices.
#[derive(Debug)]
pub(crate) struct Issuance {
    authorities: Vec<Authority>,
    clock: Arc<dyn Clock>,
    faults: Faults,
}

/// A certificate request that the authority of the enrollment can answer.
#[derive(Debug)]
pub(crate) struct VerifiedRequest<'a> {
    authority: &'a Authority,
    key: RequestedKey,
}

impl Issuance {
    /// Reads the certificate authorities of an earlier run, and makes those that are new.
    pub(crate) async fn open(
        configured: Vec<IssuingAuthority>,
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        faults: Faults,
    ) -> Result<Self, Error> {
        let mut authorities = Vec::with_capacity(configured.len());
        for config in configured {
            authorities.push(Authority::open(config, Arc::clone(&store), clock.now()).await?);
        }
        Ok(Self {
            authorities,
            clock,
            faults,
        })
    }

    /// The authority that an enrollment names.
    ///
    /// # Errors
    /// 400004 if it names none, or one that does not exist.
    pub(crate) fn issuer(&self, terms: &Terms<'_>) -> Result<IssuerName, ServiceError> {
        let names = terms
            .namespace_name
            .zip(terms.certificate_authority_name)
            .zip(terms.certificate_policy_name);
        if let Some(((namespace, authority), policy)) = names {
            let name = IssuerName {
                namespace: namespace.clone(),
                authority: authority.clone(),
                policy: policy.clone(),
            };
            self.authority(&name)?;
            return Ok(name);
        }
        let Some(policy) = terms.credential_policy_name else {
            return Err(refused(
                "The csr cannot be answered: the enrollment does not name a certificate authority. Set namespaceName, certificateAuthorityName and certificatePolicyName.",
            ));
        };
        let mut known = self.authorities.iter().map(|it| &it.config.name);
        match known.find(|name| name.policy.as_str().eq_ignore_ascii_case(policy)) {
            Some(name) => Ok(name.clone()),
            None => Err(refused(format!(
                "The csr cannot be answered: the credential policy '{policy}' does not exist."
            ))),
        }
    }

    /// Checks a certificate request of a device before its registration begins.
    pub(crate) fn check(
        &self,
        csr: &str,
        registration_id: &RegistrationId,
        issuer: &IssuerName,
    ) -> Result<(), ServiceError> {
        let invalid = |reason: String| refused(format!("The csr is not valid: {reason}."));
        let der = request::decode(csr).map_err(invalid)?;
        match self.verify(&der, registration_id, issuer)? {
            Ok(_) => Ok(()),
            Err(RequestRefused { reason, .. }) => Err(invalid(reason)),
        }
    }

    /// Verifies a decoded certificate request. The outer error is about the authority.
    pub(crate) fn verify(
        &self,
        der: &[u8],
        registration_id: &RegistrationId,
        issuer: &IssuerName,
    ) -> Result<Result<VerifiedRequest<'_>, RequestRefused>, ServiceError> {
        let authority = self.authority(issuer)?;
        let key = request::verify(der, registration_id, &authority.config);
        Ok(key.map(|key| VerifiedRequest { authority, key }))
    }

    /// Issues a certificate: it, then its issuers up to the root, as base64 of DER. A fault may delay it or make it fail.
    pub(crate) async fn issue(
        &self,
        csr: &str,
        credential: &Credential,
    ) -> Result<Vec<String>, ServiceFailure> {
        let der = request::decode(csr).map_err(refused)?;
        let verified = self.verify(&der, &credential.registration_id, &credential.issuer)?;
        let verified = verified.map_err(|error| refused(error.reason))?;
        Ok(self.sign(&verified, credential).await?)
    }

    /// Issues a certificate for a request that was verified.
    pub(crate) async fn sign(
        &self,
        request: &VerifiedRequest<'_>,
        credential: &Credential,
    ) -> Result<Vec<String>, ServiceError> {
        let VerifiedRequest { authority, key } = request;
        let work = async {
            let issued = authority.issue(key, credential, self.clock.now()).await;
            issued.map_err(|error| {
                let message =
                    "The certificate could not be issued. The cause is in the emulator's log.";
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "no certificate was issued"
                );
                ServiceError::new(ErrorCode::SERVER_ERROR, message)
            })
        };
        let device = Some(credential.registration_id.as_str());
        match self
            .faults
            .apply(Step::IssueCertificate, device, work)
            .await?
        {
            FaultOutcome::Done(chain) => {
                let registration_id = &credential.registration_id;
                tracing::info!(%registration_id, issuer = %credential.issuer, "issued a certificate");
                Ok(chain)
            }
            FaultOutcome::Silence => {
                self.faults.stopped().await;
                std::future::pending().await
            }
            FaultOutcome::Malformed | FaultOutcome::Cut => Err(ServiceError::new(
                ErrorCode::SERVER_ERROR,
                "An injected fault.",
            )),
        }
    }

    /// Whether a device with this credential may connect to its hub with this chain.
    pub(crate) fn accepts(&self, credential: &Credential, chain: &PresentedChain) -> bool {
        let registration_id = &credential.registration_id;
        match self.check_chain(credential, chain) {
            Ok(()) => true,
            Err(reason) => {
                tracing::warn!(%registration_id, reason, "refused an issued certificate at a hub");
                false
            }
        }
    }

    fn check_chain(&self, credential: &Credential, chain: &PresentedChain) -> Result<(), String> {
        let authority = self.authority(&credential.issuer);
        let authority = authority.map_err(|error| error.message().to_owned())?;
        credential.check(chain.leaf())?;
        match chain.distance_to(&authority.root, self.clock.now()) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The root of a certificate authority.
    pub(crate) fn root(&self, namespace: &str, authority: &str) -> Option<&Certificate> {
        let mut all = self.authorities.iter();
        let found = all.find(|it| {
            let name = &it.config.name;
            name.namespace.as_str() == namespace
                && name.authority.as_str().eq_ignore_ascii_case(authority)
        });
        found.map(|it| &it.root)
    }

    fn authority(&self, name: &IssuerName) -> Result<&Authority, ServiceError> {
        let mut all = self.authorities.iter();
        let found = all.find(|it| it.config.name.is_of(name));
        let found = found.ok_or_else(|| {
            let IssuerName {
                namespace,
                authority,
                ..
            } = name;
            refused(format!(
                "The csr cannot be answered: the certificate authority '{authority}' does not exist in the namespace '{namespace}'."
            ))
        })?;
        let policy = &found.config.name.policy;
        match *policy == name.policy {
            true => Ok(found),
            false => Err(refused(format!(
                "The csr cannot be answered: the certificate authority '{}' has the policy '{policy}', and the enrollment names '{}'.",
                name.authority, name.policy
            ))),
        }
    }
}

/// Without certificate authorities.
#[cfg(test)]
impl Default for Issuance {
    fn default() -> Self {
        Self {
            authorities: Vec::new(),
            clock: Arc::new(dps_types::SystemClock),
            faults: Faults::new(tokio_util::sync::CancellationToken::new(), None),
        }
    }
}

fn refused(message: impl Into<String>) -> ServiceError {
    ServiceError::new(choices::REFUSED_BY_DPS, message)
}
