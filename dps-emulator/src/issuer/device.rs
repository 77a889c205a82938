//! A device's certificate with its private key.

use std::fmt;

use rcgen::KeyPair;
use zeroize::Zeroizing;

use super::{device_params, generate, new_key, subject, years};
use crate::error::Error;

/// A device's certificate, with the intermediates above it, and its private key.
pub struct DeviceCredentials {
    certificate: String,
    intermediates: String,
    private_key: Zeroizing<String>,
}

impl DeviceCredentials {
    /// Makes a self-signed certificate with a new key, for an individual enrollment.
    ///
    /// # Errors
    ///
    /// As for [`CertificateAuthority::new`](crate::CertificateAuthority::new).
    pub fn self_signed(registration_id: &str) -> Result<Self, Error> {
        let params = device_params(subject::common_name(registration_id)?, years(10));
        let key = new_key()?;
        let certificate = params.self_signed(&key).map_err(generate)?;
        Ok(Self::new(certificate.pem(), String::new(), &key))
    }

    pub(super) fn new(certificate: String, intermediates: String, key: &KeyPair) -> Self {
        Self {
            certificate,
            intermediates,
            private_key: Zeroizing::new(key.serialize_pem()),
        }
    }

    /// The device's certificate alone, for an individual enrollment.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate
    }

    /// The chain that the device presents: its certificate, then the intermediates, without the root.
    pub fn certificate_chain_pem(&self) -> String {
        [&*self.certificate, &*self.intermediates].concat()
    }

    /// The private key as PKCS#8 PEM. These credentials wipe it on drop.
    pub fn private_key_pem(&self) -> &str {
        &self.private_key
    }
}

impl fmt::Debug for DeviceCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceCredentials")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}
