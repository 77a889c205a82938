//! Certificate signing requests, and the certificates of keys.

use cryptoki::object::ObjectClass;
use dps_device::ErrorKind;
use dps_device::pkcs11::KeyKind;

use crate::authority::{Authority, Request};
use crate::sessions::remove_all;
use crate::setup::{alone, object, token};

#[test]
fn a_request_is_signed_by_its_key_and_has_the_registration_id() {
    alone(|| async {
        let token = token().await;
        for (label, kind) in [
            ("a", KeyKind::P256),
            ("b", KeyKind::P384),
            ("c", KeyKind::Rsa2048),
        ] {
            let key = token.generate_private_key(&object(label), kind).await;
            let pem = key
                .unwrap()
                .certificate_request(&"Toaster-0815".parse().unwrap())
                .await
                .unwrap();
            assert!(pem.starts_with("-----BEGIN CERTIFICATE REQUEST-----"));
            assert_eq!(Request::read(&pem).common_name, "Toaster-0815");
        }
    });
}

#[test]
fn a_certificate_of_another_key_is_refused() {
    alone(|| async {
        let authority = Authority::new();
        let token = token().await;
        let (ours, other) = (object("ours"), object("other"));
        let kind = KeyKind::P256;
        let key = token.generate_private_key(&ours, kind).await.unwrap();
        let other_key = token.generate_private_key(&other, kind).await.unwrap();
        let request = other_key
            .certificate_request(&"other".parse().unwrap())
            .await;
        let chain = authority.sign(&request.unwrap());

        for error in [
            key.identity(&chain).unwrap_err(),
            token.identity_with_chain(&ours, &chain).await.unwrap_err(),
            token.store_chain(&ours, &chain).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(
                error
                    .to_string()
                    .contains("does not match the first certificate"),
                "{error}"
            );
        }
        assert!(other_key.identity(&chain).is_ok());
    });
}

#[test]
fn a_chain_in_the_token_is_found_and_replaced() {
    alone(|| async {
        let token = token().await;
        let uri = object("toaster");
        let key = token.generate_private_key(&uri, KeyKind::P256).await;
        let key = key.unwrap();

        let error = token.identity(&uri).await.unwrap_err();
        assert!(error.to_string().contains("has no certificate"), "{error}");

        for _ in 0..2 {
            let authority = Authority::new();
            let request = key.certificate_request(&"toaster".parse().unwrap()).await;
            let chain = authority.sign(&request.unwrap());
            // Storing it twice has the same result as storing it once.
            token.store_chain(&uri, &chain).await.unwrap();
            token.store_chain(&uri, &chain).await.unwrap();

            // The issuers of both authorities have the same name.
            let found = token.identity(&uri).await.unwrap();
            let given = key.identity(&chain).unwrap();
            assert_eq!(found.chain().count(), 2);
            assert!(found.chain().eq(given.chain()));
        }
    });
}

#[test]
fn a_key_without_a_public_key_object_is_used_with_its_certificate() {
    alone(|| async {
        let authority = Authority::new();
        let token = token().await;
        let (ours, other) = (object("ours"), object("other"));
        let mut chains = Vec::new();
        for uri in [&ours, &other] {
            let key = token.generate_private_key(uri, KeyKind::P384).await;
            let request = key.unwrap();
            let request = request.certificate_request(&"a".parse().unwrap()).await;
            chains.push(authority.sign(&request.unwrap()));
        }
        remove_all(ObjectClass::PUBLIC_KEY);

        let error = token.private_key(&ours).await.unwrap_err();
        assert!(
            error.to_string().contains("pass the certificate"),
            "{error}"
        );
        token.identity_with_chain(&ours, &chains[0]).await.unwrap();
        // The key signs once, which shows that the certificate belongs to another key.
        let error = token.identity_with_chain(&ours, &chains[1]).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            "the certificate does not belong to the private key"
        );
    });
}
