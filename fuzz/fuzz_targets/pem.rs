//! Certificates and private keys, PEM or DER, alone and joined.
#![no_main]

use std::sync::LazyLock;

use dps_tls::{certified_key, read_certificates, read_chain, read_key};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A sound pair, so that a certificate or a key in the input can be joined with its counterpart.
static SOUND: LazyLock<(CertificateDer<'static>, PrivateKeyDer<'static>)> = LazyLock::new(|| {
    let mut certificates = read_certificates(include_bytes!("../../dps-tls/tests/keys/ec-certificate.pem")).expect("a certificate");
    let key = read_key(include_bytes!("../../dps-tls/tests/keys/ec-pkcs8.pem")).expect("a key");
    (certificates.remove(0), key)
});

fuzz_target!(init: LazyLock::force(&SOUND), |bytes: &[u8]| {
    let (certificate, key) = &*SOUND;
    if let Ok(certificates) = read_certificates(bytes) {
        let again: Vec<u8> = certificates.iter().flat_map(|der| der.to_vec()).collect();
        assert_eq!(read_certificates(&again).expect("certificates"), certificates);
    }
    let chain = read_chain(bytes);
    if let Ok(chain) = &chain {
        assert!(!chain.is_empty());
        let _ = certified_key(chain.clone(), key.clone_key());
    }
    if let Ok(read) = read_key(bytes) {
        let _ = certified_key(vec![certificate.clone()], read.clone_key());
        if let Ok(chain) = chain {
            let _ = certified_key(chain, read);
        }
    }
});
