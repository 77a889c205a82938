//! The credentials of the device: what their files show of a symmetric key, or a certificate with its private key.

use dps_types::SymmetricKey;

use super::certificate;
use super::finding::Findings;
use crate::device::DeviceOptions;

/// Keys that the service generates have 64 bytes, and derived keys have the 32 bytes of HMAC-SHA256.
const GENERATED: usize = 64;
const DERIVED: usize = 32;

/// Checks the credentials. Returns false if they cannot be used.
pub(super) fn check(device: &DeviceOptions, findings: &mut Findings) -> bool {
    let options = device.attestation();
    if let Some(certificate) = &options.certificate {
        let (key, id) = (&options.private_key, &options.registration_id);
        return certificate::check(certificate, key.as_ref(), id.as_ref(), findings);
    }
    if options.tpm.is_some() && !device.transport_options().supports_tpm() {
        findings.problem(
            "transport",
            "DPS does not support TPM attestation over MQTT",
            "use --transport http or --transport amqp",
        );
        return false;
    }
    let in_hardware = [&options.tpm, &options.pkcs11, &options.pkcs11_key];
    if in_hardware.iter().any(|option| option.is_some()) {
        findings.ok(
            "credentials",
            "in hardware: they are checked when they are used",
        );
        return true;
    }
    match options.any_key() {
        Err(failure) => {
            findings.problem(
                "symmetric key",
                failure.to_string(),
                "the file or the variable must contain the key only, in base64, without quotation marks and without a name before it",
            );
            false
        }
        Ok(None) => {
            findings.problem(
                "credentials",
                "the device has no credentials",
                "pass --key-file, --group-key-file or --certificate",
            );
            false
        }
        Ok(Some((key, is_group))) => {
            check_key(&key, is_group, findings);
            if options.registration_id.is_none() {
                findings.problem("registration id", "it is missing", "pass --registration-id");
                return false;
            }
            true
        }
    }
}

fn check_key(key: &SymmetricKey, is_group: bool, findings: &mut Findings) {
    let bytes = key.as_bytes().len();
    match (bytes, is_group) {
        (GENERATED, false) => findings.warning(
            "symmetric key",
            "the key of the device has 64 bytes, as the keys of enrollments that the service generates",
            "if it is the key of an enrollment group, pass it with --group-key-file: the device needs a derived key",
        ),
        (DERIVED, true) => findings.warning(
            "symmetric key",
            "the key of the group has 32 bytes, as derived keys",
            "if it is already the key of the device, pass it with --key-file: it must not be derived twice",
        ),
        _ => findings.ok("symmetric key", format!("{bytes} bytes")),
    }
}
