//! A device with issued certificates, written in Python from the specification. It shares no code with this project.

use std::process::Stdio;
use std::time::Duration;

use dps_types::enrollment::IndividualEnrollment;
use dps_types::protocol::ApiVersion;
use dps_types::{RegistrationId, SymmetricKey};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::emulator::{Emulator, HTTPS_PORT, LOCALHOST};
use crate::program::Program;

const DEADLINE: Duration = Duration::from_secs(90);

/// Registers with a certificate request over this transport, connects to the hub, renews the certificate, and connects again.
async fn lives(register: &str) {
    let options = [
        "--hub",
        LOCALHOST,
        "--certificate-authority",
        "contoso/factory-1/toasters=7",
    ];
    let emulator = Emulator::start_with(HTTPS_PORT, &options).await;
    let id: RegistrationId = "Toaster-007".parse().unwrap();
    let (key, other) = (SymmetricKey::generate(), SymmetricKey::generate());
    let enrollment = IndividualEnrollment::from_keys(id.clone(), &key, &other)
        .allocate_to(LOCALHOST.parse().unwrap())
        .issue_certificates(
            "contoso".parse().unwrap(),
            "factory-1".parse().unwrap(),
            "toasters".parse().unwrap(),
        );
    let service = emulator
        .service()
        .clone()
        .with_api_version(ApiVersion::V2026_11_01);
    let enrolled = service.individual_enrollments().create(&enrollment).await;
    enrolled.expect("the enrollment is created");

    let request = json!({
        "httpsPort": HTTPS_PORT,
        "mqttPort": 8883,
        "idScope": emulator.id_scope(),
        "registrationId": id,
        "key": &*key.to_base64(),
        "register": register,
    });
    let device = Program::Python
        .script("issued_certificate", emulator.ca_pem())
        .arg(request.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output();
    let output = timeout(DEADLINE, device).await.expect("in time").unwrap();
    assert!(output.status.success(), "{}", output.status);
    let report: Value = serde_json::from_slice(&output.stdout).expect("one line of JSON");
    assert_eq!(report["assignedHub"], LOCALHOST, "{report}");
    assert_ne!(report["first"], report["second"], "two certificates");
    emulator.stop().await;
}

#[tokio::test]
#[ignore = "needs paho-mqtt, cryptography and port 8883: scripts/test interop"]
async fn over_mqtt() {
    lives("mqtt").await;
}

#[tokio::test]
#[ignore = "needs paho-mqtt, cryptography, curl, openssl and ports 443 and 8883: scripts/test interop"]
async fn over_https() {
    lives("https").await;
}
