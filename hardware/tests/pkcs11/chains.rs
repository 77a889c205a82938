//! The certificate of a key among several in the token, and the states that a power cut leaves while it is replaced.

use cryptoki::object::{Attribute, AttributeType, CertificateType, ObjectClass};
use dps_device::pkcs11::{KeyKind, Token};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_cert::Certificate;
use x509_cert::der::{Decode, Encode};

use crate::authority::Authority;
use crate::sessions::other_session;
use crate::setup::{alone, object, skipped_without_softhsm, token};

#[test]
fn a_power_cut_while_a_chain_is_stored_leaves_a_complete_chain() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let (token, uri) = (token().await, object("toaster"));
        let key = token.generate_private_key(&uri, KeyKind::P256).await;
        let key = key.unwrap();
        let request = key.certificate_request(&"toaster".parse().unwrap()).await;
        let request = request.unwrap();
        let old = Authority::new().sign_from(&request, 2024);
        let new = Authority::new().sign_from(&request, 2025);
        token.store_chain(&uri, &old).await.unwrap();
        let name = name_of(&leaf_of("toaster"));

        // The issuers are stored first.
        let [leaf, issuer] = &certificates(&new)[..] else {
            panic!("a chain of two");
        };
        store(issuer, &[]);
        assert_chain(&token, &old).await;
        // Then the leaf, in addition to the old one.
        store(leaf, &name);
        assert_chain(&token, &new).await;
        // The next call completes it.
        token.store_chain(&uri, &new).await.unwrap();
        assert_chain(&token, &new).await;
        assert_eq!(objects_named(&name), 1);
    });
}

#[test]
fn a_certificate_with_other_names_is_found_by_its_public_key() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let (token, uri) = (token().await, object("private key of slot 9a"));
        let key = token.generate_private_key(&uri, KeyKind::P384).await;
        let request = key.unwrap();
        let request = request.certificate_request(&"a".parse().unwrap()).await;
        let chain = Authority::new().sign(&request.unwrap());
        for certificate in certificates(&chain) {
            store(
                &certificate,
                &[Attribute::Label(b"certificate of slot 9a".into())],
            );
        }
        // An object that is not a certificate does not hide the others.
        store_value(b"damaged".to_vec());

        let found = token.identity(&uri).await.unwrap();
        assert_eq!(found.chain().count(), 2);
        let error = token.identity(&object("certificate of slot 9b")).await;
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("has no private key")
        );
    });
}

#[test]
fn a_key_is_found_by_the_name_of_its_certificate() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let (token, uri) = (token().await, object("key"));
        let other = object("another key");
        token
            .generate_private_key(&other, KeyKind::P256)
            .await
            .unwrap();
        let key = token.generate_private_key(&uri, KeyKind::Rsa2048).await;
        let key = key.unwrap();
        let request = key.certificate_request(&"a".parse().unwrap()).await;
        let chain = Authority::new().sign(&request.unwrap());
        let leaf = &certificates(&chain)[0];
        let [_, id] = &name_of_key("key")[..] else {
            panic!("a label and an id");
        };
        // With the id of the key, and without.
        store(leaf, &[Attribute::Label(b"first".into()), id.clone()]);
        store(leaf, &[Attribute::Label(b"second".into())]);
        for label in ["first", "second"] {
            let found = token.identity(&object(label)).await.unwrap();
            assert_eq!(found.chain().next(), Some(leaf.as_ref()), "{label}");
        }
    });
}

#[test]
fn the_certificate_of_another_key_with_the_same_id_is_not_used() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let (token, ours, other) = (token().await, object("ours"), object("other"));
        token
            .generate_private_key(&ours, KeyKind::P256)
            .await
            .unwrap();
        let key = token.generate_private_key(&other, KeyKind::P256).await;
        let request = key.unwrap();
        let request = request.certificate_request(&"a".parse().unwrap()).await;
        let chain = Authority::new().sign(&request.unwrap());
        store(&certificates(&chain)[0], &name_of_key("ours"));
        let error = token.identity(&ours).await.unwrap_err().to_string();
        assert!(error.contains("belongs to another key"), "{error}");
    });
}

#[test]
fn a_stored_chain_has_the_root_and_an_identity_does_not() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let (token, authority) = (token().await, Authority::new());
        // A root that issues to devices, and one with an intermediate.
        for (label, direct) in [("direct", true), ("toaster", false)] {
            let uri = object(label);
            let key = token.generate_private_key(&uri, KeyKind::P256).await;
            let request = key.unwrap();
            let request = request.certificate_request(&"a".parse().unwrap()).await;
            let request = request.unwrap();
            assert_eq!(token.stored_chain(&uri).await.unwrap(), None);
            let chain = match direct {
                true => authority.sign_with_root(&request),
                false => authority.sign(&request) + &authority.root_pem(),
            };
            token.store_chain(&uri, &chain).await.unwrap();
            let whole = certificates(&chain);
            let stored = token.stored_chain(&uri).await.unwrap();
            assert_eq!(stored.as_ref(), Some(&whole));
            let identity = token.identity(&uri).await.unwrap();
            assert_eq!(identity.chain().count(), whole.len() - 1);
        }
        // Another root with the name is not that of the chain.
        store(&certificates(&Authority::new().root_pem())[0], &[]);
        let stored = token
            .stored_chain(&object("direct"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(stored[1..], certificates(&authority.root_pem()));
    });
}

#[test]
fn of_two_certificates_of_the_same_time_each_start_uses_the_same_one() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let token = token().await;
        let mut used = Vec::new();
        for label in ["first", "second"] {
            let uri = object(label);
            let key = token.generate_private_key(&uri, KeyKind::P256).await;
            let request = key.unwrap();
            let request = request.certificate_request(&"a".parse().unwrap()).await;
            let request = request.unwrap();
            let authority = Authority::new();
            let mut leaves = [(); 2].map(|()| certificates(&authority.sign(&request)).remove(0));
            leaves.sort_by_key(|leaf| leaf.to_vec());
            if label == "second" {
                leaves.reverse();
            }
            for leaf in &leaves {
                store(leaf, &name_of_key(label));
            }
            let identity = token.identity(&uri).await.unwrap();
            let found = identity.chain().next().unwrap().to_vec();
            used.push(leaves.iter().position(|leaf| leaf.to_vec() == found));
        }
        // The order in which they were stored does not matter.
        assert_eq!(used, [Some(1), Some(0)]);
    });
}

#[test]
fn an_unreadable_certificate_does_not_hide_the_issuer() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let (token, uri) = (token().await, object("toaster"));
        let key = token.generate_private_key(&uri, KeyKind::P256).await;
        let request = key.unwrap();
        let request = request.certificate_request(&"a".parse().unwrap()).await;
        let chain = Authority::new().sign(&request.unwrap());
        let [leaf, issuer] = &certificates(&chain)[..] else {
            panic!("a chain of two");
        };
        let subject = Certificate::from_der(issuer).unwrap();
        let subject = subject.tbs_certificate().subject().to_der().unwrap();
        let damaged = || {
            let mut template = certificate_of(b"damaged".to_vec());
            template.push(Attribute::Subject(subject.clone()));
            other_session().create_object(&template).unwrap();
        };
        damaged();
        store(leaf, &name_of_key("toaster"));
        // It is reported, because there is no other one.
        let error = token.identity(&uri).await.unwrap_err().to_string();
        assert!(error.contains("cannot be read"), "{error}");
        store(issuer, &[]);
        damaged();
        assert_chain(&token, &chain).await;
    });
}

async fn assert_chain(token: &Token, pem: &str) {
    let identity = token.identity(&object("toaster")).await.unwrap();
    let expected = certificates(pem);
    assert!(identity.chain().eq(expected.iter().map(|der| &**der)));
}

fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    let certificates = CertificateDer::pem_slice_iter(pem.as_bytes());
    certificates.collect::<Result<_, _>>().unwrap()
}

/// Stores a certificate as another program does.
fn store(certificate: &CertificateDer<'_>, name: &[Attribute]) {
    let read = Certificate::from_der(certificate).unwrap();
    let signed = read.tbs_certificate();
    let mut template = certificate_of(certificate.to_vec());
    template.extend([
        Attribute::Subject(signed.subject().to_der().unwrap()),
        Attribute::Issuer(signed.issuer().to_der().unwrap()),
        Attribute::SerialNumber(signed.serial_number().to_der().unwrap()),
    ]);
    template.extend_from_slice(name);
    other_session().create_object(&template).unwrap();
}

fn store_value(value: Vec<u8>) {
    let mut template = certificate_of(value);
    template.push(Attribute::Subject(vec![0x30, 0]));
    other_session().create_object(&template).unwrap();
}

fn certificate_of(value: Vec<u8>) -> Vec<Attribute> {
    vec![
        Attribute::Class(ObjectClass::CERTIFICATE),
        Attribute::CertificateType(CertificateType::X_509),
        Attribute::Token(true),
        Attribute::Private(false),
        Attribute::Value(value),
    ]
}

/// The attributes that find the certificate with this label.
fn leaf_of(label: &str) -> [Attribute; 2] {
    let class = Attribute::Class(ObjectClass::CERTIFICATE);
    [class, Attribute::Label(label.into())]
}

/// The label and id of the private key with this label.
fn name_of_key(label: &str) -> Vec<Attribute> {
    let class = Attribute::Class(ObjectClass::PRIVATE_KEY);
    name_of(&[class, Attribute::Label(label.into())])
}

fn name_of(template: &[Attribute]) -> Vec<Attribute> {
    let session = other_session();
    let [object] = session.find_objects(template).unwrap()[..] else {
        panic!("one object");
    };
    let name = [AttributeType::Label, AttributeType::Id];
    session.get_attributes(object, &name).unwrap()
}

fn objects_named(name: &[Attribute]) -> usize {
    let class = Attribute::Class(ObjectClass::CERTIFICATE);
    let template = [&[class], name].concat();
    other_session().find_objects(&template).unwrap().len()
}
