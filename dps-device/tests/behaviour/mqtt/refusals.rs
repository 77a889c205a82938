//! Refusals of the service.

use async_trait::async_trait;
use dps_device::attestation::{Proof, TpmKeys};
use dps_device::{Attestation, ErrorKind};
use dps_types::RegistrationId;
use dps_types::sas::{Sign, SignError, Signature};
use dps_types::tpm::{AuthenticationKey, TpmPublic};

use super::server::{CONNACK, PINGRESP, SUBACK, SUBSCRIBE, Server, publish};
use super::{MQTT_KINDS, MqttKind, Running, client, key, set_up};
use crate::first_failure::first_failure;
use crate::pki::Pki;

#[tokio::test]
async fn each_connack_code_has_its_kind() {
    for (code, kind) in [
        (1, ErrorKind::Protocol),
        (2, ErrorKind::Rejected),
        (4, ErrorKind::Unauthorized),
        (5, ErrorKind::Unauthorized),
        (6, ErrorKind::Protocol),
        (255, ErrorKind::Protocol),
    ] {
        for transport in MQTT_KINDS {
            let (client, server) = set_up(*transport).await;
            let running = Running::start(&client);
            let mut peer = server.accept().await;
            peer.packet().await;
            peer.send(&[0x20, 2, 0, code]).await;
            let error = running.outcome().await.unwrap_err();
            assert_eq!(error.kind(), kind, "{code}");
            assert_eq!(error.status(), None);
            peer.closed().await;
        }
    }
}

#[tokio::test]
async fn an_unavailable_service_is_retried() {
    for kind in MQTT_KINDS {
        let (client, server) = set_up(*kind).await;
        let running = Running::start(&client);
        let mut peer = server.accept().await;
        peer.packet().await;
        peer.send(b"\x20\x02\x00\x03").await;
        peer.closed().await;
        let mut peer = server.session().await;
        let request = peer.registration().await;
        peer.assign(&request).await;
        running.outcome().await.unwrap();
    }
}

#[tokio::test]
async fn an_unavailable_service_is_a_failure_of_the_service() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let refuse = async {
        let mut peer = server.accept().await;
        peer.packet().await;
        peer.send(b"\x20\x02\x00\x03").await;
        peer
    };
    let (failure, _peer) = tokio::join!(first_failure(&client), refuse);
    assert_eq!(failure.kind(), ErrorKind::Service);
    assert_eq!(
        failure.to_string(),
        "the service is unavailable (CONNACK 3)"
    );
}

#[tokio::test]
async fn two_refused_keys_are_refused() {
    let pki = Pki::new();
    let server = Server::start(MqttKind::Mqtt, pki.server(false)).await;
    let second = dps_device::SymmetricKey::from_bytes(vec![7; 64]).unwrap();
    let who = key("my-device").with_secondary(second);
    let running = Running::start(&client(who, MqttKind::Mqtt, &pki, server.port()));
    for code in [4, 5] {
        let mut peer = server.accept().await;
        peer.packet().await;
        peer.send(&[0x20, 2, 0, code]).await;
    }
    let error = running.outcome().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let text = error.to_string();
    // The hint that an answer over HTTPS has, and where the reason is.
    for part in [
        "the credentials were refused (CONNACK 5); check the key",
        "the clock of the device",
        "register over HTTPS",
    ] {
        assert!(text.contains(part), "{text}");
    }
}

#[tokio::test]
async fn the_subscription_must_be_granted() {
    for (suback, kind) in [
        (b"\x90\x03\x00\x01\x80".as_slice(), ErrorKind::Rejected),
        // To another SUBSCRIBE, of two filters, of QoS 3; and another packet.
        (b"\x90\x03\x00\x02\x01", ErrorKind::Protocol),
        (b"\x90\x04\x00\x01\x01\x01", ErrorKind::Protocol),
        (b"\x90\x03\x00\x01\x03", ErrorKind::Protocol),
        (CONNACK, ErrorKind::Protocol),
    ] {
        let (client, server) = set_up(MqttKind::Mqtt).await;
        let running = Running::start(&client);
        let mut peer = server.accept().await;
        peer.packet().await;
        peer.send(CONNACK).await;
        assert_eq!(peer.packet().await, SUBSCRIBE);
        peer.send(suback).await;
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{suback:x?}");
    }
}

/// The packets are well-formed, and no server may send them at this point.
#[tokio::test]
async fn a_packet_that_is_not_allowed_ends_the_registration_at_once() {
    const PUBACK: &[u8] = b"\x40\x02\x00\x02";
    let of_server: [&[u8]; 6] = [
        b"\xc0\x00",                      // PINGREQ
        b"\xe0\x00",                      // DISCONNECT
        b"\xb0\x02\x00\x01",              // UNSUBACK
        b"\x50\x02\x00\x02",              // PUBREC
        b"\x82\x06\x00\x01\x00\x01a\x01", // SUBSCRIBE
        PINGRESP,
    ];
    let early: [&[u8]; 2] = [SUBACK, PUBACK];
    for packet in of_server.into_iter().chain(early) {
        let (client, server) = set_up(MqttKind::Mqtt).await;
        let running = Running::start(&client);
        let mut peer = server.accept().await;
        peer.packet().await;
        peer.send(packet).await;
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{packet:x?}");
    }
    for packet in of_server.into_iter().chain([CONNACK, PUBACK]) {
        let (client, server) = set_up(MqttKind::Mqtt).await;
        let running = Running::start(&client);
        let mut peer = server.accept().await;
        peer.packet().await;
        peer.send(CONNACK).await;
        peer.packet().await;
        peer.send(packet).await;
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{packet:x?}");
    }
    let twice = [PUBACK, PUBACK].concat();
    let late: [&[u8]; 4] = [CONNACK, SUBACK, b"\x40\x02\x00\x63", &twice];
    for packet in of_server.into_iter().chain(late) {
        let (client, server) = set_up(MqttKind::Mqtt).await;
        let running = Running::start(&client);
        let mut peer = server.session().await;
        peer.registration().await;
        peer.send(packet).await;
        let error = running.outcome().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{packet:x?}");
    }
}

#[tokio::test]
async fn the_subscription_may_be_granted_with_another_qos() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let running = Running::start(&client);
    let mut peer = server.accept().await;
    peer.packet().await;
    peer.send(CONNACK).await;
    peer.packet().await;
    peer.send(b"\x90\x03\x00\x01\x00").await;
    let request = peer.registration().await;
    peer.assign(&request).await;
    running.outcome().await.unwrap();
}

#[tokio::test]
async fn a_message_before_the_subscription_is_granted_is_ignored() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let running = Running::start(&client);
    let mut peer = server.accept().await;
    peer.packet().await;
    peer.send(CONNACK).await;
    peer.packet().await;
    peer.send(&publish(
        0x32,
        "$dps/registrations/res/500/?$rid=1",
        b"\x00\x09",
        b"",
    ))
    .await;
    peer.send(SUBACK).await;
    let request = peer.registration().await;
    assert_eq!(peer.packet().await, b"\x40\x02\x00\x09");
    peer.assign(&request).await;
    running.outcome().await.unwrap();
}

/// A device whose TPM must not be used.
#[derive(Debug)]
struct Tpm(RegistrationId);

impl Tpm {
    fn new() -> Self {
        Self("my-device".parse().unwrap())
    }
}

#[async_trait]
impl Sign for Tpm {
    async fn sign(&self, _: &[u8]) -> Result<Signature, SignError> {
        panic!("the TPM was asked to sign")
    }
}

#[async_trait]
impl TpmKeys for Tpm {
    fn endorsement_key(&self) -> &TpmPublic {
        panic!("the TPM was asked for its endorsement key")
    }
    fn storage_root_key(&self) -> &TpmPublic {
        panic!("the TPM was asked for its storage root key")
    }
    async fn activate(&self, _: &AuthenticationKey) -> Result<(), SignError> {
        panic!("the TPM was challenged")
    }
    async fn keep_hub_key(&self, _: &AuthenticationKey) -> Result<(), SignError> {
        panic!("the TPM was given a hub key")
    }
}

impl Attestation for Tpm {
    fn registration_id(&self) -> &RegistrationId {
        &self.0
    }
    fn proof(&self) -> Proof<'_> {
        Proof::Tpm(self)
    }
}

#[tokio::test]
async fn a_tpm_is_unsupported_before_anything_is_sent() {
    let pki = Pki::new();
    for kind in MQTT_KINDS {
        // Nothing listens on this port, so a connection would fail with another kind.
        let client = client(Tpm::new(), *kind, &pki, 1);
        let error = client.register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(!error.is_retryable());
        assert!(error.to_string().contains("TPM"), "{error}");
    }
}

#[tokio::test]
async fn a_lookup_is_unsupported() {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let lookup = client.lookup().into_future();
    let (outcome, peer) = tokio::join!(lookup, server.session());
    assert_eq!(outcome.unwrap_err().kind(), ErrorKind::Unsupported);
    peer.closed().await;
}
