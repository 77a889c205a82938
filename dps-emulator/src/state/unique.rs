//! A client certificate belongs to one individual enrollment, a signing certificate to one group. An index says whose each
//! is, and changes together with the enrollments.
//!
//! In which words the service refuses the second one is not documented: these are ours.

use std::collections::BTreeSet;

use dps_types::enrollment::{AttestationType, X509CertificateWithInfo};

use super::store::{Change, Expected, Table};
use super::{Document, State};
use crate::service_error::ServiceError;

/// The certificates of an enrollment, as the index knows them.
pub(super) type Certificates = BTreeSet<String>;

/// What becomes of the index when an enrollment is written or deleted.
pub(super) struct Claims {
    owner: Vec<u8>,
    taken: Vec<String>,
    released: Vec<String>,
}

/// The certificates that no other enrollment of the kind may have.
pub(super) fn certificates<D: Document>(document: &D) -> Certificates {
    let attestation = document.terms().attestation;
    let x509 = attestation.x509.as_ref();
    let x509 = x509.filter(|_| attestation.kind == AttestationType::X509);
    let (kind, pair) = match D::IS_GROUP {
        true => ("signing", x509.map(|x509| &x509.signing_certificates)),
        false => ("client", x509.map(|x509| &x509.client_certificates)),
    };
    let pair = pair.and_then(Option::as_ref);
    let thumbprint = |certificate: &X509CertificateWithInfo| {
        Some(certificate.info.as_ref()?.sha256_thumbprint.clone())
    };
    pair.iter()
        .flat_map(|pair| [&pair.primary, &pair.secondary])
        .flatten()
        .filter_map(thumbprint)
        .map(|thumbprint| format!("{kind}/{thumbprint}"))
        .collect()
}

impl State {
    /// What changes in the index when the enrollment of this key no longer has the certificates that it had before, and
    /// has these now. Refused when another enrollment has one of them.
    pub(super) async fn claims(
        &self,
        key: &str,
        before: &Certificates,
        now: &Certificates,
    ) -> Result<Claims, ServiceError> {
        let mut claims = Claims {
            owner: key.as_bytes().to_vec(),
            taken: Vec::new(),
            released: Vec::new(),
        };
        for certificate in now.difference(before) {
            match self.owner_of(certificate).await? {
                None => claims.taken.push(certificate.clone()),
                Some(owner) if owner == claims.owner => {}
                Some(owner) => {
                    return Err(ServiceError::invalid(format!(
                        "The certificate is already used by the enrollment '{}'.",
                        String::from_utf8_lossy(&owner)
                    )));
                }
            }
        }
        for certificate in before.difference(now) {
            if self.owner_of(certificate).await?.as_ref() == Some(&claims.owner) {
                claims.released.push(certificate.clone());
            }
        }
        Ok(claims)
    }

    async fn owner_of(&self, certificate: &str) -> Result<Option<Vec<u8>>, ServiceError> {
        Ok(self.store().get(Table::Thumbprints, certificate).await?)
    }
}

impl Claims {
    /// The changes, to be made together with that of the enrollment.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let taken = self.taken.iter().map(|certificate| {
            let owner = self.owner.clone();
            Change::put(Table::Thumbprints, certificate, Expected::Absent, owner)
        });
        let released = self.released.iter().map(|certificate| {
            let owner = Expected::Exactly(&self.owner);
            Change::delete(Table::Thumbprints, certificate, owner)
        });
        taken.chain(released)
    }
}
