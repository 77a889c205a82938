//! Certificates that DPS and the hub issue: registration over MQTT, connections with the chain, revocation, renewal at the hub.

use std::sync::Arc;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dps_emulator::EmulatorBuilder;
use dps_emulator::fault::{Effect, Fault, Step};
use dps_types::ErrorCode;
use rcgen::{CertificateParams, DnType, KeyPair};
use serde_json::{Value, json};

use crate::common::{
    Answer, Client, Connect, Control, Dps, KEY_1, KEY_2, NOT_AUTHORIZED, PINGREQ, PINGRESP,
    TestClock, Tls, Transport, key_enrollment, publish, unsubscribe, with, with_control,
};

const ANSWERS: &str = "$iothub/credentials/res/#";
const RENEW: &str = "$iothub/credentials/POST/issueCertificate/?$rid=";

/// A certificate chain as the device presents it, and its key.
struct Issued {
    chain_pem: String,
    key_pem: String,
}

/// A certificate request and its key.
struct Csr {
    base64: String,
    key_pem: String,
}

impl Csr {
    fn new(common_name: &str) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        let request = params.serialize_request(&key).expect("a request");
        Self {
            base64: STANDARD.encode(request.der()),
            key_pem: key.serialize_pem(),
        }
    }

    fn issued(self, chain: &Value) -> Issued {
        let chain = chain.as_array().unwrap_or_else(|| panic!("no chain"));
        assert_eq!(chain.len(), 3, "leaf, intermediate, root");
        let pem = |text: &Value| {
            let text = text.as_str().expect("text");
            format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
        };
        Issued {
            chain_pem: chain[..2].iter().map(pem).collect(),
            key_pem: self.key_pem,
        }
    }
}

/// An emulator with the authority `contoso/factory-1/all=7`, and the device `dev-1`.
async fn dps_with(choose: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder) -> Dps {
    let dps = Dps::start_with(|builder| {
        let authority = "contoso/factory-1/all=7".parse().expect("valid");
        choose(builder.certificate_authority(authority))
    })
    .await;
    let document = with(
        key_enrollment("dev-1", KEY_1, KEY_2),
        json!({
            "namespaceName": "contoso",
            "certificateAuthorityName": "factory-1",
            "certificatePolicyName": "all",
        }),
    );
    let request = dps.service_at("2026-11-01", "PUT", "/enrollments/dev-1");
    let created = Answer::to(request.json(&document)).await;
    assert_eq!(created.status, 200, "{created:?}");
    dps
}

async fn dps() -> Dps {
    dps_with(|builder| builder).await
}

fn at_dps() -> Connect {
    Connect::with_key("dev-1", KEY_1)
        .username("0ne00000001/registrations/dev-1/api-version=2026-11-01")
}

/// Registers with a certificate request, as the unified client does: without a registration id in the body.
async fn register(mut client: Client<impl Transport>) -> Issued {
    client.connect(&at_dps()).await;
    client.subscribe().await;
    let csr = Csr::new("dev-1");
    let body = json!({ "csr": csr.base64 }).to_string();
    let operation = client.register(body.as_bytes()).await;
    let document = client.finish(&operation).await;
    assert_eq!(document["status"], "assigned", "{document}");
    csr.issued(&document["registrationState"]["issuedCertificateChain"])
}

async fn registered(dps: &Dps) -> Issued {
    register(dps.mqtt().await).await
}

fn to_hub() -> Connect {
    Connect::to_hub("127.0.0.1", "dev-1")
}

/// The device at its hub, connected with this chain.
async fn at_hub(dps: &Dps, issued: &Issued) -> Client<Tls> {
    let mut client = dps
        .mqtt_presenting(&issued.chain_pem, &issued.key_pem)
        .await;
    client.connect(&to_hub()).await;
    client
}

async fn assert_refused(dps: &Dps, issued: &Issued, connect: &Connect) {
    let mut client = dps
        .mqtt_presenting(&issued.chain_pem, &issued.key_pem)
        .await;
    client.send(&connect.bytes()).await;
    client.expect(NOT_AUTHORIZED).await;
}

/// The device at its hub, connected with this chain and subscribed to the answers to certificate requests.
async fn listening(dps: &Dps, issued: &Issued) -> Client<Tls> {
    let mut client = at_hub(dps, issued).await;
    client.listen(ANSWERS).await;
    client
}

/// The body of a certificate request at the hub.
fn renewal(csr: &Csr) -> Vec<u8> {
    json!({ "id": "dev-1", "csr": csr.base64 })
        .to_string()
        .into_bytes()
}

#[tokio::test]
async fn a_device_connects_to_its_hub_with_the_issued_chain() {
    let dps = dps().await;
    for issued in [
        register(dps.mqtt().await).await,
        register(dps.websocket().await).await,
    ] {
        let mut client = at_hub(&dps, &issued).await;
        client.listen(crate::common::RESPONSES).await;
        assert_eq!(client.twin().await["reported"], json!({ "$version": 1 }));
        let (chain, key) = (&issued.chain_pem, &issued.key_pem);
        let mut client = dps.websocket_presenting(chain, key).await;
        client.connect(&to_hub()).await;
    }
    let twin = dps.default_hub().twin("dev-1").await.expect("a twin");
    assert_eq!(twin["authenticationType"], "certificateAuthority");
}

#[tokio::test]
async fn other_credentials_are_refused_at_the_hub() {
    let dps = dps().await;
    let issued = registered(&dps).await;
    let mut key = dps.mqtt().await;
    let connect = Connect::to_hub_with_key("127.0.0.1", "dev-1", KEY_1);
    key.send(&connect.bytes()).await;
    key.expect(NOT_AUTHORIZED).await;
    // A leaf without its intermediate does not lead to the root.
    let leaf = issued
        .chain_pem
        .split_inclusive("-----END CERTIFICATE-----\n");
    let leaf = Issued {
        chain_pem: leaf.take(1).collect(),
        key_pem: issued.key_pem.clone(),
    };
    assert_refused(&dps, &leaf, &to_hub()).await;
    // The certificate is of another device.
    dps.enroll("dev-2").await;
    dps.mqtt_device("dev-2").await.provision().await;
    assert_refused(&dps, &issued, &Connect::to_hub("127.0.0.1", "dev-2")).await;
    at_hub(&dps, &issued).await;
}

#[tokio::test]
async fn a_registration_without_a_request_keeps_the_certificate() {
    let dps = dps().await;
    let issued = registered(&dps).await;
    let mut client = dps.mqtt().await;
    client.connect(&at_dps()).await;
    client.subscribe().await;
    assert_eq!(client.provision().await["status"], "assigned");
    at_hub(&dps, &issued).await;
}

#[tokio::test]
async fn a_revocation_ends_all_certificates_of_the_device() {
    let dps = dps().await;
    let (first, second) = (registered(&dps).await, registered(&dps).await);
    at_hub(&dps, &first).await;
    let mut client = at_hub(&dps, &second).await;
    dps.emulator
        .issuance()
        .revoke("dev-1")
        .await
        .expect("revoked");
    client.closed().await;
    for issued in [&first, &second] {
        assert_refused(&dps, issued, &to_hub()).await;
    }
    let third = registered(&dps).await;
    at_hub(&dps, &third).await;
    assert_refused(&dps, &second, &to_hub()).await;
}

#[tokio::test]
async fn certificates_that_are_made_to_expire_end_and_later_ones_do_not() {
    let dps = dps().await;
    let first = registered(&dps).await;
    dps.emulator
        .issuance()
        .expire("dev-1")
        .await
        .expect("expired");
    assert_refused(&dps, &first, &to_hub()).await;
    let second = registered(&dps).await;
    at_hub(&dps, &second).await;
    assert_refused(&dps, &first, &to_hub()).await;
}

#[tokio::test]
async fn a_certificate_ends_with_its_validity() {
    let clock = TestClock::now();
    let shared = Arc::new(clock.clone());
    let dps = dps_with(|builder| builder.clock(shared)).await;
    let issued = registered(&dps).await;
    clock.advance(Duration::from_secs(7 * 86_400 - 1));
    at_hub(&dps, &issued).await;
    clock.advance(Duration::from_secs(2));
    assert_refused(&dps, &issued, &to_hub()).await;
}

#[tokio::test]
async fn credentials_and_authorities_outlive_a_restart() {
    let dir = tempfile::tempdir().expect("a directory");
    let start = || dps_with_data(dir.path());
    let dps = start().await;
    let issued = registered(&dps).await;
    dps.emulator.shutdown().await;
    let dps = start().await;
    at_hub(&dps, &issued).await;
}

async fn dps_with_data(dir: &std::path::Path) -> Dps {
    let exists = dir.join("dps.redb").exists();
    match exists {
        false => dps_with(|builder| builder.data_dir(dir)).await,
        true => {
            Dps::start_with(|builder| {
                let authority = "contoso/factory-1/all=7".parse().expect("valid");
                builder.certificate_authority(authority).data_dir(dir)
            })
            .await
        }
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_at_the_hub() {
    let dps = dps().await;
    let first = registered(&dps).await;
    let mut client = listening(&dps, &first).await;
    let csr = Csr::new("dev-1");
    let accepted = client.ask(&format!("{RENEW}renew-1"), &renewal(&csr)).await;
    assert_eq!(accepted.topic, "$iothub/credentials/res/202/?$rid=renew-1");
    let accepted = accepted.json();
    assert_eq!(
        crate::common::names(&accepted),
        ["correlationId", "operationExpires"]
    );
    let answer = client.response().await;
    assert_eq!(answer.topic, "$iothub/credentials/res/200/?$rid=renew-1");
    assert_eq!(answer.first & 0x06, 0x02, "QoS 1, as subscribed");
    let answer = answer.json();
    assert_eq!(
        crate::common::names(&answer),
        ["correlationId", "certificates"]
    );
    assert_eq!(answer["correlationId"], accepted["correlationId"]);
    let second = csr.issued(&answer["certificates"]);
    at_hub(&dps, &second).await;
    at_hub(&dps, &first).await;
    dps.emulator
        .issuance()
        .revoke("dev-1")
        .await
        .expect("revoked");
    for issued in [&first, &second] {
        assert_refused(&dps, issued, &to_hub()).await;
    }
}

#[tokio::test]
async fn a_certificate_is_renewed_over_websocket() {
    let dps = dps().await;
    let first = registered(&dps).await;
    let (chain, key) = (&first.chain_pem, &first.key_pem);
    let mut client = dps.websocket_presenting(chain, key).await;
    client.connect(&to_hub()).await;
    client.listen(ANSWERS).await;
    let csr = Csr::new("dev-1");
    client.ask(&format!("{RENEW}abcd"), &renewal(&csr)).await;
    let answer = client.response().await;
    assert_eq!(answer.topic, "$iothub/credentials/res/200/?$rid=abcd");
    at_hub(&dps, &csr.issued(&answer.json()["certificates"])).await;
}

#[tokio::test]
async fn one_request_at_a_time_and_a_replacement() {
    let dps = dps().await;
    let issued = registered(&dps).await;
    let mut client = listening(&dps, &issued).await;
    let csr = renewal(&Csr::new("dev-1"));
    let replacing = |csr: &Csr, replace: &str| {
        json!({ "id": "dev-1", "csr": csr.base64, "replace": replace })
            .to_string()
            .into_bytes()
    };
    // There is nothing to replace.
    for replace in ["*", "first-1"] {
        let body = replacing(&Csr::new("dev-1"), replace);
        let answer = client.ask(&format!("{RENEW}none"), &body).await;
        assert_eq!(answer.topic, "$iothub/credentials/res/412/?$rid=none");
        answer.assert_error(
            412_001,
            "The certificate request to replace is not in progress.",
        );
    }
    let slow = Effect::Delay(Duration::from_secs(600));
    let faults = dps.emulator.faults();
    faults.next(Fault::new(Step::IssueCertificate, slow).times(2));
    let first = client.ask(&format!("{RENEW}first-1"), &csr).await.json();
    let active = client.ask(&format!("{RENEW}second-1"), &csr).await;
    assert_eq!(active.topic, "$iothub/credentials/res/409/?$rid=second-1");
    active.assert_error(
        409_005,
        "Another certificate request of this device is in progress.",
    );
    let info = &active.json()["info"];
    assert_eq!(info["requestId"], "first-1", "{info}");
    assert_eq!(info["correlationId"], first["correlationId"], "{info}");
    assert_eq!(info["operationExpires"], first["operationExpires"]);

    let body = replacing(&Csr::new("dev-1"), "other-1");
    let answer = client.ask(&format!("{RENEW}none"), &body).await;
    assert_eq!(answer.topic, "$iothub/credentials/res/412/?$rid=none");
    let body = replacing(&Csr::new("dev-1"), "first-1");
    let answer = client.ask(&format!("{RENEW}third-1"), &body).await;
    assert_eq!(answer.topic, "$iothub/credentials/res/202/?$rid=third-1");
    // The second slow request may not have begun yet.
    faults.clear();
    let csr = Csr::new("dev-1");
    let answer = client
        .ask(&format!("{RENEW}last-1"), &replacing(&csr, "*"))
        .await;
    assert_eq!(answer.topic, "$iothub/credentials/res/202/?$rid=last-1");
    let answer = client.response().await;
    assert_eq!(answer.topic, "$iothub/credentials/res/200/?$rid=last-1");
    at_hub(&dps, &csr.issued(&answer.json()["certificates"])).await;
}

#[tokio::test]
async fn bodies_that_are_not_requests_are_refused() {
    let dps = dps().await;
    let issued = registered(&dps).await;
    let mut client = listening(&dps, &issued).await;
    let csr = Csr::new("dev-1").base64;
    let long = "A".repeat(8 * 1024 + 4);
    for (body, code) in [
        ("".to_owned(), 400_006),
        ("{".to_owned(), 400_006),
        ("[]".to_owned(), 400_004),
        ("null".to_owned(), 400_004),
        (json!({ "csr": csr }).to_string(), 400_004),
        (json!({ "id": "", "csr": csr }).to_string(), 400_004),
        (json!({ "id": "dev-2", "csr": csr }).to_string(), 400_004),
        (json!({ "id": "DEV-1", "csr": csr }).to_string(), 400_004),
        (json!({ "id": "dev-1" }).to_string(), 400_004),
        (json!({ "id": "dev-1", "csr": "" }).to_string(), 400_004),
        (json!({ "id": "dev-1", "csr": 1 }).to_string(), 400_004),
        (json!({ "id": "dev-1", "csr": "?" }).to_string(), 400_004),
        (json!({ "id": "dev-1", "csr": long }).to_string(), 400_004),
        (
            json!({ "id": "dev-1", "csr": csr, "replace": 1 }).to_string(),
            400_004,
        ),
        (
            json!({ "id": "dev-1", "csr": csr, "replace": "?" }).to_string(),
            400_004,
        ),
        (
            json!({ "id": "dev-1", "csr": csr, "more": 1 }).to_string(),
            400_004,
        ),
    ] {
        let answer = client.ask(&format!("{RENEW}r-1a"), body.as_bytes()).await;
        assert_eq!(
            answer.topic, "$iothub/credentials/res/400/?$rid=r-1a",
            "{body}"
        );
        assert_eq!(answer.json()["errorCode"], code, "{body}");
    }
    // None of them is in progress.
    let answer = client
        .ask(&format!("{RENEW}good"), &renewal(&Csr::new("dev-1")))
        .await;
    assert_eq!(answer.topic, "$iothub/credentials/res/202/?$rid=good");
}

#[tokio::test]
async fn a_certificate_request_that_cannot_be_verified_fails_after_202() {
    let dps = dps().await;
    let issued = registered(&dps).await;
    let mut client = listening(&dps, &issued).await;
    for (csr, error) in [
        (STANDARD.encode("not PKCS#10"), "FailedToDecodeCsr"),
        (Csr::new("dev-2").base64, "SubjectMismatch"),
    ] {
        let body = json!({ "id": "dev-1", "csr": csr }).to_string();
        let answer = client.ask(&format!("{RENEW}bad-1"), body.as_bytes()).await;
        assert_eq!(answer.topic, "$iothub/credentials/res/202/?$rid=bad-1");
        let correlation = answer.json()["correlationId"].clone();
        let answer = client.response().await;
        assert_eq!(answer.topic, "$iothub/credentials/res/400/?$rid=bad-1");
        let body = answer.json();
        assert_eq!(body["errorCode"], 400_040, "{body}");
        let info = &body["info"];
        assert_eq!(info["credentialError"], error, "{body}");
        assert_eq!(info["correlationId"], correlation, "{body}");
        assert!(info["credentialMessage"].is_string(), "{body}");
    }
}

#[tokio::test]
async fn a_fault_makes_a_request_fail_with_its_code() {
    let dps = dps().await;
    let issued = registered(&dps).await;
    let mut client = listening(&dps, &issued).await;
    for code in [429_002, 429_003, 503_001, 500_001] {
        let effect = Effect::Refuse(ErrorCode::new(code));
        dps.emulator
            .faults()
            .next(Fault::new(Step::IssueCertificate, effect));
        client
            .ask(&format!("{RENEW}busy"), &renewal(&Csr::new("dev-1")))
            .await;
        let answer = client.response().await;
        let status = code / 1000;
        let topic = format!("$iothub/credentials/res/{status}/?$rid=busy");
        assert_eq!(answer.topic, topic);
        assert_eq!(answer.json()["errorCode"], code);
    }
    let retry_after = Duration::from_secs(7);
    let fault = Fault::new(Step::IssueCertificate, Effect::Throttle { retry_after });
    dps.emulator.faults().next(fault);
    client
        .ask(&format!("{RENEW}busy"), &renewal(&Csr::new("dev-1")))
        .await;
    let body = client.response().await.json();
    assert_eq!(
        (&body["errorCode"], &body["retryAfter"]),
        (&json!(429_002), &json!(7))
    );
}

#[tokio::test]
async fn without_a_request_id_or_a_subscription_there_is_no_answer() {
    let dps = dps().await;
    let issued = registered(&dps).await;
    let mut client = at_hub(&dps, &issued).await;
    let body = renewal(&Csr::new("dev-1"));
    let ignored = async |topic: &str, client: &mut Client<Tls>| {
        client.send(&publish(5, topic, &body)).await;
        client.expect(b"\x40\x02\x00\x05").await;
        client.send(PINGREQ).await;
        client.expect(PINGRESP).await;
    };
    ignored(&format!("{RENEW}abcd"), &mut client).await;
    client.listen(ANSWERS).await;
    for topic in [
        "$iothub/credentials/POST/issueCertificate/",
        "$iothub/credentials/POST/issueCertificate/?rid=abcd",
        "$iothub/credentials/POST/issueCertificate/?$rid=abc",
        "$iothub/credentials/POST/issueCertificate/?$rid=-abcd",
        "$iothub/credentials/POST/issueCertificate/?$rid=ab_cd",
    ] {
        ignored(topic, &mut client).await;
    }
    let answer = client.ask(&format!("{RENEW}abcd"), &body).await;
    assert_eq!(answer.topic, "$iothub/credentials/res/202/?$rid=abcd");
}

#[tokio::test]
async fn an_answer_waits_until_the_client_subscribes_again() {
    let dps = dps().await;
    let issued = registered(&dps).await;
    let mut client = listening(&dps, &issued).await;
    let delay = Effect::Delay(Duration::from_millis(200));
    dps.emulator
        .faults()
        .next(Fault::new(Step::IssueCertificate, delay));
    client
        .ask(&format!("{RENEW}wait"), &renewal(&Csr::new("dev-1")))
        .await;
    client.send(&unsubscribe(6, &[ANSWERS])).await;
    client.expect(b"\xB0\x02\x00\x06").await;
    client.send(PINGREQ).await;
    client.expect(PINGRESP).await;
    client.listen(ANSWERS).await;
    let answer = client.response().await;
    assert_eq!(answer.topic, "$iothub/credentials/res/200/?$rid=wait");
}

#[tokio::test]
async fn a_request_outlives_the_connection_of_a_client_that_keeps_its_session() {
    let dps = dps().await;
    let issued = registered(&dps).await;
    for clean_session in [false, true] {
        let slow = Effect::Delay(Duration::from_secs(600));
        dps.emulator
            .faults()
            .next(Fault::new(Step::IssueCertificate, slow));
        let mut connect = to_hub();
        connect.clean_session = clean_session;
        let (chain, key) = (&issued.chain_pem, &issued.key_pem);
        let mut client = dps.mqtt_presenting(chain, key).await;
        client.connect(&connect).await;
        client.listen(ANSWERS).await;
        client
            .ask(&format!("{RENEW}left"), &renewal(&Csr::new("dev-1")))
            .await;
        dps.emulator.faults().used_up().await;

        let mut client = dps.mqtt_presenting(chain, key).await;
        let (answer, topic) = match clean_session {
            // The session has the subscription, so the answer arrives at once.
            false => {
                client.send(&connect.bytes()).await;
                client.expect(b"\x20\x02\x01\x00").await;
                (client.response().await, "200/?$rid=left")
            }
            true => {
                client.connect(&connect).await;
                client.listen(ANSWERS).await;
                let body = renewal(&Csr::new("dev-1"));
                let answer = client.ask(&format!("{RENEW}next"), &body).await;
                (answer, "202/?$rid=next")
            }
        };
        assert_eq!(answer.topic, format!("$iothub/credentials/res/{topic}"));
    }
}

#[tokio::test]
async fn a_device_without_an_issued_certificate_cannot_renew_one() {
    let dps = Dps::with_assigned(Value::Null).await;
    let mut client = dps.at_hub().await;
    client
        .send(&crate::common::subscribe(3, &[(ANSWERS, 1)]))
        .await;
    client.expect(b"\x90\x03\x00\x03\x01").await;
    let answer = client
        .ask(&format!("{RENEW}r-1a"), &renewal(&Csr::new("dev-1")))
        .await;
    assert_eq!(answer.topic, "$iothub/credentials/res/400/?$rid=r-1a");
    answer.assert_error(
        400_003,
        "The device has no issued certificate: register with a csr first.",
    );
}

#[tokio::test]
async fn certificates_are_revoked_and_expire_over_the_control_endpoint() {
    let dps = dps_with(with_control).await;
    let control = Control::of(&dps);
    let change = async |end: &str| {
        let path = format!("/issuedCertificates/dev-1/{end}");
        control.send("POST", &path, &json!({})).await.status
    };
    for end in ["revoke", "expire"] {
        assert_eq!(change(end).await, 404, "the device has not registered");
    }
    for end in ["revoke", "expire"] {
        let issued = registered(&dps).await;
        let mut client = at_hub(&dps, &issued).await;
        assert_eq!(change(end).await, 204);
        client.closed().await;
        assert_refused(&dps, &issued, &to_hub()).await;
    }
}
