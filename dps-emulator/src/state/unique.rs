//! Keeps certificates unique: a client certificate belongs to one individual enrollment, a signing certificate to one group.
//! An index maps each certificate to its enrollment and is written in the same change as the enrollment.
//!
//! The service's message for a second enrollment is not documented.

use std::collections::BTreeSet;

use dps_types::enrollment::{AttestationType, X509CertificateWithInfo};

use super::store::{Change, Expected, Table};
use super::{Document, State};
use crate::service_error::ServiceError;

/// The keys of an enrollment's certificates in the index.
pub(super) type Certificates = BTreeSet<String>;

/// The changes of the index when an enrollment is written or deleted.
pub(super) struct Claims {
    owner: Vec<u8>,
    /// The certificates to add, each with the enrollment that the index still names although it no longer exists.
    taken: Vec<(String, Option<Vec<u8>>)>,
    released: Vec<String>,
}

/// The certificates that no other enrollment of the same kind may have.
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
    /// The changes of the index when the certificates of an enrollment change from `before` to `now`. An error if another
    /// enrollment has one of the new certificates.
    pub(super) async fn claims<D: Document>(
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
                None => claims.taken.push((certificate.clone(), None)),
                Some(owner) if owner == claims.owner => {}
                Some(owner) if !self.exists::<D>(&owner).await? => {
                    claims.taken.push((certificate.clone(), Some(owner)));
                }
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

    /// Whether the enrollment exists. The index may name one that could not be read when it was deleted.
    async fn exists<D: Document>(&self, owner: &[u8]) -> Result<bool, ServiceError> {
        let key = String::from_utf8_lossy(owner);
        Ok(self.store().get(D::TABLE, &key).await?.is_some())
    }

    async fn owner_of(&self, certificate: &str) -> Result<Option<Vec<u8>>, ServiceError> {
        Ok(self.store().get(Table::Thumbprints, certificate).await?)
    }
}

impl Claims {
    /// The changes, which are made together with the change of the enrollment.
    pub(super) fn changes(&self) -> impl Iterator<Item = Change<'_>> {
        let taken = self.taken.iter().map(|(certificate, previous)| {
            let owner = self.owner.clone();
            let expected = Expected::unchanged(previous.as_deref());
            Change::put(Table::Thumbprints, certificate, expected, owner)
        });
        let released = self.released.iter().map(|certificate| {
            let owner = Expected::Exactly(&self.owner);
            Change::delete(Table::Thumbprints, certificate, owner)
        });
        taken.chain(released)
    }
}
