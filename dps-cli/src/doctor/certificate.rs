//! The certificate of the device and its private key: the files, the leaf, and whether they belong together.

use std::time::{Duration, SystemTime};

use dps_tls::{certified_key, read_certificates, read_key};
use dps_types::{RegistrationId, Timestamp};

use super::chain;
use super::finding::{Findings, chain_of};
use crate::certificate::parsed::{Parsed, Version};
use crate::input::{self, InputFile};

/// A certificate that expires earlier is worth a warning.
const SOON: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// Checks the files, without the private key if it is in hardware. Returns false if the library refuses them.
pub(super) fn check(
    certificate: &InputFile,
    key: Option<&InputFile>,
    id: Option<&RegistrationId>,
    findings: &mut Findings,
) -> bool {
    let Some(bytes) = read(certificate, "certificate file", findings) else {
        return false;
    };
    let chain = match read_certificates(&bytes) {
        Ok(chain) => chain,
        Err(error) => {
            let finding = format!("{}: {}", certificate.display(), chain_of(&error));
            findings.problem(
                "certificate file",
                finding,
                "convert the file to PEM: the certificate of the device, then its intermediates",
            );
            return false;
        }
    };
    let parsed: Vec<_> = chain.iter().map(|der| Parsed::from_der(der)).collect();
    let Some(parsed) = parsed
        .into_iter()
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| {
            findings.problem(
                "certificate file",
                error,
                "create the certificate again: it is damaged",
            );
        })
        .ok()
    else {
        return false;
    };
    let Some(leaf) = parsed.first() else {
        findings.problem(
            "certificate file",
            "it contains no certificate",
            "pass the certificate of the device",
        );
        return false;
    };
    findings.ok(
        "certificate file",
        format!(
            "{} certificates; the first is {}",
            parsed.len(),
            leaf.subject
        ),
    );
    let usable = check_leaf(leaf, id, findings);
    chain::check(&chain, &parsed, findings);
    let has_key = match key {
        Some(file) => check_key(chain, file, findings),
        None => {
            let finding = "in hardware: it is checked when it is used";
            findings.ok("private key", finding);
            true
        }
    };
    has_key && usable
}

fn check_leaf(leaf: &Parsed, id: Option<&RegistrationId>, findings: &mut Findings) -> bool {
    let mut usable = true;
    if leaf.version != Version::V3 {
        findings.problem(
            "certificate version",
            "the certificate of the device is X.509 version 1",
            "issue it as version 3: `dps certificate issue`, or openssl x509 -req with -extfile",
        );
        usable = false;
    }
    let now = SystemTime::now();
    if now > leaf.not_after {
        let expired = Timestamp::from(leaf.not_after);
        findings.problem(
            "certificate validity",
            format!("it expired at {expired}"),
            "issue a new certificate, or correct the clock",
        );
    } else if now < leaf.not_before {
        let start = Timestamp::from(leaf.not_before);
        findings.problem(
            "certificate validity",
            format!("it is not valid before {start}"),
            "correct the clock of the device",
        );
    } else if now + SOON > leaf.not_after {
        let end = Timestamp::from(leaf.not_after);
        findings.warning(
            "certificate validity",
            format!("it expires at {end}"),
            "renew it in time",
        );
    } else {
        findings.ok(
            "certificate validity",
            format!("until {}", Timestamp::from(leaf.not_after)),
        );
    }
    if leaf.is_ca {
        findings.warning(
            "certificate use",
            "the first certificate of the file is that of a CA",
            "the first one must be the certificate of the device: reverse the order of the file",
        );
    }
    if leaf.extended_key_usage.as_ref().is_some_and(|uses| {
        !uses
            .iter()
            .any(|name| name == "clientAuth" || name == "any")
    }) {
        findings.problem(
            "certificate use",
            "the extended key usage does not contain clientAuth",
            "issue the certificate with extendedKeyUsage=clientAuth, or without this extension",
        );
    }
    if leaf
        .key_usage
        .as_ref()
        .is_some_and(|uses| !uses.iter().any(|name| name == "digitalSignature"))
    {
        findings.problem(
            "certificate use",
            "the key usage does not contain digitalSignature",
            "issue the certificate with keyUsage=digitalSignature, or without this extension",
        );
    }
    check_name(leaf, id, findings) && usable
}

/// The common name is the registration id: DPS compares them.
fn check_name(leaf: &Parsed, id: Option<&RegistrationId>, findings: &mut Findings) -> bool {
    let Some(name) = &leaf.common_name else {
        findings.problem(
            "common name",
            "the certificate has no common name",
            "issue it with the registration id as common name",
        );
        return false;
    };
    match (name.parse::<RegistrationId>(), id) {
        (Err(error), _) => {
            let finding = format!("{name} is not a valid registration id: {}", error.reason());
            findings.problem(
                "common name",
                finding,
                "issue a certificate whose common name is the registration id",
            );
            false
        }
        (Ok(_), Some(id)) if id.as_str() != name => {
            findings.problem(
                "common name",
                format!("the common name is {name}, and the registration id is {id}"),
                "they must be equal, also in upper and lower case: issue a new certificate, or change --registration-id",
            );
            false
        }
        (Ok(_), _) => {
            findings.ok("common name", name);
            true
        }
    }
}

fn check_key(
    chain: Vec<rustls::pki_types::CertificateDer<'static>>,
    file: &InputFile,
    findings: &mut Findings,
) -> bool {
    let Some(bytes) = read(file, "private key", findings) else {
        return false;
    };
    let joined = read_key(&bytes).and_then(|key| certified_key(chain, key));
    match joined {
        Ok(_) => {
            findings.ok("private key", "it belongs to the certificate");
            true
        }
        Err(error) => {
            let advice = match error.kind() {
                dps_tls::ErrorKind::KeyMismatch => {
                    "pass the key that was created with the certificate request"
                }
                _ => {
                    "convert the key to PKCS#8 in PEM, without a password: openssl pkcs8 -topk8 -nocrypt"
                }
            };
            findings.problem(
                "private key",
                format!("{}: {}", file.display(), chain_of(&error)),
                advice,
            );
            false
        }
    }
}

fn read(
    file: &InputFile,
    check: &'static str,
    findings: &mut Findings,
) -> Option<zeroize::Zeroizing<Vec<u8>>> {
    input::read(file)
        .map_err(|failure| {
            findings.problem(
                check,
                failure.to_string(),
                "check the path and the permissions of the file",
            );
        })
        .ok()
}
