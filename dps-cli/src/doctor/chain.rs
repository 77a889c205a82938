//! The chain of the device: its order, its completeness, and its signatures.

use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, UnixTime};

use super::finding::Findings;
use crate::certificate::parsed::{Parsed, Version};

pub(super) fn check(chain: &[CertificateDer<'_>], parsed: &[Parsed], findings: &mut Findings) {
    let Some(leaf) = parsed.first() else {
        return;
    };
    if leaf.is_self_signed() {
        if parsed.len() > 1 {
            findings.warning(
                "certificate chain",
                "the first certificate is self-signed, and others follow it",
                "the first certificate must be that of the device; for an individual enrollment it stands alone",
            );
        } else {
            findings.ok(
                "certificate chain",
                "self-signed: for an individual enrollment",
            );
        }
        return;
    }
    for (index, pair) in parsed.windows(2).enumerate() {
        let [certificate, issuer] = pair else {
            continue;
        };
        if certificate.issuer == issuer.subject {
            continue;
        }
        let elsewhere = parsed
            .iter()
            .any(|other| other.subject == certificate.issuer);
        let finding = format!(
            "certificate {} was issued by {}, but the next one in the file is {}",
            index + 1,
            certificate.issuer,
            issuer.subject
        );
        let advice = match elsewhere {
            true => {
                "order the file: the certificate of the device first, then each issuer after the certificate that it signed"
            }
            false => "add the certificate of the issuer after the certificate that it signed",
        };
        return findings.problem("certificate chain", finding, advice);
    }
    if let Some(bad) = parsed
        .iter()
        .skip(1)
        .find(|certificate| !certificate.is_ca && certificate.version == Version::V3)
    {
        findings.problem(
            "certificate chain",
            format!(
                "{} signs other certificates, but is not a CA certificate",
                bad.subject
            ),
            "issue it with basicConstraints=CA:TRUE",
        );
        return;
    }
    let now = SystemTime::now();
    if let Some(old) = parsed
        .iter()
        .skip(1)
        .find(|certificate| now > certificate.not_after || now < certificate.not_before)
    {
        findings.problem(
            "certificate chain",
            format!("the certificate of {} is not valid now", old.subject),
            "renew the certificate of the CA, and issue the certificate of the device again",
        );
        return;
    }
    if let Err(finding) = signatures(chain, parsed) {
        findings.problem(
            "certificate chain",
            finding,
            "issue the certificate of the device again with the present CA",
        );
        return;
    }
    let last = parsed.last().unwrap_or(leaf);
    match last.is_self_signed() {
        true => findings.ok("certificate chain", format!("complete, up to the root {}", last.subject)),
        false => findings.warning(
            "certificate chain",
            format!("the last certificate of the file was issued by {}, which is not in the file", last.issuer),
            format!(
                "the enrollment group, or the CA certificate of the instance, must be {}; if it is a CA above that one, add the \
                 intermediate certificates to the file",
                last.issuer
            ),
        ),
    }
}

/// Verifies each certificate with the key of the next one.
fn signatures(chain: &[CertificateDer<'_>], parsed: &[Parsed]) -> Result<(), String> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or(Duration::ZERO);
    let [leaf, intermediates @ .., last] = chain else {
        return Ok(());
    };
    // rustls does not read version 1, which has its own finding.
    if parsed
        .iter()
        .any(|certificate| certificate.version != Version::V3)
    {
        return Ok(());
    }
    let wrong = |error: webpki::Error| format!("the chain cannot be verified: {error}");
    let anchor = webpki::anchor_from_trusted_cert(last).map_err(wrong)?;
    let leaf = webpki::EndEntityCert::try_from(leaf).map_err(wrong)?;
    leaf.verify_for_usage(
        webpki::ALL_VERIFICATION_ALGS,
        &[anchor],
        intermediates,
        UnixTime::since_unix_epoch(now),
        webpki::KeyUsage::client_auth(),
        None,
        None,
    )
    .map(drop)
    .map_err(|error| match error {
        webpki::Error::InvalidSignatureForPublicKey | webpki::Error::UnknownIssuer => {
            "a certificate was not signed by the next one in the file, although the names match"
                .to_owned()
        }
        other => wrong(other),
    })
}
