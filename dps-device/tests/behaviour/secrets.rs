//! Debug output, errors and logs hold no secret.

use dps_device::attestation::Proof;
use dps_device::transport::Reply;
use dps_device::{Attestation, Proxy, SymmetricKey, SymmetricKeyAttestation, X509Attestation};
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::json;
use tracing::Level;

use crate::log::Log;
use crate::script::{KEY, Script, answer, assigned, assigning};

#[test]
fn debug_shows_no_key() {
    let key = SymmetricKey::from_base64(KEY).unwrap();
    let who =
        SymmetricKeyAttestation::new("my-device".parse().unwrap(), key.clone()).with_secondary(key);
    let proxy: Proxy = "http://user:hunter2@proxy:8080".parse().unwrap();
    let client = Script::new([]).client().with_proxy(proxy);
    let register = client.register().payload(json!("hunter2"));
    let shown = format!(
        "{who:?} {:?} {client:?} {register:?} {:?} {:?} {:?}",
        who.proof(),
        client.lookup(),
        Reply::new(200, "hunter2"),
        client.register().events(),
    );
    for secret in ["hunter2", &KEY[..20]] {
        assert!(!shown.contains(secret), "{shown}");
    }
    assert!(shown.contains("my-device"), "{shown}");
}

#[test]
fn debug_shows_no_private_key() {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "my-device");
    let certificate = params.self_signed(&key).unwrap();
    let who = X509Attestation::from_pem(certificate.pem(), key.serialize_pem()).unwrap();
    let shown = format!("{who:?} {:?}", who.proof());
    assert_eq!(
        shown,
        "X509Attestation { registration_id: \"my-device\", identity: ClientIdentity { certificates: 1, .. } } Certificate(ClientIdentity { certificates: 1, .. })"
    );
    assert!(matches!(who.proof(), Proof::Certificate(_)));
}

#[test]
fn an_error_about_a_key_does_not_repeat_it() {
    let key = "-----BEGIN PRIVATE KEY-----\nhunter2hunter2!\n-----END PRIVATE KEY-----\n";
    let pair = KeyPair::generate().unwrap();
    let certificate = CertificateParams::default().self_signed(&pair).unwrap();
    let error = X509Attestation::from_pem(certificate.pem(), key).unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[tokio::test(start_paused = true)]
async fn the_log_has_stable_fields() {
    let (log, _guard) = Log::collect(Level::TRACE);
    let script = Script::new([assigning(), answer(503, ""), assigned()]);
    let register = script.client().register().payload(json!("hunter2"));
    register.await.unwrap();

    let text = log.text();
    for expected in [
        "register{registration_id=my-device id_scope=0ne00111111",
        "attempt=3",
        "operation_id=5.316aac5bdc130deb.b1e02da8-c3a0-4ff2-a121-7ea7a6b7f550",
        "retrying error=the service failed (status 503)",
        "assigned hub=hub.azure-devices.net",
    ] {
        assert!(text.contains(expected), "{expected} is not in {text}");
    }
    assert!(!text.contains("hunter2"), "{text}");
}

#[cfg(feature = "http")]
#[tokio::test]
async fn the_log_of_an_https_registration_holds_no_secret() {
    use crate::https::registered;

    let (log, _guard) = Log::collect(Level::TRACE);
    let token = registered().await;
    let signature = token.split("&sig=").nth(1).unwrap().split('&').next();

    let text = log.text();
    assert!(text.contains("assigned"), "{text}");
    for secret in [signature.unwrap(), &KEY[..20], "SharedAccessSignature sr"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[cfg(feature = "http")]
#[tokio::test]
async fn the_log_of_a_tpms_registration_holds_no_secret() {
    use dps_hardware::vector;

    let (log, _guard) = Log::collect(Level::TRACE);
    let token = crate::https::challenge::registered().await;
    let signature = token.split("&sig=").nth(1).unwrap().split('&').next();

    let text = log.text();
    assert!(text.contains("challenged"), "{text}");
    assert!(text.contains("assigned"), "{text}");
    let wrapped = [vector::challenge(), vector::wrapped_hub_key()];
    let secrets = [
        signature.unwrap(),
        "SharedAccessSignature sr",
        &wrapped[0][..40],
        &wrapped[1][..40],
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[cfg(feature = "mqtt")]
#[tokio::test]
async fn the_log_of_an_mqtt_registration_holds_no_secret() {
    let (log, _guard) = Log::collect(Level::TRACE);
    let connect = crate::mqtt::registered().await;
    let connect = String::from_utf8_lossy(&connect);
    let signature = connect.split("&sig=").nth(1).unwrap().split('&').next();

    let text = log.text();
    assert!(text.contains("assigned"), "{text}");
    for secret in [signature.unwrap(), &KEY[..20], "SharedAccessSignature sr"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}

#[cfg(feature = "hub")]
#[tokio::test]
async fn the_log_of_a_hub_connection_holds_no_secret() {
    let (log, _guard) = Log::collect(Level::TRACE);
    let connect = crate::hub::exchange_secret("hunter2").await;
    let connect = String::from_utf8_lossy(&connect);
    let signature = connect.split("&sig=").nth(1).unwrap().split('&').next();

    let text = log.text();
    assert!(text.contains("exchanged"), "{text}");
    let secrets = [
        signature.unwrap(),
        &KEY[..20],
        "SharedAccessSignature sr",
        "hunter2",
    ];
    for secret in secrets {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}
