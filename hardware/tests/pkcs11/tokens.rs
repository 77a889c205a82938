//! Which token and which object a URI means.

use dps_device::pkcs11::{KeyKind, Pin, Token};
use dps_hardware::SoftHsm;

use crate::world::{alone, object, pin, token, uri, with};

#[test]
fn a_token_is_found_by_its_label_and_no_other_is_taken() {
    with(
        || SoftHsm::new().with_token("one").with_token("two"),
        || async {
            let one = Token::open_with_pin(&uri("pkcs11:token=one"), pin())
                .await
                .unwrap();
            let two = Token::open_with_pin(&uri("pkcs11:token=two"), pin())
                .await
                .unwrap();
            let key = uri("pkcs11:object=key");
            one.generate_private_key(&key, KeyKind::P256).await.unwrap();
            assert!(one.private_key(&key).await.is_ok());
            assert!(two.private_key(&key).await.is_err());
        },
    );
}

#[test]
fn a_token_of_which_there_are_two_is_asked_for() {
    with(
        || SoftHsm::new().with_token("twin").with_token("twin"),
        || async {
            let error = Token::open_with_pin(&uri("pkcs11:token=twin"), pin())
                .await
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("more than one token is pkcs11:token=twin"));
            // It says how they differ: that is enough to name one.
            let serial = error.split("serial \"").nth(1).unwrap();
            let serial = serial.split('"').next().unwrap();
            let one = uri(&format!("pkcs11:token=twin;serial={serial}"));
            Token::open_with_pin(&one, pin()).await.unwrap();
        },
    );
}

#[test]
fn a_token_that_is_not_there_is_named_with_those_that_are() {
    alone(|| async {
        for wanted in [
            "pkcs11:token=devcie",
            "pkcs11:token=device;manufacturer=Snake%20Oil",
            "pkcs11:token=device;slot-id=12345678901",
            "pkcs11:token=device;slot-description=Sun%20Metaslot",
        ] {
            let error = Token::open_with_pin(&uri(wanted), pin()).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains(&format!("no token is {wanted}")), "{text}");
            assert!(text.contains("\"device\" (serial "), "{text}");
        }
        let other = uri("pkcs11:library-manufacturer=Snake%20Oil");
        let error = Token::open_with_pin(&other, pin()).await.unwrap_err();
        assert!(error.to_string().contains("another than the URI says"));
        let ours =
            uri("pkcs11:token=device;manufacturer=SoftHSM%20project;library-manufacturer=SoftHSM");
        Token::open_with_pin(&ours, pin()).await.unwrap();
    });
}

#[test]
fn a_key_is_found_by_label_by_id_and_alone_by_nothing() {
    alone(|| async {
        let token = token().await;
        let first = object("first;of=all?");
        let named = uri("pkcs11:object=first%3Bof=all%3F;id=%00%01");
        let made = token.generate_private_key(&named, KeyKind::P256).await;
        let made = made.unwrap();
        for same in [first.clone(), first.with_id([0, 1]), uri("pkcs11:")] {
            let found = token.private_key(&same).await.unwrap();
            assert_eq!(found.public_key(), made.public_key());
        }
        token
            .generate_private_key(&object("second"), KeyKind::P256)
            .await
            .unwrap();
        let error = token.private_key(&uri("pkcs11:")).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("more than one private key"), "{text}");
        assert!(text.contains("\"first;of=all?\" (id 0001)"), "{text}");
        assert!(text.contains("\"second\" (id "), "{text}");
    });
}

#[test]
fn a_module_is_found_by_its_name_in_its_folder() {
    alone(|| async {
        let folder = SoftHsm::module().parent().unwrap().to_owned();
        let named = uri("pkcs11:token=device?module-name=softhsm2").with_module_path(&folder);
        Token::open_with_pin(&named, pin()).await.unwrap();

        let nameless = uri("pkcs11:token=device").with_module_path(&folder);
        let error = Token::open_with_pin(&nameless, pin()).await.unwrap_err();
        assert!(error.to_string().contains("needs a module-name"));
    });
}

#[test]
fn a_pin_comes_from_the_uri_a_file_the_environment_or_a_callback() {
    alone(|| async {
        let folder = std::env::temp_dir();
        let file = folder.join(format!("dps-pin-{}", std::process::id()));
        std::fs::write(&file, format!("{}\r\n", SoftHsm::PIN)).unwrap();
        let (path, value) = (file.display(), SoftHsm::PIN);

        // Each opens the token after the one before has logged out.
        for text in [
            format!("pkcs11:token=device?pin-source=file:{path}"),
            format!("pkcs11:token=device?pin-value={value}"),
        ] {
            Token::open(&uri(&text)).await.unwrap();
        }
        std::fs::remove_file(&file).unwrap();
        let device = uri("pkcs11:token=device");
        for pin in [
            Pin::from_fn(|| Ok::<_, std::io::Error>(SoftHsm::PIN.to_owned())),
            Pin::from_env(SoftHsm::PIN_VARIABLE),
        ] {
            Token::open_with_pin(&device, pin).await.unwrap();
        }
        let error = Token::open(&device).await.unwrap_err().to_string();
        assert!(error.contains("wants a PIN"), "{error}");
    });
}
