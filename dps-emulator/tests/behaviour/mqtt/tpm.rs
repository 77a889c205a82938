//! A TPM cannot register over MQTT, which has no challenge.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_device::attestation::TpmKeys;
use dps_hardware::SoftwareTpm;
use dps_types::tpm::AuthenticationKey;
use serde_json::json;

use crate::common::{Connect, Dps, NOT_AUTHORIZED, token};

#[tokio::test]
async fn the_token_of_a_tpm_is_accepted_over_https_and_refused_over_mqtt() {
    let dps = Dps::start().await;
    let tpm = SoftwareTpm::number(1);
    let endorsement_key = tpm.endorsement_key().to_base64();
    let enrollment = json!({
        "registrationId": "dev-1",
        "attestation": { "type": "tpm", "tpm": { "endorsementKey": endorsement_key } },
    });
    dps.create("/enrollments/dev-1", &enrollment).await;
    let body = json!({
        "registrationId": "dev-1",
        "tpm": { "endorsementKey": endorsement_key, "storageRootKey": tpm.storage_root_key().to_base64() },
    });
    let challenge = dps.device("dev-1").register_with(body.clone()).await;
    assert_eq!(challenge.status, 401, "{challenge:?}");
    let challenge = challenge.json();
    let blob = challenge["authenticationKey"]
        .as_str()
        .expect("a challenge");
    let blob = AuthenticationKey::from_base64(blob).expect("six parts");
    tpm.activate(&blob).await.expect("for this TPM");
    let key = STANDARD.encode(tpm.challenge_key().expect("opened"));
    let token = token("dev-1", &key);

    let refused = || async {
        let mut client = dps.mqtt().await;
        let connect = Connect::of("dev-1").password(&token);
        client.send(&connect.bytes()).await;
        client.expect(NOT_AUTHORIZED).await;
        client.closed().await;
    };
    refused().await;
    let device = dps.device("dev-1").token(token.as_str());
    let accepted = device.register_with(body).await;
    assert_eq!(accepted.status, 202, "{accepted:?}");
    // The key of a registration is refused as well.
    refused().await;
}
