//! Certificates and private keys, PEM or DER, alone and joined.
#![no_main]

use std::sync::LazyLock;

use dps_tls::{certified_key, chain_from_pem, read_chain, read_key};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A valid key pair, so that a certificate or key in the input can be combined with the other part.
static SOUND: LazyLock<(CertificateDer<'static>, PrivateKeyDer<'static>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["dev1".to_owned()]).expect("a certificate");
    (made.cert.into(), made.signing_key.into())
});

fuzz_target!(|bytes: &[u8]| {
    let (certificate, key) = &*SOUND;
    let _ = chain_from_pem(bytes);
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
