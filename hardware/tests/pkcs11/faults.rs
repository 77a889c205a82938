//! Modules that block, fail, count PINs or return malformed attributes.

use std::time::Duration;

use dps_device::certificate::{KeySource, Pkcs11KeySource};
use dps_device::pkcs11::{KeyKind, Pin, PrivateKey, Token, TokenOptions, Uri};
use dps_device::{Error, ErrorKind, X509Attestation};
use dps_hardware::{Shim, SoftHsm};
use dps_types::enrollment::IndividualEnrollment;
use dps_types::sas::Sign;

use crate::authority::Authority;
use crate::setup::{Dps, TOKEN, TRANSPORTS, object, pin, token, uri, with};

/// CKR codes. Source: PKCS#11 2.40, appendix B.
const DEVICE_ERROR: &str = "48";
const DEVICE_REMOVED: &str = "50";
const OPERATION_ACTIVE: &str = "144";
const PIN_INCORRECT: &str = "160";
const SESSION_COUNT: &str = "177";
const SESSION_HANDLE_INVALID: &str = "179";
const TOKEN_NOT_PRESENT: &str = "224";
const USER_NOT_LOGGED_IN: &str = "257";

fn shim() -> Shim {
    Shim::new(SoftHsm::new().with_token(TOKEN))
}

/// The token with a key pair on P-256, and the URI of the pair.
async fn token_with_pair() -> (Token, Uri) {
    let (token, pair) = (token().await, object("pair"));
    token
        .generate_private_key(&pair, KeyKind::P256)
        .await
        .unwrap();
    (token, pair)
}

/// The token with a time limit that a blocked call reaches soon.
async fn impatient() -> Result<Token, Error> {
    let options = TokenOptions::default()
        .with_pin(pin())
        .with_timeout(Duration::from_millis(500));
    Token::open_with(&uri("pkcs11:token=device"), options).await
}

/// Repeats a call until the module answers again.
async fn again<T>(mut call: impl AsyncFnMut() -> Result<T, Error>) -> T {
    loop {
        match call().await {
            Ok(done) => return done,
            // A signature for a certificate signing request has the deadline in the chain of its error.
            Err(error) => assert!(
                error.kind() == ErrorKind::Deadline
                    || format!("{error:#}").contains("has not answered"),
                "{error:#}"
            ),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_call_that_blocks_ends_with_an_error_and_later_calls_work_again() {
    with(shim, || async {
        let patient = token().await;
        patient.generate_secret_key(&object("key")).await.unwrap();
        let token = again(impatient).await;
        for function in [
            "C_SignInit",
            "C_Sign",
            "C_FindObjects",
            "C_GetAttributeValue",
        ] {
            let before = Shim::calls(function);
            Shim::order(&format!("{function} block"));
            let error = token.secret_key(&object("key")).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Deadline);
            assert!(error.is_retryable());
            let text = error.to_string();
            assert!(text.contains("not answered within 0.5 s"), "{text}");
            // On a busy machine the time limit may pass before the function is called.
            while Shim::calls(function) == before {
                token.secret_key(&object("key")).await.unwrap_err();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // It does not wait for the call that blocks, and it does not call the module.
            let calls = Shim::calls(function);
            let error = token.secret_key(&object("key")).await.unwrap_err();
            let text = error.to_string();
            assert!(text.contains("not answered an earlier call"), "{text}");
            assert_eq!(Shim::calls(function), calls);

            Shim::order("");
            again(async || token.secret_key(&object("key")).await).await;
        }
    });
}

#[test]
fn a_key_without_a_certificate_is_not_a_token_that_fails() {
    with(shim, || async {
        let (token, pair) = token_with_pair().await;
        assert!(token.identity_if_stored(&pair).await.unwrap().is_none());
        let key = token.private_key(&pair).await.unwrap();
        let request = key.certificate_request(&"pair".parse().unwrap()).await;
        let chain = Authority::new().sign(&request.unwrap());
        token.store_chain(&pair, &chain).await.unwrap();
        for order in [
            format!("C_FindObjectsInit return {DEVICE_ERROR}"),
            format!("C_FindObjectsInit return {OPERATION_ACTIVE}"),
            format!("C_FindObjectsInit return {SESSION_COUNT}"),
            format!("C_FindObjectsInit return {SESSION_HANDLE_INVALID}"),
            format!("C_GetAttributeValue return {USER_NOT_LOGGED_IN}"),
        ] {
            Shim::order(&order);
            let error = token.identity_if_stored(&pair).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Signing, "{order}: {error}");
            Shim::order("");
            let found = again(async || token.identity_if_stored(&pair).await).await;
            assert_eq!(found.unwrap().chain().count(), 2, "{order}");
        }
    });
}

#[test]
fn a_key_is_not_removed_for_one_that_the_token_does_not_generate() {
    with(shim, || async {
        let (token, pair) = token_with_pair().await;
        let keys = |kind| Pkcs11KeySource::selected(token.clone(), &pair, kind);
        let kept = token.private_key(&pair).await.unwrap();
        let generated = Shim::calls("C_GenerateKeyPair");
        for (orders, kind, lengths) in [
            ("key-sizes 256 256", KeyKind::P384, "256 to 256 bits"),
            ("key-sizes 512 2048", KeyKind::Rsa3072, "512 to 2048 bits"),
            // Some modules report bytes.
            ("key-sizes 64 256", KeyKind::Rsa3072, "512 to 2048 bits"),
        ] {
            Shim::order(orders);
            let error = keys(kind).generate(&[]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains("cannot generate"), "{error}");
            assert!(error.to_string().ends_with(lengths), "{error}");
            let found = token.private_key(&pair).await.unwrap();
            assert_eq!(found.public_key(), kept.public_key());
        }
        assert_eq!(Shim::calls("C_GenerateKeyPair"), generated);
        // A token that reports no lengths is asked.
        Shim::order("key-sizes 0 0");
        let (_, new) = keys(KeyKind::P384).generate(&[]).await.unwrap();
        let found = token.private_key(&pair).await.unwrap();
        assert_eq!(found.public_key(), new.public_key());
    });
}

#[test]
fn a_token_that_blocks_does_not_block_a_handshake() {
    with(shim, || async {
        let authority = Authority::new();
        let token = again(impatient).await;
        let key = again(async || {
            let found = token.private_key(&object("toaster")).await;
            match found {
                Err(error) if error.kind() == ErrorKind::InvalidConfiguration => {
                    token
                        .generate_private_key(&object("toaster"), KeyKind::P256)
                        .await
                }
                found => found,
            }
        });
        let key: PrivateKey = key.await;
        let id = "toaster".parse().unwrap();
        let request = again(async || key.certificate_request(&id).await).await;
        let chain = authority.sign(&request);
        let dps = Dps::start().await;
        let enrolled = IndividualEnrollment::client_certificate(id, chain.as_str());
        dps.enroll(&enrolled).await;
        let device = X509Attestation::new(key.identity(chain).unwrap()).unwrap();

        Shim::order("C_Sign block");
        for transport in TRANSPORTS {
            let error = dps.client(device.clone(), transport).register().await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Signing, "{transport:?}");
            let text = format!("{error:#}");
            assert!(text.contains("has not answered"), "{text}");
        }
        Shim::order("");
        again(async || key.certificate_request(&"toaster".parse().unwrap()).await).await;
    });
}

#[test]
fn calls_that_do_not_return_occupy_a_bounded_number_of_threads() {
    with(shim, || async {
        Shim::order("C_GetSlotList block");
        let (mut attempts, mut text) = (0, String::new());
        while !text.contains("calls of the PKCS#11 module") {
            let error = impatient().await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Deadline);
            text = error.to_string();
            attempts += 1;
            assert!(attempts < 20, "{text}");
        }
        assert!(
            text.starts_with("8 calls of the PKCS#11 module /"),
            "{text}"
        );
        assert!(text.contains("have not returned"), "{text}");
        let calls = Shim::calls("C_GetSlotList");
        impatient().await.unwrap_err();
        assert_eq!(Shim::calls("C_GetSlotList"), calls);

        Shim::order("");
        again(impatient).await;
    });
}

#[test]
fn a_module_that_blocks_while_it_is_loaded_is_an_error() {
    with(shim, || async {
        Shim::order("C_Initialize block");
        let error = impatient().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Deadline);
        Shim::order("");
        again(impatient).await;
    });
}

#[test]
fn a_token_that_returns_is_used_again() {
    with(shim, || async {
        let token = token().await;
        let (key, given) = token.generate_secret_key(&object("key")).await.unwrap();
        let id = "toaster".parse().unwrap();
        let derived = key.device_key(&id).await.unwrap();
        for code in [
            DEVICE_ERROR,
            DEVICE_REMOVED,
            TOKEN_NOT_PRESENT,
            SESSION_HANDLE_INVALID,
        ] {
            let logins = Shim::calls("C_Login");
            // The reader is empty: nothing can be done with the token.
            Shim::order(&format!(
                "C_SignInit return {code}\nC_OpenSession return {code}"
            ));
            for _ in 0..3 {
                let error = key.sign(b"data").await.unwrap_err();
                assert!(format!("{error:#}").contains("CKR_"), "{error:#}");
            }
            assert_eq!(
                Shim::calls("C_Login"),
                logins,
                "there is no session to log in"
            );

            Shim::order("");
            let expected = given.hmac_sha256(b"data");
            assert_eq!(key.sign(b"data").await.unwrap().0, expected);
            let expected = given.derive_device_key(&id).hmac_sha256(b"data");
            assert_eq!(derived.sign(b"data").await.unwrap().0, expected);
            assert_eq!(Shim::calls("C_Login"), logins + 1);
        }
    });
}

#[test]
fn a_token_that_was_pulled_out_is_not_a_fault_of_the_configuration() {
    with(shim, || async {
        let (used, pair) = token_with_pair().await;
        Shim::order(&format!(
            "no-token\nC_FindObjectsInit return {DEVICE_REMOVED}\nC_OpenSession return {TOKEN_NOT_PRESENT}"
        ));
        for _ in 0..2 {
            let error = used.private_key(&pair).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Signing, "{error:#}");
            let text = error.to_string();
            assert!(text.contains("not in its slot"), "{text}");
        }
        // A token that was never there may have another name.
        let other = Token::open_with_pin(&uri("pkcs11:token=device"), pin()).await;
        let error = other.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration, "{error:#}");

        Shim::order("");
        used.private_key(&pair).await.unwrap();
    });
}

#[test]
fn a_pin_that_becomes_wrong_is_tried_once() {
    with(shim, || async {
        let token = token().await;
        let (key, _) = token.generate_secret_key(&object("key")).await.unwrap();
        let (other, _) = token.generate_secret_key(&object("other")).await.unwrap();
        let name = object("pair");
        let pair = token.generate_private_key(&name, KeyKind::P256);
        let pair = pair.await.unwrap();
        let logins = Shim::calls("C_Login");

        crate::sessions::lose_all();
        Shim::order(&format!("C_Login return {PIN_INCORRECT}"));
        let id = "toaster".parse().unwrap();
        for _ in 0..3 {
            // Clones, other keys, new objects for the same token, and requests.
            key.sign(b"data").await.unwrap_err();
            other.clone().sign(b"data").await.unwrap_err();
            pair.certificate_request(&id).await.unwrap_err();
            token
                .clone()
                .private_key(&object("pair"))
                .await
                .unwrap_err();
            let error = Token::open_with_pin(&uri("pkcs11:token=device"), pin()).await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            let text = error.to_string();
            assert!(text.contains("refused the PIN before"), "{text}");
        }
        assert_eq!(Shim::calls("C_Login"), logins + 1);
    });
}

#[test]
fn tokens_that_are_opened_at_once_try_a_wrong_pin_once() {
    with(shim, || async {
        let device = uri("pkcs11:token=device");
        let attempts = (0..4).map(|_| Token::open_with_pin(&device, Pin::new("0000")));
        for opened in futures_util::future::join_all(attempts).await {
            assert_eq!(opened.unwrap_err().kind(), ErrorKind::InvalidConfiguration);
        }
        assert_eq!(Shim::calls("C_Login"), 1);
    });
}

#[test]
fn registrations_with_a_wrong_pin_log_in_once() {
    with(shim, || async {
        let authority = Authority::new();
        let token = token().await;
        let uri = object("toaster");
        let key = token.generate_private_key(&uri, KeyKind::P256);
        let key = key.await.unwrap();
        let id = "toaster".parse().unwrap();
        let chain = authority.sign(&key.certificate_request(&id).await.unwrap());
        let device = X509Attestation::new(key.identity(chain).unwrap()).unwrap();
        let dps = Dps::start().await;
        let logins = Shim::calls("C_Login");

        crate::sessions::lose_all();
        Shim::order(&format!("C_Login return {PIN_INCORRECT}"));
        for transport in TRANSPORTS {
            let error = dps.client(device.clone(), transport).register().await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::Signing);
        }
        assert_eq!(Shim::calls("C_Login"), logins + 1);
    });
}

#[test]
fn no_pin_is_tried_when_a_wrong_one_would_lock_the_token() {
    with(shim, || async {
        // CKF_USER_PIN_FINAL_TRY, and CKF_USER_PIN_LOCKED.
        for (flags, reason) in [("131072", "one attempt is left"), ("262144", "is locked")] {
            Shim::order(&format!("token-flags {flags}"));
            let error = Token::open_with_pin(&uri("pkcs11:token=device"), pin()).await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(reason), "{error}");
        }
        assert_eq!(Shim::calls("C_Login"), 0);
        // CKF_USER_PIN_COUNT_LOW: a wrong PIN was tried once, by this or another program.
        Shim::order("token-flags 65536");
        let wrong = Token::open_with_pin(&uri("pkcs11:token=device"), Pin::new("0000")).await;
        wrong.unwrap_err();
        token().await;
        assert_eq!(Shim::calls("C_Login"), 2);
    });
}

/// Attribute types. Source: PKCS#11 2.40, appendix B.
const CKA_CLASS: u32 = 0x0;
const CKA_LABEL: u32 = 0x3;
const CKA_VALUE: u32 = 0x11;
const CKA_ID: u32 = 0x102;
const CKA_MODULUS: u32 = 0x120;
const CKA_PUBLIC_EXPONENT: u32 = 0x122;
const CKA_PUBLIC_KEY_INFO: u32 = 0x129;
const CKA_EC_PARAMS: u32 = 0x180;
const CKA_EC_POINT: u32 = 0x181;
const CKA_ALWAYS_AUTHENTICATE: u32 = 0x202;

#[test]
fn malformed_attributes_are_errors_or_ignored() {
    with(shim, || async {
        let authority = Authority::new();
        let token = token().await;
        for (label, kind) in [("ec", KeyKind::P256), ("rsa", KeyKind::Rsa2048)] {
            let uri = object(label);
            let key = token.generate_private_key(&uri, kind).await.unwrap();
            let request = key.certificate_request(&label.parse().unwrap()).await;
            let chain = authority.sign(&request.unwrap());
            token.store_chain(&uri, chain).await.unwrap();
        }
        let long = "30".repeat(4000);
        let values = [
            "-",
            "00",
            "04",
            "ff",
            "0441",
            "3000",
            "308400000001",
            "0482ffff00",
        ];
        let values = values
            .into_iter()
            .chain([long.as_str(), "size 65537", "size 4000000000"]);
        for value in values {
            for attribute in [
                CKA_LABEL,
                CKA_VALUE,
                CKA_ID,
                CKA_MODULUS,
                CKA_PUBLIC_EXPONENT,
                CKA_PUBLIC_KEY_INFO,
                CKA_EC_PARAMS,
                CKA_EC_POINT,
                CKA_ALWAYS_AUTHENTICATE,
            ] {
                Shim::order(&format!("attribute {attribute} {value}"));
                for label in ["ec", "rsa"] {
                    // Either the key is found in another way, or the error has a reason.
                    if let Err(error) = token.identity(&object(label)).await {
                        let known = [ErrorKind::InvalidConfiguration, ErrorKind::Signing];
                        assert!(
                            known.contains(&error.kind()),
                            "{attribute} {value}: {error}"
                        );
                    }
                }
            }
        }
        Shim::order("");
        for label in ["ec", "rsa"] {
            token.identity(&object(label)).await.unwrap();
        }
    });
}

#[test]
fn an_object_with_other_attributes_than_those_that_were_looked_up_is_not_removed() {
    with(shim, || async {
        let (token, pair) = token_with_pair().await;
        // CKO_CERTIFICATE, and another label.
        for order in [
            format!("attribute {CKA_CLASS} 0100000000000000"),
            format!("attribute {CKA_LABEL} 78"),
        ] {
            Shim::order(&order);
            let error = token.remove_private_key(&pair).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains("its handle belongs"), "{error}");
        }
        assert_eq!(Shim::calls("C_DestroyObject"), 0);
        Shim::order("");
        token.remove_private_key(&pair).await.unwrap();
        assert_eq!(Shim::calls("C_DestroyObject"), 2);
    });
}

#[test]
fn an_error_while_a_key_is_checked_is_reported() {
    with(shim, || async {
        let (token, pair) = token_with_pair().await;
        // CKR_DEVICE_ERROR
        Shim::order("C_GetAttributeValue return 48");
        let error = token.private_key(&pair).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Signing, "{error}");
        // A token without the attribute has no such keys.
        Shim::order(&format!("attribute {CKA_ALWAYS_AUTHENTICATE} -"));
        token.private_key(&pair).await.unwrap();
    });
}

#[test]
fn a_malformed_public_key_is_named_in_the_error() {
    with(shim, || async {
        let token = token().await;
        for (label, kind) in [("ec", KeyKind::P256), ("rsa", KeyKind::Rsa2048)] {
            token
                .generate_private_key(&object(label), kind)
                .await
                .unwrap();
        }
        for (label, order, reason) in [
            // secp256k1.
            (
                "ec",
                format!("attribute {CKA_EC_PARAMS} 06052b8104000a"),
                "curve",
            ),
            ("ec", format!("attribute {CKA_EC_PARAMS} 06"), "curve"),
            ("ec", format!("attribute {CKA_EC_POINT} 0441"), "public key"),
            ("rsa", format!("attribute {CKA_MODULUS} 0001"), "has 8 bits"),
            (
                "rsa",
                format!("attribute {CKA_MODULUS} size 65537"),
                "65537 bytes",
            ),
        ] {
            Shim::order(&order);
            let error = token.private_key(&object(label)).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            assert!(error.to_string().contains(reason), "{order}: {error}");
        }
    });
}
