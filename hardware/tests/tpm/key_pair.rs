//! Key pairs in the TPM for X.509 attestation: creating, opening and registering.

use std::net::{Ipv4Addr, TcpListener};
use std::time::Duration;

use dps_device::tpm::{KeyKind, PersistentHandle, Tpm, TpmKeyPair};
use dps_device::{ErrorKind, Http, Mqtt, MqttWebSocket, Transport, X509Attestation};
use dps_hardware::Swtpm;
use dps_types::RegistrationId;
use dps_types::enrollment::AttestationMechanism;
use rustls::SignatureScheme;

use crate::authority::Authority;
use crate::dps::{Dps, HUB};
use crate::{cause, chain, open, options, raw, secret};

const DEVICE: &str = "toaster-007";

#[tokio::test]
async fn a_key_pair_survives_restarts_and_is_not_replaced() {
    let mut swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let error = tpm.key_pair().open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(
        chain(&error).contains("no key at 0x81000101"),
        "{}",
        chain(&error)
    );

    let made = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    assert_eq!(raw::persistent(&swtpm), [0x8100_0001, 0x8100_0101]);
    let error = tpm.key_pair().create(KeyKind::P256).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(chain(&error).contains("not replaced"), "{}", chain(&error));

    swtpm.restart();
    let kept = tpm.key_pair().open().await.unwrap();
    assert_eq!(kept.public_key(), made.public_key());

    let elsewhere = PersistentHandle::new(0x8100_0200).unwrap();
    let second = tpm
        .key_pair()
        .with_handle(elsewhere)
        .create(KeyKind::P256)
        .await
        .unwrap();
    assert_ne!(second.public_key(), made.public_key());
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn a_storage_root_key_is_not_accepted_as_a_key_pair() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let wrong = tpm
        .key_pair()
        .with_handle(PersistentHandle::STORAGE_ROOT_KEY);
    let error = wrong.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(
        chain(&error).contains("0x81000001 does not sign for TLS"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn a_key_pair_may_have_an_authorization_value() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let options = tpm.key_pair().with_auth(secret("the key's secret"));
    options.clone().create(KeyKind::P256).await.unwrap();

    for wrong in [
        tpm.key_pair(),
        tpm.key_pair().with_auth(secret("another secret")),
    ] {
        let error = wrong.open().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
        // TPM_RC_AUTH_FAIL of the first session: the TPM counts the attempt.
        assert_eq!(cause(&error).response_code(), Some(0x98e));
        assert!(!chain(&error).contains("secret"), "{}", chain(&error));
    }
    let key = options.open().await.unwrap();
    request(&key).await;
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn wrong_values_lock_only_a_key_pair_that_has_a_value() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let protected = tpm.key_pair().with_auth(secret("the key's secret"));
    protected.clone().create(KeyKind::P256).await.unwrap();
    let elsewhere = PersistentHandle::new(0x8100_0200).unwrap();
    let free = tpm.key_pair().with_handle(elsewhere);
    free.clone().create(KeyKind::P256).await.unwrap();

    let mut codes = Vec::new();
    while codes.last() != Some(&Some(0x921)) {
        assert!(codes.len() < 40, "the TPM does not lock: {codes:x?}");
        let error = tpm.key_pair().with_auth(secret("a guess")).open().await;
        codes.push(cause(&error.unwrap_err()).response_code());
    }

    let error = protected.open().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signing);
    let text = chain(&error);
    assert!(
        text.contains("TPM_RC_LOCKOUT (0x921): the TPM is locked"),
        "{text}"
    );
    free.open().await.unwrap();
}

#[tokio::test]
async fn a_tpm_that_is_turned_off_fails_the_request() {
    let mut swtpm = Swtpm::start();
    let key = open(&swtpm)
        .await
        .key_pair()
        .create(KeyKind::P256)
        .await
        .unwrap();
    swtpm.stop();
    let id: RegistrationId = DEVICE.parse().unwrap();
    let error = key.certificate_request(&id).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signing);
    assert!(
        chain(&error).contains("TSS2_TCTI_RC_IO_ERROR"),
        "{}",
        chain(&error)
    );
}

#[tokio::test]
async fn an_unsupported_kind_of_key_has_a_clear_error() {
    let swtpm = Swtpm::start();
    let made = open(&swtpm).await.key_pair().create(KeyKind::Rsa4096).await;
    match made {
        // libtpms supports this kind since 0.10.
        Ok(key) => assert!(key.public_key().len() > 4096 / 8),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
            let text = chain(&error);
            assert!(text.contains("TPM2_Create: TPM_RC_VALUE"), "{text}");
            assert!(text.contains("does not support this algorithm"), "{text}");
        }
    }
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn a_key_that_another_process_has_replaced_is_reported() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let opened = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let id: RegistrationId = DEVICE.parse().unwrap();
    for other in [KeyKind::P256, KeyKind::Rsa2048] {
        let elsewhere = open(&swtpm).await;
        elsewhere.key_pair().remove().await.unwrap();
        elsewhere.key_pair().create(other).await.unwrap();
        let error = opened.certificate_request(&id).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Signing);
        let text = chain(&error);
        assert!(
            text.contains("the key at 0x81000101 is another one"),
            "{text}"
        );
    }
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::test]
async fn the_value_of_a_key_that_was_replaced_is_tried_once() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let keys = tpm.key_pair().with_auth(secret("first"));
    let opened = keys.create(KeyKind::P256).await.unwrap();
    let elsewhere = open(&swtpm).await.key_pair().with_auth(secret("other"));
    elsewhere.clone().remove().await.unwrap();
    let other = elsewhere.create(KeyKind::P256).await.unwrap();
    let id: RegistrationId = DEVICE.parse().unwrap();
    for words in [
        "is another one",
        "has refused its authorization value before",
    ] {
        let error = opened.certificate_request(&id).await.unwrap_err();
        assert!(chain(&error).contains(words), "{}", chain(&error));
    }
    // More attempts than a TPM allows do not lock it.
    for _ in 0..40 {
        opened.certificate_request(&id).await.unwrap_err();
    }
    other.certificate_request(&id).await.unwrap();
}

#[tokio::test]
async fn a_tpm_that_does_not_answer_ends_at_the_timeout() {
    let mut swtpm = Swtpm::start();
    let limit = Duration::from_secs(5);
    let tpm = Tpm::open(options(&swtpm).with_timeout(limit))
        .await
        .unwrap();
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let chain_of_key = Authority::new().sign(&request(&key).await);
    let identity = key.identity(chain_of_key).unwrap();
    let scheme = SignatureScheme::ECDSA_NISTP256_SHA256;
    let signer = identity.certified_key().key.choose_scheme(&[scheme]);
    swtpm.stop();
    // Accepts connections, and never answers.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, swtpm.port())).unwrap();
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, swtpm.port() + 1)).unwrap();

    let id: RegistrationId = DEVICE.parse().unwrap();
    let requested = key.certificate_request(&id).await.unwrap_err();
    // The same in a TLS handshake, which is not async.
    let signed = signer.unwrap().sign(b"message").unwrap_err();
    // Ends the threads that are still waiting.
    drop((silent, control));

    assert_eq!(requested.kind(), ErrorKind::Signing);
    for text in [chain(&requested), chain(&signed)] {
        assert!(text.contains("did not answer within 5s"), "{text}");
    }
}

#[tokio::test]
async fn it_registers_over_https() {
    registers(KeyKind::P256, |dps| {
        Http::default().with_port(dps.emulator.https_port())
    })
    .await;
}

#[tokio::test]
async fn it_registers_over_mqtt() {
    registers(KeyKind::P384, |dps| {
        Mqtt::default().with_port(dps.emulator.mqtt_port())
    })
    .await;
}

#[tokio::test]
async fn it_registers_over_websocket() {
    registers(KeyKind::Rsa2048, |dps| {
        MqttWebSocket::default().with_port(dps.emulator.https_port())
    })
    .await;
}

#[tokio::test]
async fn a_chain_of_another_key_is_refused() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let key = tpm.key_pair().create(KeyKind::P256).await.unwrap();
    let elsewhere = PersistentHandle::new(0x8100_0200).unwrap();
    let other = tpm
        .key_pair()
        .with_handle(elsewhere)
        .create(KeyKind::P256)
        .await
        .unwrap();
    let chain = Authority::new().sign(&request(&other).await);
    let error = key.identity(chain).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfiguration);
    assert!(key.identity("no chain").is_err());
}

async fn registers<T: Transport + 'static>(kind: KeyKind, transport: impl FnOnce(&Dps) -> T) {
    let swtpm = Swtpm::start();
    let tpm = Tpm::open(options(&swtpm)).await.unwrap();
    let made = tpm.key_pair().create(kind).await.unwrap();
    let chain = Authority::new().sign(&request(&made).await);
    let key = tpm.key_pair().open().await.unwrap();
    let who = X509Attestation::new(key.identity(&chain).unwrap()).unwrap();

    let dps = Dps::start().await;
    let (leaf, issuer) = chain.split_once("-----END").unwrap();
    assert!(
        issuer.contains("-----BEGIN"),
        "the chain has more than the leaf"
    );
    let leaf = format!("{leaf}-----END CERTIFICATE-----\n");
    let enrolled = AttestationMechanism::client_certificate(leaf);
    dps.enroll_as(&DEVICE.parse().unwrap(), enrolled).await;
    let transport = transport(&dps);
    let assignment = dps.client_over(transport, who).register().await.unwrap();

    assert_eq!(assignment.hub().as_str(), HUB);
    assert_eq!(assignment.device_id().as_str(), DEVICE);
    assert!(raw::left_behind(&swtpm).is_empty());
    dps.shutdown().await;
}

async fn request(key: &TpmKeyPair) -> String {
    key.certificate_request(&DEVICE.parse().unwrap())
        .await
        .unwrap()
}
