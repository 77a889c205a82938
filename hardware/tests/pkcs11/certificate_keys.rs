//! Key pairs of issued certificates in the token.

use dps_device::certificate::{KeyKind, Pkcs11KeySource};
use dps_device::pkcs11::Uri;

use crate::key_source::keeps_the_key_in_use;
use crate::setup::{alone, object, token};

#[test]
fn the_keys_of_certificates_have_two_labels() {
    alone(|| async {
        let token = token().await;
        for kind in [KeyKind::P256, KeyKind::P384] {
            let keys = Pkcs11KeySource::new(token.clone(), &object("issued"), kind).unwrap();
            keeps_the_key_in_use(&keys).await;
        }
        for label in ["issued-1", "issued-2"] {
            token.private_key(&object(label)).await.unwrap();
            token.remove_private_key(&object(label)).await.unwrap();
            token.remove_private_key(&object(label)).await.unwrap();
            assert!(token.private_key(&object(label)).await.is_err());
        }
        let unnamed: Uri = "pkcs11:token=device".parse().unwrap();
        let error = token.remove_private_key(&unnamed).await.unwrap_err();
        assert!(error.to_string().contains("selects no key"), "{error}");
        assert!(Pkcs11KeySource::new(token, &unnamed, KeyKind::P256).is_err());
    });
}
