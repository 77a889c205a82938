//! Errors name the cause and the remedy.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use cryptoki::mechanism::MechanismType;
use cryptoki::object::ObjectClass;
use dps_device::pkcs11::{KeyKind, Pin, Token};
use dps_device::{ErrorKind, SymmetricKey, X509Attestation};
use dps_hardware::SoftHsm;
use dps_types::sas::Sign;

use crate::authority::Authority;
use crate::capabilities::{has_size, logins_are_shared};
use crate::setup::{
    Dps, TRANSPORTS, alone, alone_with_secret_keys, object, pin, skipped, token, uri,
};

#[test]
fn a_wrong_pin_is_refused_and_not_tried_again() {
    alone(|| async {
        let device = uri("pkcs11:token=device");
        let error = Token::open_with_pin(&device, Pin::new("0000")).await;
        let error = error.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert!(error.to_string().contains("CKR_PIN_INCORRECT"), "{error}");
        assert!(error.to_string().contains("not tried again"), "{error}");
        // The correct PIN still opens it.
        Token::open_with_pin(&device, pin()).await.unwrap();
    });
}

#[test]
fn a_pin_that_has_changed_is_tried_once() {
    alone_with_secret_keys(|| async {
        let asked = Arc::new(AtomicU32::new(0));
        let pin = {
            let asked = asked.clone();
            Pin::from_fn(move || {
                let right = asked.fetch_add(1, Ordering::Relaxed) == 0;
                let pin = if right { SoftHsm::PIN } else { "0000" };
                Ok::<_, std::io::Error>(pin.to_owned())
            })
        };
        let token = Token::open_with_pin(&uri("pkcs11:token=device"), pin).await;
        let (key, _) = token
            .unwrap()
            .generate_secret_key(&object("key"))
            .await
            .unwrap();
        if !logins_are_shared() {
            skipped("each user of the module has a login of its own");
            return;
        }
        crate::sessions::log_out();
        for _ in 0..3 {
            key.sign(b"data").await.unwrap_err();
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_key_that_cannot_sign_the_handshake_is_a_signing_error() {
    alone(|| async {
        let authority = Authority::new();
        let token = token().await;
        let uri = object("toaster");
        let key = token.generate_private_key(&uri, KeyKind::P256).await;
        let key = key.unwrap();
        let request = key.certificate_request(&"toaster".parse().unwrap()).await;
        let chain = authority.sign(&request.unwrap());
        let device = X509Attestation::new(key.identity(chain).unwrap()).unwrap();
        crate::sessions::remove_all(ObjectClass::PRIVATE_KEY);

        let dps = Dps::start().await;
        for transport in TRANSPORTS {
            let error = dps.client(device.clone(), transport).register().await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Signing, "{transport:?}");
            // Some modules keep the handle of an object that was removed through another session.
            let text = format!("{error:?}");
            let reasons = ["the token has no private key", "CKR_GENERAL_ERROR"];
            assert!(reasons.iter().any(|reason| text.contains(reason)), "{text}");
        }
    });
}

#[test]
fn the_error_for_a_missing_key_lists_the_existing_keys() {
    alone(|| async {
        let token = token().await;
        let empty = token.private_key(&object("toaster")).await.unwrap_err();
        assert_eq!(
            empty.to_string(),
            "the token has no private key \"toaster\": there is no private key in the token"
        );
        let there = uri("pkcs11:object=toaster-1;id=%ab");
        token
            .generate_private_key(&there, KeyKind::P256)
            .await
            .unwrap();
        let error = token.private_key(&object("toaster")).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        assert_eq!(
            error.to_string(),
            "the token has no private key \"toaster\": there is \"toaster-1\" (id ab)"
        );
    });
}

#[test]
fn the_error_for_a_key_of_another_class_names_the_class() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        token.generate_secret_key(&object("hmac")).await.unwrap();
        token
            .generate_private_key(&object("pair"), KeyKind::P256)
            .await
            .unwrap();

        let error = token.private_key(&object("hmac")).await.unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("the object with this name is a secret key")
        );
        let error = token.secret_key(&object("pair")).await.unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("the object with this name is a private key")
        );
    });
}

#[test]
fn a_key_that_the_mechanism_does_not_support_is_refused() {
    alone_with_secret_keys(|| async {
        let token = token().await;
        if has_size(MechanismType::SHA256_HMAC, 16) {
            skipped("it supports short keys");
            return;
        }
        let short = SymmetricKey::from_bytes(vec![7; 16]).unwrap();
        let error = token.import_secret_key(&object("short"), &short).await;
        let error = error.unwrap_err();
        assert!(error.to_string().contains("CKR_KEY_SIZE_RANGE"), "{error}");
        // The name can be used again.
        token.generate_secret_key(&object("short")).await.unwrap();
    });
}

#[test]
fn a_name_that_is_in_use_is_refused() {
    alone(|| async {
        let token = token().await;
        let uri = object("key");
        token
            .generate_private_key(&uri, KeyKind::P256)
            .await
            .unwrap();
        let error = token.generate_private_key(&uri, KeyKind::P256).await;
        let error = error.unwrap_err();
        let expected = "the token already has a private key \"key\": ";
        assert!(error.to_string().starts_with(expected), "{error}");

        let nameless = crate::setup::uri("pkcs11:");
        let error = token.generate_secret_key(&nameless).await.unwrap_err();
        assert!(error.to_string().contains("requires a name"), "{error}");
    });
}

#[tokio::test]
async fn a_file_that_is_not_a_module_is_named_in_the_error() {
    let open = |path: &str| {
        let uri = "pkcs11:token=device".parse::<dps_device::pkcs11::Uri>();
        let uri = uri.unwrap().with_module_path(path);
        async move { Token::open_with_pin(&uri, pin()).await.unwrap_err() }
    };
    let missing = open("/usr/lib/no-such-module.so").await;
    assert_eq!(missing.kind(), ErrorKind::InvalidConfiguration);
    assert!(
        missing
            .to_string()
            .starts_with("there is no PKCS#11 module /usr/lib/no-such-module.so"),
        "{missing}"
    );
    // A program, a text file, and a library that is not a PKCS#11 module.
    let program = std::env::current_exe().unwrap();
    let library = find_libc();
    for path in [program.to_str().unwrap(), "/etc/passwd", library.as_str()] {
        let error = open(path).await.to_string();
        assert_eq!(error, format!("{path} is not a PKCS#11 module"));
    }
    let unnamed = Token::open(&"pkcs11:token=device".parse().unwrap()).await;
    assert!(unnamed.unwrap_err().to_string().contains("names no module"));
}

/// A library that this process has loaded.
fn find_libc() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps.lines().find(|line| line.contains("/libc.so")).unwrap();
    line.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn a_chain_without_a_certificate_of_the_key_is_refused() {
    alone(|| async {
        let token = token().await;
        let uri = object("toaster");
        token
            .generate_private_key(&uri, KeyKind::P256)
            .await
            .unwrap();
        let root = Authority::new().root_pem();
        let error = token.identity_with_chain(&uri, root).await.unwrap_err();
        assert!(
            error
                .to_string()
                .contains("does not match the first certificate"),
            "{error}"
        );
        let error = token.identity_with_chain(&uri, "no pem").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    });
}
