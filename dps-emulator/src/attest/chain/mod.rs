//! The certificates that a TLS client presented, and the anchors above them.

#[cfg(test)]
pub(super) mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use super::chain_error::{ChainError, ChainRule};
use super::path::{self, KnownSignatures, SignatureBudget, Signatures};
use crate::certificate::Certificate;

/// More than any real chain has, and few enough that a search through them is short.
const MAX_CERTIFICATES: usize = 16;

/// The certificates that a TLS client sent: its own, and others to build a chain from, in any order. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct PresentedChain {
    /// The leaf first. There is at least one.
    certificates: Arc<[Certificate]>,
    signatures: Arc<KnownSignatures>,
}

/// The number of intermediates between the leaf and each anchor above it, by the anchor's SHA-256 thumbprint.
pub(super) type Distances = BTreeMap<String, usize>;

impl PresentedChain {
    /// Reads the peer's certificates in the order of TLS, the leaf first. Unreadable certificates after the leaf are
    /// ignored.
    pub(crate) fn new(presented: &[CertificateDer<'_>]) -> Result<Self, ChainError> {
        let malformed = |detail: String| ChainError::new(ChainRule::Malformed, detail);
        let (leaf, others) = presented
            .split_first()
            .ok_or_else(|| malformed("there is no certificate".to_owned()))?;
        if presented.len() > MAX_CERTIFICATES {
            let count = presented.len();
            return Err(malformed(format!(
                "{count} certificates were sent, and the limit is {MAX_CERTIFICATES}"
            )));
        }
        let leaf = Certificate::from_der(leaf.clone().into_owned())
            .map_err(|error| malformed(format!("the first certificate: {error}")))?;
        let others = others
            .iter()
            .filter_map(|der| Certificate::from_der(der.clone().into_owned()).ok());
        Ok(Self {
            certificates: [leaf].into_iter().chain(others).collect(),
            signatures: Arc::default(),
        })
    }

    /// Each certificate as base64 of its DER, the leaf first.
    #[cfg(feature = "control")]
    pub(crate) fn der_base64(&self) -> Vec<String> {
        self.certificates
            .iter()
            .map(Certificate::der_base64)
            .collect()
    }

    #[expect(
        clippy::indexing_slicing,
        reason = "`new` refuses a chain without a certificate"
    )]
    pub(crate) fn leaf(&self) -> &Certificate {
        &self.certificates[0]
    }

    /// Verifies that the leaf is a TLS client's, and returns the anchors that a valid chain leads to.
    ///
    /// An anchor need not be self-signed, and may be among the presented certificates. Its validity and its constraints are
    /// checked like those of all others. A certificate is never its own anchor: a self-signed leaf is refused here;
    /// individual enrollments compare thumbprints.
    pub(super) fn anchors_above(
        &self,
        anchors: &[&Certificate],
        now: SystemTime,
        budget: &SignatureBudget,
    ) -> Result<Distances, ChainError> {
        let signatures = self.signatures(budget);
        let found = path::anchors_above(&self.certificates, anchors, now, signatures)?;
        let named = found.into_iter().filter_map(|(at, distance)| {
            let anchor = anchors.get(at)?;
            Some((anchor.sha256_thumbprint().to_owned(), distance))
        });
        Ok(named.collect())
    }

    /// Returns the number of intermediates between the leaf and this anchor.
    #[expect(
        clippy::indexing_slicing,
        reason = "`anchors_above` returns an anchor or an error"
    )]
    pub(crate) fn distance_to(
        &self,
        anchor: &Certificate,
        now: SystemTime,
    ) -> Result<usize, ChainError> {
        let budget = SignatureBudget::default();
        let signatures = self.signatures(&budget);
        let found = path::anchors_above(&self.certificates, &[anchor], now, signatures)?;
        Ok(found[0].1)
    }

    fn signatures<'a>(&'a self, budget: &'a SignatureBudget) -> Signatures<'a> {
        Signatures {
            budget,
            known: &self.signatures,
        }
    }
}
