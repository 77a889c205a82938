//! An enrollment group with the certificates in it, which are read once.

use std::ops::Deref;
use std::sync::OnceLock;

use dps_types::enrollment::{EnrollmentGroup, X509CertificateWithInfo, X509Certificates};

use crate::certificate::Certificate;

/// An enrollment group.
///
/// A request of a device compares its certificate with those of all groups. They are read when the first request needs them.
#[derive(Debug)]
pub(crate) struct EnrolledGroup {
    document: EnrollmentGroup,
    signing_certificates: OnceLock<Vec<Certificate>>,
}

impl EnrolledGroup {
    pub(crate) fn new(document: EnrollmentGroup) -> Self {
        Self {
            document,
            signing_certificates: OnceLock::new(),
        }
    }

    pub(crate) fn document(&self) -> &EnrollmentGroup {
        &self.document
    }

    /// The primary and the secondary signing certificate of the group itself. One that cannot be read is left out.
    pub(super) fn signing_certificates(&self) -> &[Certificate] {
        self.signing_certificates.get_or_init(|| {
            let x509 = self.document.attestation.x509.as_ref();
            certificates(x509.and_then(|x509| x509.signing_certificates.as_ref()))
        })
    }
}

impl Deref for EnrolledGroup {
    type Target = EnrollmentGroup;

    fn deref(&self) -> &EnrollmentGroup {
        &self.document
    }
}

/// The certificates of an enrollment that can be read.
pub(super) fn certificates(pair: Option<&X509Certificates>) -> Vec<Certificate> {
    let read = |certificate: &X509CertificateWithInfo| {
        Certificate::from_text(certificate.certificate.as_ref()?).ok()
    };
    pair.iter()
        .flat_map(|pair| [&pair.primary, &pair.secondary])
        .flatten()
        .filter_map(read)
        .collect()
}

#[cfg(test)]
mod tests {
    use dps_types::SymmetricKey;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    #[test]
    fn the_certificates_are_read_once() {
        let key = KeyPair::generate().expect("a key");
        let root = CertificateParams::default().self_signed(&key);
        let pem = root.expect("a certificate").pem();
        let id = "g".parse().expect("an id");
        let group = EnrolledGroup::new(EnrollmentGroup::signing_certificate(id, pem));
        let first = group.signing_certificates();
        assert_eq!(first.len(), 1);
        assert!(std::ptr::eq(first, group.signing_certificates()));
    }

    #[test]
    fn a_group_without_readable_certificates_has_none() {
        let key = SymmetricKey::generate();
        let id = || "g".parse().expect("an id");
        for group in [
            EnrollmentGroup::from_keys(id(), &key, &key),
            EnrollmentGroup::signing_certificate(id(), "no certificate"),
            EnrollmentGroup::ca_reference(id(), "root"),
        ] {
            let group = EnrolledGroup::new(group);
            assert!(group.signing_certificates().is_empty());
        }
    }
}
