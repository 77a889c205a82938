//! TPM attestation over HTTPS: the challenge, and the token that is signed with its key.

use std::error::Error as _;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use dps_device::{Attestation, ErrorKind, Event, Http, ProvisioningClient};
use dps_hardware::{SoftwareTpm, vector};
use dps_types::SymmetricKey;
use dps_types::sas::SasToken;
use serde_json::{Value, json};

use super::server::{Answer, Request, Seen, Server, json as answer};
use super::tokens::ManualClock;
use super::{client, connecting_to};
use crate::hub_key::{assigned_with_hub_key, hanging_tpm};
use crate::pki::Pki;
use crate::script::ASSIGNING;

/// The prefixes of the TPM's public keys with the usual templates.
const EK: &str = "AToAAQALAAMAsgAgg3GXZ0SEs/gakMyNRqXXJP1S124GUgtk8qHaGzMUaaoABgCAAEMAEAgAAAAAAAEA";
const SRK: &str = "ARoAAQALAAMEcgAAAAYAgABDABAIAAAAAAABA";

pub(crate) fn challenge() -> Answer {
    challenge_of(&vector::challenge(), r#","keyName":"registration""#)
}

fn challenge_of(key: &str, key_name: &str) -> Answer {
    let message = "Authorization required, resend request using supplied key";
    answer(
        401,
        "",
        &format!(r#"{{"message":"{message}"{key_name},"authenticationKey":"{key}"}}"#),
    )
}

fn refused() -> Answer {
    answer(401, "", r#"{"errorCode":401002,"message":"Unauthorized"}"#)
}

pub(crate) fn assigned() -> Answer {
    answer(200, "", &assigned_with_hub_key())
}

fn device(tpm: &SoftwareTpm, pki: &Pki, server: &Server) -> ProvisioningClient {
    device_of(
        tpm.attestation_as("my-device".parse().unwrap()),
        pki,
        server,
    )
}

fn device_of(who: impl Attestation + 'static, pki: &Pki, server: &Server) -> ProvisioningClient {
    let http = Http::default().with_port(server.port());
    let scope = "0ne00111111".parse().unwrap();
    connecting_to(ProvisioningClient::new(scope, who, http), pki)
}

async fn start(pki: &Pki, answers: impl IntoIterator<Item = Answer>) -> Server {
    Server::start(pki.server(false), answers).await
}

/// The token of a request, which must be signed with the key of the challenge.
fn token(request: &Request) -> SasToken {
    let token: SasToken = request.header("authorization").unwrap().parse().unwrap();
    assert!(token.verify(&SymmetricKey::from_bytes(vector::challenge_key()).unwrap()));
    token
}

/// A registration; returns the token that the server received.
pub(crate) async fn registered() -> String {
    let pki = Pki::new();
    let mut server = start(&pki, [challenge(), assigned()]).await;
    let tpm = SoftwareTpm::from_vector();
    device(&tpm, &pki, &server).register().await.unwrap();
    server.request().await;
    let answered = server.request().await;
    answered.header("authorization").unwrap().to_owned()
}

#[tokio::test]
async fn a_challenge_is_answered_as_documented() {
    let pki = Pki::new();
    let answers = [challenge(), answer(202, "", ASSIGNING), assigned()];
    let mut server = start(&pki, answers).await;
    let tpm = SoftwareTpm::from_vector();
    let client = device(&tpm, &pki, &server).with_clock(ManualClock::to(1_663_952_627 - 3600));
    let register = client.register().payload(json!({"model": "toaster"}));
    register.await.unwrap();

    let put = server.request().await;
    assert_eq!(
        put.line,
        "PUT /0ne00111111/registrations/my-device/register?api-version=2021-06-01 HTTP/1.1"
    );
    assert_eq!(put.header("authorization"), None);
    assert_eq!(put.certificates, 0);
    let fixture = vector::fixture();
    let (ek, srk) = (&fixture["endorsementKey"], &fixture["storageRootKey"]);
    assert_eq!(
        put.body,
        format!(
            r#"{{"registrationId":"my-device","tpm":{{"endorsementKey":{ek},"storageRootKey":{srk}}},"payload":{{"model":"toaster"}}}}"#
        )
    );
    assert!(ek.as_str().unwrap().starts_with(EK) && srk.as_str().unwrap().starts_with(SRK));

    let again = server.request().await;
    assert_eq!((&again.line, &again.body), (&put.line, &put.body));
    assert_eq!(again.connection, put.connection, "the connection is kept");
    // HMAC-SHA256 with the vector's key of "0ne00111111%2Fregistrations%2Fmy-device\n1663952627", computed elsewhere.
    let token = "SharedAccessSignature sr=0ne00111111%2Fregistrations%2Fmy-device&sig=iIGEDLF1kHRjkS5vMZWcquU09sg23tz0%2F8nlyRL9Ulk%3D&se=1663952627&skn=registration";
    assert_eq!(again.header("authorization"), Some(token));

    let get = server.request().await;
    assert!(get.line.starts_with("GET "), "{}", get.line);
    assert_eq!(get.header("authorization"), Some(token));
    assert_eq!(get.body, "");
    assert_eq!(tpm.hub_key(), Some(vector::hub_key()));
}

#[tokio::test]
async fn the_key_has_the_name_in_the_challenge() {
    for (key_name, skn) in [
        (r#","keyName":"another one""#, "another one"),
        (r#","keyName":null"#, "registration"),
        ("", "registration"),
        (
            r#","keyName":"a&se=99999999999\r\n""#,
            "a&se=99999999999\r\n",
        ),
    ] {
        let pki = Pki::new();
        let challenge = challenge_of(&vector::challenge(), key_name);
        let mut server = start(&pki, [challenge, assigned()]).await;
        let tpm = SoftwareTpm::from_vector();
        device(&tpm, &pki, &server).register().await.unwrap();
        server.request().await;
        assert_eq!(token(&server.request().await).policy(), Some(skn));
    }
}

#[tokio::test]
async fn a_401_without_a_key_is_a_refusal() {
    for body in [
        "",
        "[]",
        "{}",
        r#"{"errorCode":401002,"message":"Unauthorized"}"#,
    ] {
        let pki = Pki::new();
        let mut server = start(&pki, [answer(401, "", body)]).await;
        let tpm = SoftwareTpm::from_vector();
        let error = device(&tpm, &pki, &server).register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized, "{body}");
        assert_eq!(error.status(), Some(401));
        server.request().await;
        assert_eq!(server.closed().await, 0, "there is one request");
    }
}

#[tokio::test]
async fn a_challenge_that_cannot_be_read_is_a_protocol_error() {
    let key = vector::challenge();
    for key in ["", "?", "AAAA", &key[..key.len() / 2 * 2 - 4 * 20]] {
        let pki = Pki::new();
        let mut server = start(&pki, [challenge_of(key, "")]).await;
        let tpm = SoftwareTpm::from_vector();
        let error = device(&tpm, &pki, &server).register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{key}");
        assert!(error.source().is_some(), "the source has the reason");
        assert_eq!(tpm.challenge_key(), None);
        server.request().await;
        assert_eq!(server.closed().await, 0, "there is one request");
    }
}

#[tokio::test]
async fn a_challenge_for_another_tpm_is_not_retried() {
    let pki = Pki::new();
    let mut server = start(&pki, [challenge()]).await;
    let tpm = SoftwareTpm::number(1);
    let error = device(&tpm, &pki, &server).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signing);
    assert_eq!(error.to_string(), "the TPM did not open the challenge");
    let source = error.source().unwrap().to_string();
    assert_eq!(source, "a seed is not encrypted to this TPM");
    server.request().await;
    assert_eq!(server.closed().await, 0);
}

#[tokio::test]
async fn a_second_challenge_is_a_refusal() {
    for second in [challenge(), refused()] {
        let pki = Pki::new();
        let mut server = start(&pki, [challenge(), second]).await;
        let tpm = SoftwareTpm::from_vector();
        let error = device(&tpm, &pki, &server).register().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthorized);
        assert!(error.error_details().unwrap().message.is_some());
        assert_eq!(server.request().await.header("authorization"), None);
        token(&server.request().await);
        assert_eq!(server.closed().await, 0);
    }
}

#[tokio::test]
async fn a_challenge_to_another_proof_is_a_refusal() {
    let pki = Pki::new();
    let mut server = start(&pki, [challenge()]).await;
    let error = client(&pki, &server).register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthorized);
    let body: Value = serde_json::from_str(&server.request().await.body).unwrap();
    assert_eq!(body, json!({"registrationId": "my-device"}));
}

/// After any failure there is a new challenge, since the service may have lost its key.
#[tokio::test]
async fn every_attempt_starts_without_a_token() {
    for failure in [
        Answer::Cut(Vec::new()),
        answer(429, "Retry-After: 0\r\n", "{}"),
        answer(503, "", ""),
    ] {
        let pki = Pki::new();
        let answers = [
            failure.clone(),
            challenge(),
            failure,
            challenge(),
            assigned(),
        ];
        let mut server = start(&pki, answers).await;
        let tpm = SoftwareTpm::from_vector();
        device(&tpm, &pki, &server).register().await.unwrap();
        let mut signed = Vec::new();
        while signed.len() < 5 {
            // A lost connection is closed as well.
            if let Seen::Request(request) = server.next().await {
                signed.push(request.header("authorization").is_some());
            }
        }
        assert_eq!(signed, [false, false, true, false, true]);
    }
}

#[tokio::test]
async fn a_new_connection_continues_the_operation_with_the_same_key() {
    let pki = Pki::new();
    let answers = [
        challenge(),
        answer(202, "", ASSIGNING),
        Answer::Cut(Vec::new()),
        assigned(),
    ];
    let mut server = start(&pki, answers).await;
    let tpm = SoftwareTpm::from_vector();
    device(&tpm, &pki, &server).register().await.unwrap();
    for _ in 0..3 {
        server.request().await;
    }
    let get = server.request().await;
    assert!(get.line.starts_with("GET "), "{}", get.line);
    assert_eq!(get.connection, 1);
    assert_eq!(token(&get).policy(), Some("registration"));
}

#[tokio::test]
async fn a_poll_that_is_refused_leads_to_a_new_challenge() {
    let pki = Pki::new();
    let answers = [
        challenge(),
        answer(202, "", ASSIGNING),
        refused(),
        challenge(),
        assigned(),
    ];
    let mut server = start(&pki, answers).await;
    let tpm = SoftwareTpm::from_vector();
    device(&tpm, &pki, &server).register().await.unwrap();
    let mut requests = Vec::new();
    for _ in 0..5 {
        let request = server.request().await;
        let method = request.line.split(' ').next().unwrap().to_owned();
        requests.push((method, request.header("authorization").is_some()));
    }
    let requests: Vec<_> = requests
        .iter()
        .map(|(method, signed)| (&**method, *signed))
        .collect();
    assert_eq!(
        requests,
        [
            ("PUT", false),
            ("PUT", true),
            ("GET", true),
            ("PUT", false),
            ("PUT", true)
        ]
    );
}

#[tokio::test]
async fn a_new_token_is_signed_with_the_key_of_the_challenge() {
    let pki = Pki::new();
    let challenge = challenge_of(&vector::challenge(), r#","keyName":"another""#);
    let pending = answer(202, "", ASSIGNING);
    let mut server = start(&pki, [challenge, pending.clone(), pending, assigned()]).await;
    let tpm = SoftwareTpm::from_vector();
    let clock = ManualClock::to(1_000_000);
    let client = device(&tpm, &pki, &server).with_clock(clock.clone());
    let mut registration = client.register().events();
    while let Some(event) = registration.next().await {
        if let Event::Assigning { .. } = event {
            clock.0.fetch_add(1_800, Ordering::Relaxed);
        }
    }
    server.request().await;
    for expiry in [1_003_600, 1_003_600, 1_007_200] {
        let token = token(&server.request().await);
        let expires_at = SystemTime::UNIX_EPOCH + Duration::from_secs(expiry);
        assert_eq!(
            (token.expires_at(), token.policy()),
            (expires_at, Some("another"))
        );
    }
}

/// The TPM has half of the time of a request, so that it is not reported as a network failure, which would be retried.
#[tokio::test]
async fn a_tpm_that_hangs_is_a_failure_of_the_key() {
    let pki = Pki::new();
    let server = start(&pki, [challenge()]).await;
    let client =
        device_of(hanging_tpm(), &pki, &server).with_request_timeout(Duration::from_secs(4));
    let error = client.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Signing);
    assert_eq!(
        error.to_string(),
        "the TPM did not open the challenge within 2s"
    );
}

#[tokio::test]
async fn a_lookup_is_also_challenged_and_does_not_change_the_hub_key() {
    let pki = Pki::new();
    let found =
        r#"{"registrationId":"my-device","status":"assigned","tpm":{"authenticationKey":"AAAA"}}"#;
    let answers = [challenge(), assigned(), challenge(), answer(200, "", found)];
    let mut server = start(&pki, answers).await;
    let tpm = SoftwareTpm::from_vector();
    let client = device(&tpm, &pki, &server);
    client.register().await.unwrap();
    client.lookup().await.unwrap();
    assert_eq!(tpm.hub_key(), Some(vector::hub_key()));

    for _ in 0..2 {
        server.request().await;
    }
    assert_eq!(server.closed().await, 0);
    let post = server.request().await;
    assert_eq!(
        post.line,
        "POST /0ne00111111/registrations/my-device?api-version=2021-06-01 HTTP/1.1"
    );
    assert_eq!(post.header("authorization"), None);
    let again = server.request().await;
    assert_eq!((&again.line, &again.body), (&post.line, &post.body));
    assert!(again.body.contains(EK), "{}", again.body);
    token(&again);
}

#[tokio::test]
async fn no_certificate_is_sent_to_a_server_that_does_not_ask() {
    let pki = Pki::new();
    let mut server = start(&pki, [answer(202, "", ASSIGNING), assigned()]).await;
    let tpm = SoftwareTpm::from_vector();
    device(&tpm, &pki, &server).register().await.unwrap();
    for _ in 0..2 {
        assert_eq!(server.request().await.header("authorization"), None);
    }
}
