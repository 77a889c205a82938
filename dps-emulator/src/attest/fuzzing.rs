//! Certificates and the search for chains, for the targets of `fuzz/`.

use std::collections::BTreeSet;
use std::time::SystemTime;

use rustls_pki_types::CertificateDer;

use super::PresentedChain;
use super::chain_error::ChainRule;
use super::path::SignatureBudget;
use crate::certificate::Certificate;

/// The result of a search for the anchors above a leaf.
#[derive(Debug)]
pub struct Search {
    /// The indices of the anchors that were found.
    pub anchors: BTreeSet<usize>,
    /// Whether the search ended because the chain is too complex.
    pub is_too_complex: bool,
    /// The number of signatures that were verified.
    pub signatures: usize,
}

/// Searches the anchors above the first of these certificates. `None` if the chain cannot be read.
pub fn search(
    presented: &[CertificateDer<'_>],
    anchors: &[CertificateDer<'static>],
    now: SystemTime,
) -> Option<Search> {
    let chain = PresentedChain::new(presented).ok()?;
    let anchors: Vec<Certificate> = anchors
        .iter()
        .map(|der| Certificate::from_der(der.clone()).expect("a certificate"))
        .collect();
    let budget = SignatureBudget::default();
    let trusted: Vec<&Certificate> = anchors.iter().collect();
    let found = chain.anchors_above(&trusted, now, &budget);
    let is_too_complex = matches!(&found, Err(error) if error.rule() == ChainRule::TooComplex);
    let thumbprints = found.unwrap_or_default();
    let is_found = |index: &usize| thumbprints.contains_key(anchors[*index].sha256_thumbprint());
    Some(Search {
        anchors: (0..anchors.len()).filter(is_found).collect(),
        is_too_complex,
        signatures: budget.used(),
    })
}

/// Reads the certificate of an enrollment. Returns it as base64 of its DER.
pub fn certificate(text: &str) -> Option<String> {
    let certificate = Certificate::from_text(text).ok()?;
    let _ = (certificate.info(), certificate.common_name());
    Some(certificate.der_base64())
}
