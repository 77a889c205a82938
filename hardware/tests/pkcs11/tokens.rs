//! The selection of tokens, objects, modules and PINs by a URI.

use dps_device::pkcs11::{KeyKind, Pin, Token};
use dps_hardware::SoftHsm;

use crate::setup::{TOKEN, alone, object, pin, token, uri, with};

#[test]
fn a_token_is_selected_by_its_label() {
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
fn an_ambiguous_token_is_an_error_that_lists_the_choices() {
    with(
        || SoftHsm::new().with_token("twin").with_token("twin"),
        || async {
            let error = Token::open_with_pin(&uri("pkcs11:token=twin"), pin())
                .await
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("more than one token matches pkcs11:token=twin"));
            // The error contains the serial numbers, which select one of them.
            let serial = error.split("serial \"").nth(1).unwrap();
            let serial = serial.split('"').next().unwrap();
            let one = uri(&format!("pkcs11:token=twin;serial={serial}"));
            Token::open_with_pin(&one, pin()).await.unwrap();
        },
    );
}

#[test]
fn the_error_for_a_missing_token_lists_the_existing_tokens() {
    alone(|| async {
        for selector in [
            "pkcs11:token=devcie",
            "pkcs11:token=device;manufacturer=Snake%20Oil",
            "pkcs11:token=device;slot-id=12345678901",
            "pkcs11:token=device;slot-description=Sun%20Metaslot",
        ] {
            let error = Token::open_with_pin(&uri(selector), pin())
                .await
                .unwrap_err();
            let text = error.to_string();
            assert!(
                text.contains(&format!("no token matches {selector}")),
                "{text}"
            );
            assert!(text.contains("\"device\" (serial "), "{text}");
        }
        let other = uri("pkcs11:library-manufacturer=Snake%20Oil");
        let error = Token::open_with_pin(&other, pin()).await.unwrap_err();
        assert!(error.to_string().contains("does not match the URI"));
        let module = crate::sessions::module();
        let slot = crate::sessions::slot(&module).unwrap();
        let library = module.get_library_info().unwrap();
        let info = module.get_token_info(slot).unwrap();
        let names = [info.manufacturer_id(), library.manufacturer_id()];
        let [token, library] = names.map(|name| name.replace(' ', "%20").replace('#', "%23"));
        let ours = uri(&format!(
            "pkcs11:token=device;manufacturer={token};library-manufacturer={library}"
        ));
        Token::open_with_pin(&ours, pin()).await.unwrap();
    });
}

#[test]
fn a_key_is_selected_by_label_or_id_or_because_it_is_the_only_one() {
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
fn a_module_is_found_by_its_name_in_a_folder() {
    let softhsm = || SoftHsm::new().with_token(TOKEN);
    with(softhsm, || async {
        let folder = SoftHsm::module().parent().unwrap().to_owned();
        let named = uri("pkcs11:token=device?module-name=softhsm2").with_module_path(&folder);
        Token::open_with_pin(&named, pin()).await.unwrap();

        let nameless = uri("pkcs11:token=device").with_module_path(&folder);
        let error = Token::open_with_pin(&nameless, pin()).await.unwrap_err();
        assert!(error.to_string().contains("add a module-name"));
    });
}

#[test]
fn a_pin_is_read_from_the_uri_a_file_the_environment_or_a_callback() {
    alone(|| async {
        let folder = std::env::temp_dir();
        let file = folder.join(format!("dps-pin-{}", std::process::id()));
        std::fs::write(&file, format!("{}\r\n", SoftHsm::PIN)).unwrap();
        let (path, value) = (file.display(), SoftHsm::PIN);

        // Dropping a token logs out, so each one has to log in.
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
        assert!(error.contains("requires a PIN"), "{error}");
    });
}
