//! Key pairs of issued certificates in the token.

use cryptoki::object::ObjectClass;
use dps_device::certificate::{KeyKind, KeySource, Pkcs11KeySource};
use dps_device::pkcs11::Uri;

use crate::capabilities::handles_are_unique;
use crate::key_source::keeps_the_key_in_use;
use crate::sessions::remove_labelled;
use crate::setup::{alone, module, object, skipped, skipped_without_softhsm, token};

#[test]
fn a_power_cut_while_a_key_is_replaced_leaves_the_key_in_use_and_its_place_can_be_used_again() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let token = token().await;
        let keys = Pkcs11KeySource::new(token, &object("issued"), KeyKind::P256).unwrap();
        let (first, key) = keys.generate(&[]).await.unwrap();
        // Each state between the removal of the old pair in the second place and the new pair.
        for removed in [
            &[ObjectClass::PUBLIC_KEY][..],
            &[ObjectClass::PRIVATE_KEY],
            &[ObjectClass::PUBLIC_KEY, ObjectClass::PRIVATE_KEY],
        ] {
            let (second, _) = keys.generate(&[&first]).await.unwrap();
            for class in removed {
                remove_labelled(*class, "issued-2");
            }
            let opened = keys.open(&first).await.unwrap();
            assert_eq!(opened.public_key(), key.public_key());
            let (again, new) = keys.generate(&[&first]).await.unwrap();
            assert_eq!(again, second);
            let opened = keys.open(&second).await.unwrap();
            assert_eq!(opened.public_key(), new.public_key());
        }
        assert_eq!(keys.list().await.unwrap().len(), 2);
    });
}

#[test]
fn the_keys_of_a_token_are_listed_and_managed_by_their_uris() {
    if skipped_without_softhsm() {
        return;
    }
    alone(|| async {
        let token = token().await;
        let of = |uri: &Uri| Pkcs11KeySource::selected(token.clone(), uri, KeyKind::P384);
        let whole: Uri = "pkcs11:token=device".parse().unwrap();
        assert!(of(&whole).list().await.unwrap().is_empty());
        for label in ["kettle", "toaster"] {
            let keys = of(&object(label));
            let (name, key) = keys.generate(&[]).await.unwrap();
            assert_eq!(key.kind(), Some(KeyKind::P384));
            let listed = keys.list().await.unwrap();
            assert!(
                listed[0].starts_with(&format!("pkcs11:object={label};id=")),
                "{listed:?}"
            );
            for name in [&name, &listed[0]] {
                let opened = keys.open(name).await.unwrap();
                assert_eq!(opened.public_key(), key.public_key());
            }
            let error = keys.generate(&[&listed[0]]).await.unwrap_err();
            assert!(error.to_string().contains("are in use"), "{error}");
        }
        let listed = of(&whole).list().await.unwrap();
        assert_eq!(listed.len(), 2);
        let error = of(&whole).generate(&[]).await.unwrap_err();
        assert!(error.to_string().contains("add an object"), "{error}");
        assert!(of(&whole).remove("pkcs11:").await.is_err());
        of(&whole).remove(&listed[0]).await.unwrap();
        assert_eq!(*of(&whole).list().await.unwrap(), listed[1..]);
    });
}

#[test]
fn the_keys_of_certificates_have_two_labels() {
    // Removing a key is refused then: see the next test.
    if module() == "tpm2-pkcs11" {
        skipped("it uses a handle twice after an object was removed");
        return;
    }
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
        let unnamed = ["pkcs11:token=device", "pkcs11:object=", "pkcs11:id="];
        let unnamed = unnamed.map(|uri| uri.parse::<Uri>().unwrap());
        for uri in &unnamed {
            let error = token.remove_private_key(uri).await.unwrap_err();
            assert!(error.to_string().contains("selects no key"), "{error}");
        }
        let [unnamed, ..] = unnamed;
        assert!(Pkcs11KeySource::new(token, &unnamed, KeyKind::P256).is_err());
    });
}

#[test]
fn a_key_whose_handle_belongs_to_another_key_is_not_removed() {
    alone(|| async {
        let token = token().await;
        let [first, other] = ["first", "other"].map(object);
        let kind = KeyKind::P256;
        token.generate_private_key(&first, kind).await.unwrap();
        let kept = token.generate_private_key(&other, kind).await.unwrap();
        token.remove_private_key(&first).await.unwrap();
        // With a module that uses a handle twice, the new key may be mistaken for the other one.
        let _ = token.generate_private_key(&first, kind).await;
        let are_unique = handles_are_unique();
        let removed = token.remove_private_key(&first).await;
        match are_unique {
            true => {
                removed.unwrap();
                assert!(token.private_key(&first).await.is_err());
            }
            false => {
                assert_ne!(module(), "softhsm");
                let error = removed.unwrap_err();
                assert!(error.to_string().contains("its handle belongs"), "{error}");
            }
        }
        let found = token.private_key(&other).await.unwrap();
        assert_eq!(found.public_key(), kept.public_key());
    });
}
