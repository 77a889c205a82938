//! The views of an enrollment: with secrets, without secrets, and for a webhook.

use dps_types::enrollment::{AttestationMechanism, WebhookApiVersion, X509Certificates};
use dps_types::mask_url;
use dps_types::protocol::ApiVersion;

use super::{Document, storage_form};

/// The answer to a create or update: with symmetric keys, without the text of certificates.
pub(crate) fn with_secrets<D: Document>(mut document: D) -> D {
    show_certificate_info(document.parts().attestation);
    document
}

/// The answer to a get or query, which has no symmetric keys.
pub(crate) fn without_secrets<D: Document>(document: D) -> D {
    let mut shown = with_secrets(document);
    shown.parts().attestation.symmetric_key = None;
    shown
}

/// The enrollment in a webhook request: the function key in the webhook URL is masked, the ETag has its storage form, and the
/// members are those of the webhook's api-version.
pub(crate) fn for_webhook<D: Document>(document: &D) -> D {
    let terms = document.terms();
    let version = match terms.custom_allocation_definition.map(|it| &it.api_version) {
        Some(WebhookApiVersion::Version(version)) => *version,
        _ => ApiVersion::V2021_10_01,
    };
    let mut shown = of_version(without_secrets(document.clone()), version);
    let parts = shown.parts();
    *parts.etag = parts.etag.as_ref().and_then(storage_form);
    parts.extra.drop_nulls(&[]);
    if let Some(definition) = parts.custom_allocation_definition {
        definition.webhook_url = mask_url(&definition.webhook_url);
    }
    shown
}

/// Removes the members that an api-version does not have. They are neither honoured in a request nor written in an answer.
///
/// Source: `service.json` of 2025-07-01-preview, 2026-11-01 and 2026-11-02-preview.
pub(crate) fn of_version<D: Document>(mut document: D, version: ApiVersion) -> D {
    let issuing = document.parts().issuing;
    if version < ApiVersion::V2026_11_01 {
        *issuing.namespace_name = None;
        *issuing.certificate_authority_name = None;
        *issuing.certificate_policy_name = None;
    }
    if version != ApiVersion::V2025_07_01_PREVIEW {
        *issuing.credential_policy_name = None;
    }
    document
}

/// The service never returns a certificate, only its info. If a group has only a primary signing certificate, the service
/// also returns it as the secondary one.
fn show_certificate_info(attestation: &mut AttestationMechanism) {
    let Some(x509) = &mut attestation.x509 else {
        return;
    };
    for certificates in [
        &mut x509.client_certificates,
        &mut x509.signing_certificates,
    ]
    .into_iter()
    .flatten()
    {
        let X509Certificates {
            primary, secondary, ..
        } = certificates;
        for certificate in [primary, secondary].into_iter().flatten() {
            certificate.certificate = None;
        }
    }
    if let Some(signing) = &mut x509.signing_certificates
        && signing.secondary.is_none()
    {
        signing.secondary.clone_from(&signing.primary);
    }
}
