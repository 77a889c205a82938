//! Certificate requests of devices, and enrollments that a certificate authority issues certificates for.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, SignatureAlgorithm};
use serde_json::{Value, json};

use super::{KEY_1, KEY_2, key_enrollment, with};

/// A certificate request, and its key.
pub(crate) struct Csr {
    pub(crate) base64: String,
    pub(crate) key_pem: String,
}

impl Csr {
    pub(crate) fn new(common_name: &str) -> Self {
        Self::with_key(common_name, &PKCS_ECDSA_P256_SHA256)
    }

    pub(crate) fn with_key(common_name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let request = params.serialize_request(&key).expect("a request");
        Self {
            base64: STANDARD.encode(request.der()),
            key_pem: key.serialize_pem(),
        }
    }

    /// The body of a registration.
    pub(crate) fn body(&self) -> Value {
        json!({ "csr": self.base64 })
    }
}

/// The enrollment of a device with symmetric keys that names a certificate authority.
pub(crate) fn issuing(id: &str) -> Value {
    with(
        key_enrollment(id, KEY_1, KEY_2),
        json!({
            "namespaceName": "contoso",
            "certificateAuthorityName": "factory-1",
            "certificatePolicyName": "thermostats",
        }),
    )
}
