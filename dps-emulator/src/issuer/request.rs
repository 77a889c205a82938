//! Issues certificates for keys that never leave their device, from certificate signing requests.

use x509_cert::der::Document;
use x509_cert::der::pem::PemLabel;
use x509_cert::request::CertReq;

use super::{CertificateAuthority, device_params, generate, subject, years};
use crate::certificate::{CertificateRequest, RequestedKey};
use crate::error::{Error, ErrorKind};

impl CertificateAuthority {
    /// Issues a certificate for the key of a certificate signing request (PKCS#10, PEM), and returns the chain that the device
    /// presents: the certificate and the intermediates above it. For keys in a TPM or a PKCS#11 token.
    ///
    /// The registration id becomes the common name. Only the key is taken from the request.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidRequest`]; and as for [`new`](Self::new).
    pub fn issue_for_request(&self, registration_id: &str, request: &str) -> Result<String, Error> {
        let key = read(request)?;
        let params = device_params(subject::common_name(registration_id)?, years(10));
        let signed = params.signed_by(&key, &self.issuer).map_err(generate)?;
        Ok(signed.pem() + &self.intermediates_pem())
    }
}

/// Reads a request in PEM.
fn read(request: &str) -> Result<RequestedKey, Error> {
    let refused = |why: &str| {
        let what = format!("the certificate signing request is refused: {why}");
        Error::new(ErrorKind::InvalidRequest, what)
    };
    let (label, der) = Document::from_pem(request)
        .map_err(|error| refused("it is not PKCS#10 in PEM").with_source(error))?;
    if label != CertReq::PEM_LABEL {
        return Err(refused("it is not PKCS#10 in PEM"));
    }
    let request = CertificateRequest::from_der(der.as_bytes())
        .map_err(|error| refused(&error.to_string()))?;
    Ok(request.into_key())
}

#[cfg(test)]
mod tests {
    use rcgen::{
        CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData,
    };
    use x509_cert::der::{DecodePem, Encode};

    use super::*;
    use crate::certificate::Certificate;

    fn request(key: &KeyPair) -> String {
        let params = CertificateParams::default();
        params.serialize_request(key).unwrap().pem().unwrap()
    }

    #[test]
    fn the_certificate_is_for_the_key_of_the_request() {
        let root = CertificateAuthority::new("Contoso Root").unwrap();
        let factory = root.intermediate("Factory").unwrap();
        for algorithm in [&PKCS_ECDSA_P256_SHA256, &PKCS_ECDSA_P384_SHA384] {
            let key = KeyPair::generate_for(algorithm).unwrap();

            let chain = factory.issue_for_request("device-1", &request(&key));

            let chain = chain.unwrap();
            assert_eq!(chain.matches("BEGIN CERTIFICATE").count(), 2);
            let device = Certificate::from_text(&chain).unwrap();
            assert_eq!(device.common_name(), Some("device-1"));
            use x509_cert::der::Decode as _;
            let public_key = x509_cert::Certificate::from_der(device.der())
                .unwrap()
                .tbs_certificate()
                .subject_public_key_info()
                .to_der();
            assert_eq!(public_key.unwrap(), key.subject_public_key_info());
        }
    }

    #[test]
    fn a_request_that_is_not_signed_with_its_own_key_is_refused() {
        let root = CertificateAuthority::new("Contoso Root").unwrap();
        let key = KeyPair::generate().unwrap();
        let mut forged = CertReq::from_pem(request(&key)).unwrap();
        let stranger = CertReq::from_pem(request(&KeyPair::generate().unwrap())).unwrap();
        forged.info.public_key = stranger.info.public_key;
        let forged = pem(&forged.to_der().unwrap());

        for text in [
            forged.as_str(),
            "",
            "-----BEGIN CERTIFICATE REQUEST-----",
            &root.certificate,
        ] {
            let refused = root.issue_for_request("device-1", text).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidRequest, "{text}");
        }
        let nameless = root.issue_for_request("", &request(&key)).unwrap_err();
        assert_eq!(nameless.kind(), ErrorKind::InvalidName);
    }

    fn pem(der: &[u8]) -> String {
        use x509_cert::der::pem::{LineEnding, encode_string};
        encode_string("CERTIFICATE REQUEST", LineEnding::LF, der).unwrap()
    }
}
