//! The certificate request of a device: base64 of DER, for the registration id, with a key that the policy accepts.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_types::RegistrationId;
use dps_types::hub_certificate::MAX_CSR_BYTES;

use super::choices;
use super::config::IssuingAuthority;
use crate::certificate::{CertificateRequest, RequestedKey};

/// The reason for which a certificate request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestRefused {
    /// The value of `info.credentialError` at the hub.
    pub(crate) credential_error: &'static str,
    /// A clause without a full stop.
    pub(crate) reason: String,
}

/// Decodes a request. The error is a clause without a full stop.
pub(crate) fn decode(csr: &str) -> Result<Vec<u8>, String> {
    if csr.len() > MAX_CSR_BYTES {
        let length = csr.len();
        return Err(format!(
            "it has {length} characters, and the limit is {MAX_CSR_BYTES}"
        ));
    }
    if csr.contains("-----") {
        return Err("it is PEM: send the base64 text without the lines BEGIN and END".to_owned());
    }
    match STANDARD.decode(csr) {
        Ok(der) => Ok(der),
        Err(error) => Err(format!("it is not base64: {error}")),
    }
}

/// Verifies a request of this device.
pub(super) fn verify(
    der: &[u8],
    registration_id: &RegistrationId,
    authority: &IssuingAuthority,
) -> Result<RequestedKey, RequestRefused> {
    let refused = |credential_error, reason| RequestRefused {
        credential_error,
        reason,
    };
    let request = CertificateRequest::from_der(der)
        .map_err(|error| refused(choices::credential_error(error), error.to_string()))?;
    if request.common_name() != Some(registration_id.as_str()) {
        let found = request.common_name().unwrap_or_default();
        let reason =
            format!("its common name is '{found}', and must be exactly '{registration_id}'");
        return Err(refused(choices::WRONG_SUBJECT, reason));
    }
    if request.has_rsa_key() && !authority.accepts_rsa {
        let reason = "its key is RSA: use ECDSA on P-256 or P-384".to_owned();
        return Err(refused(choices::UNSUPPORTED_KEY, reason));
    }
    Ok(request.into_key())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rcgen::{
        CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384,
        PKCS_ED25519, SignatureAlgorithm,
    };

    use super::*;

    fn csr(common_name: &str, algorithm: &'static SignatureAlgorithm) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let key = KeyPair::generate_for(algorithm).unwrap();
        params.serialize_request(&key).unwrap().der().to_vec()
    }

    fn check(der: &[u8]) -> Result<RequestedKey, RequestRefused> {
        let authority = "contoso/ca-1/all".parse().unwrap();
        verify(der, &"Dev-1".parse().unwrap(), &authority)
    }

    #[test]
    fn keys_on_p256_and_p384_are_accepted() {
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            assert!(check(&csr("Dev-1", algorithm)).is_ok(), "{algorithm:?}");
        }
    }

    #[test]
    fn the_common_name_is_the_registration_id_in_the_same_case() {
        for name in ["dev-1", "Dev-1 ", "Dev-2", ""] {
            let refused = check(&csr(name, &PKCS_ECDSA_P256_SHA256)).unwrap_err();
            assert_eq!(refused.credential_error, "SubjectMismatch");
            assert!(refused.reason.contains("'Dev-1'"), "{}", refused.reason);
        }
    }

    #[test]
    fn other_keys_and_forged_requests_are_refused() {
        let other = check(&csr("Dev-1", &PKCS_ED25519)).unwrap_err();
        assert_eq!(other.credential_error, "UnsupportedKeyType");
        let mut forged = csr("Dev-1", &PKCS_ECDSA_P256_SHA256);
        let at = forged.windows(5).position(|it| it == b"Dev-1").unwrap();
        forged[at + 4] = b'2';
        let forged = check(&forged).unwrap_err();
        assert_eq!(forged.credential_error, "InvalidCsrSignature");
        assert_eq!(
            check(b"0").unwrap_err().credential_error,
            "FailedToDecodeCsr"
        );
    }

    #[test]
    fn pem_and_long_texts_are_refused() {
        let pem = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n";
        assert!(decode(pem).unwrap_err().contains("PEM"));
        let longest = "A".repeat(MAX_CSR_BYTES);
        assert!(decode(&longest).is_ok());
        assert!(decode(&(longest + "AAAA")).unwrap_err().contains("limit"));
        for text in ["AAA", "AA\nAA", "A-AA", "?"] {
            assert!(decode(text).unwrap_err().contains("not base64"), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_refused(text in "\\PC*") {
            let read = decode(&text).map(|der| check(&der).is_ok());
            prop_assert_ne!(read, Ok(true));
        }
    }
}
