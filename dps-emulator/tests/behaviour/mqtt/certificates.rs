//! X.509 attestation with the certificate of the TLS handshake.

use std::sync::Arc;
use std::time::Duration;

use dps_emulator::{CertificateAuthority, DeviceCredentials};
use rcgen::{CertificateParams, DnType, KeyPair, KeyUsagePurpose};
use serde_json::json;

use crate::common::{
    Client, Connect, Dps, KEY_1, NOT_AUTHORIZED, REGISTER, TestClock, Transport,
    certificate_enrollment, certificate_group,
};

/// An individual device, enrolled by its own certificate.
async fn individual() -> (Dps, DeviceCredentials) {
    let dps = Dps::start().await;
    let device = DeviceCredentials::self_signed("dev-1").expect("a certificate");
    let document = certificate_enrollment("dev-1", device.certificate_pem());
    dps.create("/enrollments/dev-1", &document).await;
    (dps, device)
}

async fn provisioned(mut client: Client<impl Transport>, connect: &Connect) -> serde_json::Value {
    client.connect(connect).await;
    client.subscribe().await;
    let mut document = client.provision().await;
    assert_eq!(document["status"], "assigned", "{document}");
    document["registrationState"].take()
}

#[tokio::test]
async fn without_a_password_and_with_an_empty_one() {
    let (dps, device) = individual().await;
    for connect in [Connect::of("dev-1"), Connect::of("dev-1").password("")] {
        let client = dps.mqtt_showing(device.certificate_pem(), &device).await;
        let state = provisioned(client, &connect).await;
        assert_eq!(state["x509"], json!({}), "{state}");
    }
}

#[tokio::test]
async fn over_websocket() {
    let (dps, device) = individual().await;
    let client = dps
        .websocket_showing(device.certificate_pem(), &device)
        .await;
    let state = provisioned(client, &Connect::of("dev-1")).await;
    assert_eq!(state["x509"], json!({}), "{state}");
}

#[tokio::test]
async fn a_group_and_a_device_that_sends_its_intermediate() {
    let dps = Dps::start().await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let line = root.intermediate("Contoso Line 1").expect("a CA");
    let device = line.issue("dev-1").expect("a certificate");
    let group = certificate_group("contoso", root.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &group).await;

    let chain = device.certificate_chain_pem();
    let mqtt = dps.mqtt_showing(&chain, &device).await;
    let state = provisioned(mqtt, &Connect::of("dev-1")).await;
    assert_eq!(state["x509"], json!({ "enrollmentGroupId": "contoso" }));
    let websocket = dps.websocket_showing(&chain, &device).await;
    let state = provisioned(websocket, &Connect::of("dev-1")).await;
    assert_eq!(state["x509"], json!({ "enrollmentGroupId": "contoso" }));

    // Without the intermediate the chain does not reach the root.
    let mut client = dps.mqtt_showing(device.certificate_pem(), &device).await;
    client.send(&Connect::of("dev-1").bytes()).await;
    client.expect(NOT_AUTHORIZED).await;
    client.closed().await;
}

#[tokio::test]
async fn a_certificate_of_another_device() {
    let (dps, device) = individual().await;
    dps.enroll("dev-2").await;
    let mut client = dps.mqtt_showing(device.certificate_pem(), &device).await;
    client.send(&Connect::of("dev-2").bytes()).await;
    client.expect(NOT_AUTHORIZED).await;
    client.closed().await;
}

/// A token takes precedence.
#[tokio::test]
async fn a_token_takes_precedence_over_a_certificate() {
    let (dps, device) = individual().await;
    dps.enroll("dev-2").await;
    let client = dps.mqtt_showing(device.certificate_pem(), &device).await;
    let state = provisioned(client, &Connect::with_key("dev-2", KEY_1)).await;
    assert_eq!(state["symmetricKey"], json!({}), "{state}");

    let mut client = dps.mqtt_showing(device.certificate_pem(), &device).await;
    client
        .send(&Connect::with_key("dev-1", KEY_1).bytes())
        .await;
    client.expect(NOT_AUTHORIZED).await;
    client.closed().await;
}

#[tokio::test]
async fn a_certificate_that_expires_during_the_connection() {
    let clock = TestClock::now();
    let dps = Dps::start_with(|builder| builder.clock(Arc::new(clock.clone()))).await;
    let root = CertificateAuthority::new("Contoso Root").expect("a CA");
    let group = certificate_group("contoso", root.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &group).await;
    let device = root.issue("dev-1").expect("a certificate");

    let chain = device.certificate_chain_pem();
    let mut client = dps.mqtt_showing(&chain, &device).await;
    client.connect(&Connect::of("dev-1")).await;
    client.subscribe().await;
    client.provision().await;
    clock.advance(Duration::from_secs(100 * 365 * 24 * 60 * 60));
    let response = client.ask(&format!("{REGISTER}1"), b"{}").await;
    assert_eq!(response.topic, "$dps/registrations/res/401/?$rid=1");
    response.assert_error(401_002, "Invalid certificate.");
}

const OLD_DEVICE: &str = include_str!("../certificates/version-1-device.pem");
const OLD_KEY: &str = include_str!("../certificates/version-1-key.pem");
const OLD_ROOT: &str = include_str!("../certificates/version-1-root.pem");

#[tokio::test]
async fn a_version_1_certificate_over_both_transports() {
    let dps = Dps::start().await;
    let group = certificate_group("contoso", OLD_ROOT);
    dps.create("/enrollmentGroups/contoso", &group).await;
    let connect = Connect::of("dev-1");
    let mqtt = dps.mqtt_presenting(OLD_DEVICE, OLD_KEY).await;
    let state = provisioned(mqtt, &connect).await;
    assert_eq!(state["x509"], json!({ "enrollmentGroupId": "contoso" }));
    let websocket = dps.websocket_presenting(OLD_DEVICE, OLD_KEY).await;
    let state = provisioned(websocket, &connect).await;
    assert_eq!(state["x509"], json!({ "enrollmentGroupId": "contoso" }));
}

#[tokio::test]
async fn a_certificate_whose_key_usage_forbids_signatures_over_both_transports() {
    let dps = Dps::start().await;
    let key = KeyPair::generate().expect("a key");
    let mut params = CertificateParams::default();
    params.distinguished_name = Default::default();
    params.distinguished_name.push(DnType::CommonName, "dev-1");
    params.key_usages = vec![KeyUsagePurpose::KeyEncipherment];
    let certificate = params.self_signed(&key).expect("a certificate").pem();
    let document = certificate_enrollment("dev-1", &certificate);
    dps.create("/enrollments/dev-1", &document).await;

    let key = key.serialize_pem();
    let mut mqtt = dps.mqtt_presenting(&certificate, &key).await;
    mqtt.send(&Connect::of("dev-1").bytes()).await;
    mqtt.expect(NOT_AUTHORIZED).await;
    let mut websocket = dps.websocket_presenting(&certificate, &key).await;
    websocket.send(&Connect::of("dev-1").bytes()).await;
    websocket.expect(NOT_AUTHORIZED).await;
}
