//! The certificates of the verified CAs, which are parsed once while they are the same.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use super::CaCertificate;
use crate::attest::VerifiedCa;
use crate::certificate::Certificate;

/// The certificates that were parsed last, by the base64 of their DER.
#[derive(Debug, Default)]
pub(super) struct Parsed(Mutex<HashMap<String, Certificate>>);

impl Parsed {
    /// The CAs with their certificates, which are kept instead of those that were kept before. One that cannot be read is left out.
    pub(super) fn all(&self, cas: impl Iterator<Item = CaCertificate>) -> Vec<VerifiedCa> {
        // Nothing panics while the map is half changed, so a poisoned lock still guards good data.
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::take(&mut *kept);
        let parsed = cas.filter_map(|ca| {
            let certificate = before.remove(&ca.der).or_else(|| ca.certificate())?;
            kept.insert(ca.der, certificate.clone());
            Some(VerifiedCa {
                name: ca.name,
                certificate,
            })
        });
        parsed.collect()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dps_types::SystemClock;
    use rcgen::{CertificateParams, KeyPair};

    use super::*;
    use crate::limits::Limits;
    use crate::state::State;
    use crate::state::store::MemoryStore;

    fn ca(name: &str) -> CaCertificate {
        let key = KeyPair::generate().expect("a key");
        let certificate = CertificateParams::default().self_signed(&key);
        let pem = certificate.expect("a certificate").pem();
        let store = Arc::new(MemoryStore::new());
        let state = State::new(store, Arc::new(SystemClock), Limits::default());
        let certificate = Certificate::from_text(&pem).expect("readable");
        CaCertificate::new(name, &certificate, &state)
    }

    #[test]
    fn only_the_certificates_of_the_last_call_are_kept() {
        let parsed = Parsed::default();
        let (one, other) = (ca("one"), ca("other"));
        let names = |cas: &[&CaCertificate]| -> Vec<String> {
            let all = parsed.all(cas.iter().map(|ca| (*ca).clone()));
            for (found, ca) in all.iter().zip(cas) {
                assert_eq!(found.certificate.der_base64(), ca.der);
            }
            all.into_iter().map(|ca| ca.name).collect()
        };
        assert_eq!(names(&[&one, &other]), ["one", "other"]);
        assert_eq!(names(&[&one, &other]), ["one", "other"]);
        let renamed = CaCertificate {
            name: "renamed".to_owned(),
            ..one.clone()
        };
        assert_eq!(names(&[&renamed]), ["renamed"]);
        let kept = parsed.0.lock().expect("not poisoned");
        assert_eq!(kept.keys().collect::<Vec<_>>(), [&one.der]);
    }

    #[test]
    fn a_certificate_that_cannot_be_read_is_left_out() {
        let damaged = CaCertificate {
            der: "AAAA".to_owned(),
            ..ca("damaged")
        };
        assert!(Parsed::default().all([damaged].into_iter()).is_empty());
    }
}
