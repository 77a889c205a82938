//! The values for another MQTT client, and the passwords of every kind of attestation.

use std::time::{Duration, SystemTime};

use dps_device::attestation::TpmKeys;
use dps_device::{HubEndpoint, SymmetricKey, SymmetricKeyAttestation};
use dps_hardware::{SoftwareTpm, vector};
use dps_types::sas::SasToken;
use dps_types::tpm::AuthenticationKey;

use super::HUB;
use crate::mqtt::{ManualClock, key};
use crate::pki::Pki;
use crate::script::{KEY, Script, assigned};

fn hub_of(who: impl dps_device::Attestation + 'static) -> HubEndpoint {
    let scope = "0ne00111111".parse().unwrap();
    dps_device::ProvisioningClient::new(scope, who, Script::new([]))
        .with_clock(ManualClock::to(1_700_000_000))
        .hub_at(HUB.parse().unwrap(), "my-device".parse().unwrap())
}

async fn token(hub: &HubEndpoint) -> SasToken {
    let password = hub.password().await.unwrap().unwrap();
    password.reveal().parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_assignment_leads_to_its_hub() {
    let client = Script::new([assigned()]).client();
    let assignment = client.register().await.unwrap();
    let hub = client.hub(&assignment);
    assert_eq!(hub.hostname().as_str(), "hub.azure-devices.net");
    assert_eq!(hub.device_id().as_str(), "my-device");
    assert_eq!(hub.host(), "hub.azure-devices.net");
    assert_eq!((hub.port(), hub.websocket_path()), (8883, None));
    assert_eq!(hub.client_id(), "my-device");
    assert_eq!(
        hub.username(),
        "hub.azure-devices.net/my-device/?api-version=2021-04-12&DeviceClientType=dps-device%2F0.1.0"
    );
    #[cfg(feature = "websocket")]
    {
        let hub = hub.with_transport(dps_device::MqttWebSocket::default());
        assert_eq!(hub.port(), 443);
        assert_eq!(hub.websocket_path(), Some("/$iothub/websocket"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_hub_with_an_unknown_connection_profile_is_not_connected_to() {
    let with_profile = |profile: &str| {
        let member = format!(r#""connectionProfile":{profile},"deviceId""#);
        crate::script::answer(
            200,
            &crate::script::ASSIGNED.replace(r#""deviceId""#, &member),
        )
    };
    for profile in ["mqttV5", "Quantum-2"] {
        let script = Script::new([with_profile(&format!("{profile:?}"))]);
        let client = script.client();
        let assignment = client.register().await.unwrap();
        assert_eq!(assignment.connection_profile().unwrap().as_str(), profile);
        let error = super::device::first_failure(&client.hub(&assignment)).await;
        assert_eq!(error.kind(), dps_device::ErrorKind::ConnectionProfile);
        assert!(error.to_string().contains(profile), "{error}");
        assert!(!error.is_retryable());
    }
    for profile in ["null", r#""classic""#] {
        let client = Script::new([with_profile(profile)]).client();
        let assignment = client.register().await.unwrap();
        let hub = client
            .hub(&assignment)
            .with_host(std::net::Ipv4Addr::LOCALHOST);
        let hub = hub.with_transport(dps_device::Mqtt::default().with_port(1));
        let error = super::device::first_failure(&hub).await;
        assert_eq!(error.kind(), dps_device::ErrorKind::Connect, "{error:#}");
    }
}

#[tokio::test]
async fn another_host_does_not_change_the_hub_in_username_and_token() {
    let hub =
        hub_of(key("my-device")).with_host("gateway.local".parse::<dps_device::Host>().unwrap());
    assert_eq!(hub.host(), "gateway.local");
    assert!(hub.username().starts_with("contoso.azure-devices.net/"));
    assert_eq!(
        token(&hub).await.resource(),
        "contoso.azure-devices.net/devices/my-device"
    );
}

#[tokio::test]
async fn a_password_is_a_token_for_one_device_that_expires() {
    let hub = hub_of(key("my-device"));
    let password = hub.password().await.unwrap().unwrap();
    assert_eq!(
        password.reveal(),
        "SharedAccessSignature sr=contoso.azure-devices.net%2Fdevices%2Fmy-device&sig=ltaCkwDUPBVv3tmSVnzwmaPEsW16gNX2qdH%2F1fqL2NQ%3D&se=1700003600"
    );
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(password.expires_at(), at(1_700_003_600));
    let shorter = hub.with_token_lifetime(Duration::from_secs(60));
    let password = shorter.password().await.unwrap().unwrap();
    assert_eq!(password.expires_at(), at(1_700_000_060));
    let longest = shorter.with_token_lifetime(Duration::MAX);
    let password = longest.password().await.unwrap().unwrap();
    assert_eq!(
        password.expires_at(),
        at(1_700_000_000 + 365 * 24 * 60 * 60)
    );
}

#[tokio::test]
async fn a_member_of_a_group_signs_with_its_derived_key() {
    // The example of azure-docs `iot-dps/concepts-symmetric-key-attestation.md`.
    let group =
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
    let derived = "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=";
    let id = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6";
    let [group, derived] = [group, derived].map(|key| SymmetricKey::from_base64(key).unwrap());
    let hub = hub_of(SymmetricKeyAttestation::from_group(
        id.parse().unwrap(),
        &group,
    ));
    assert!(token(&hub).await.verify(&derived));
}

#[tokio::test]
async fn secondary_uses_the_second_proof() {
    assert!(hub_of(key("my-device")).secondary().is_none());
    let second = SymmetricKey::from_bytes(vec![7; 64]).unwrap();
    let hub = hub_of(key("my-device").with_secondary(second.clone()));
    let other = hub.secondary().unwrap();
    assert!(token(&other).await.verify(&second));
    assert!(!token(&hub).await.verify(&second));
    assert!(other.secondary().is_none());
}

#[tokio::test]
async fn a_certificate_needs_no_password() {
    let hub = hub_of(Pki::new().device("my-device"));
    assert!(hub.password().await.unwrap().is_none());
    let tls = hub.with_roots(Pki::new().roots()).tls_config().unwrap();
    assert!(tls.client_auth_cert_resolver.has_certs());
}

#[tokio::test]
async fn a_tpm_signs_with_its_hub_key_while_a_challenge_is_open() {
    let tpm = SoftwareTpm::from_vector();
    let hub = hub_of(tpm.attestation());
    let error = hub.password().await.unwrap_err();
    assert_eq!(error.kind(), dps_device::ErrorKind::Signing);

    let wrapped = AuthenticationKey::from_base64(&vector::wrapped_hub_key()).unwrap();
    tpm.keep_hub_key(&wrapped).await.unwrap();
    let key = SymmetricKey::from_bytes(vector::hub_key()).unwrap();
    assert!(token(&hub).await.verify(&key));

    // A registration that fails after the challenge.
    let challenge = AuthenticationKey::from_base64(&vector::challenge()).unwrap();
    tpm.activate(&challenge).await.unwrap();
    assert!(token(&hub).await.verify(&key));
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let hub = hub_of(key("my-device"));
    let password = hub.password().await.unwrap().unwrap();
    let shown = format!("{hub:?} {password:?}");
    assert!(shown.contains(HUB), "{shown}");
    for secret in ["ltaCkwDU", &KEY[..20]] {
        assert!(!shown.contains(secret), "{shown}");
    }
}
