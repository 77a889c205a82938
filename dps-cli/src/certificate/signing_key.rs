//! A private key in memory that signs certificates and requests. It is wiped when it is dropped.

use rcgen::{Error, KeyPair, PublicKeyData, SignatureAlgorithm};
use rustls::pki_types::PrivateKeyDer;
use zeroize::{Zeroize, Zeroizing};

use crate::files;

pub(crate) struct SigningKey(KeyPair);

impl SigningKey {
    pub(super) fn generate(algorithm: &'static SignatureAlgorithm) -> Result<Self, Error> {
        KeyPair::generate_for(algorithm).map(Self)
    }

    pub(super) fn read(key: &PrivateKeyDer<'_>) -> Result<Self, Error> {
        KeyPair::try_from(key).map(Self)
    }

    /// The private key, PKCS#8 in DER.
    pub(crate) fn pkcs8(&self) -> &[u8] {
        self.0.serialized_der()
    }

    /// The private key, PKCS#8 in PEM.
    pub(super) fn pem(&self) -> Zeroizing<String> {
        files::pem("PRIVATE KEY", self.pkcs8())
    }
}

impl Drop for SigningKey {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl PublicKeyData for SigningKey {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        PublicKeyData::algorithm(&self.0)
    }
}

impl rcgen::SigningKey for SigningKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        self.0.sign(message)
    }
}
