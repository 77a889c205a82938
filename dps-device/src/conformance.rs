//! Conformance suites for implementors of [`Transport`](crate::Transport) and [`Attestation`]. Feature `conformance`.
//!
//! Call them from a test. They panic at the first rule that is broken.
//!
//! ```
//! # async fn example() {
//! use dps_device::{SymmetricKey, SymmetricKeyAttestation, conformance};
//!
//! let key = SymmetricKey::generate();
//! let mine = SymmetricKeyAttestation::new("my-device".parse().unwrap(), key);
//! conformance::check_attestation(&mine).await;
//! # }
//! ```

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test suite: it panics when a rule is broken"
)]

use std::time::Duration;

use async_trait::async_trait;
use dps_types::RegistrationRequest;
use dps_types::sas::Sign;

use crate::attestation::proof::{Attestation, Proof};
use crate::client::ProvisioningClient;
use crate::error::ErrorKind;
use crate::transport::reply::Reply;
use crate::transport::session::Session;

/// The limit for one check. It is long enough for a slow machine.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Starts a server for the transport under test.
#[async_trait]
pub trait TransportHarness: Send + Sync {
    /// Returns a client with the transport under test and a new server. The server answers one request after the other with
    /// `replies`, on one connection or on several. After the last reply it closes the connection at the next request.
    ///
    /// The server accepts every proof that the transport can carry.
    async fn start(&self, replies: Vec<Reply>) -> ProvisioningClient;

    /// Returns true if the protocol of the transport can carry this reply. The default is true.
    ///
    /// AMQP, for example, carries the status of an error only in the error code of its body.
    fn carries(&self, reply: &Reply) -> bool {
        let _ = reply;
        true
    }
}

/// Checks the rules of [`Transport`](crate::Transport) and [`Session`].
///
/// # Panics
/// If the transport breaks a rule.
pub async fn check_transport(harness: &dyn TransportHarness) {
    every_status_is_a_reply(harness).await;
    a_session_sends_several_requests(harness).await;
    a_lost_connection_is_a_connect_error(harness).await;
    a_dropped_request_does_not_break_the_next_session(harness).await;
}

/// Checks the rules of [`Attestation`].
///
/// # Panics
/// If the attestation breaks a rule.
pub async fn check_attestation(attestation: &dyn Attestation) {
    assert_eq!(
        attestation.registration_id(),
        attestation.registration_id(),
        "the registration id must not change"
    );
    let first = check_proof(attestation.proof()).await;
    let again = check_proof(attestation.proof()).await;
    assert!(first == again, "the proof must be the same each time");
    if let Some(secondary) = attestation.secondary_proof() {
        let secondary = check_proof(secondary).await;
        assert!(
            first != secondary,
            "the secondary proof must differ from the first: it is used when the service refuses the first"
        );
    }
}

/// The identity of a proof, which must be stable.
#[derive(PartialEq)]
enum Fingerprint {
    Certificate(Vec<Vec<u8>>),
    SharedKey([u8; 32]),
    Tpm(Vec<u8>, Vec<u8>),
}

async fn check_proof(proof: Proof<'_>) -> Fingerprint {
    match proof {
        Proof::Certificate(identity) => {
            let chain: Vec<_> = identity.chain().map(<[u8]>::to_vec).collect();
            assert!(!chain.is_empty(), "the chain must have a certificate");
            Fingerprint::Certificate(chain)
        }
        Proof::SharedKey(signer) => Fingerprint::SharedKey(check_signer(signer).await),
        Proof::Tpm(tpm) => {
            let keys = [tpm.endorsement_key(), tpm.storage_root_key()];
            let [endorsement_key, storage_root_key] = keys.map(|key| key.to_base64().into_bytes());
            assert!(
                endorsement_key != storage_root_key,
                "the endorsement key and the storage root key must be two keys"
            );
            Fingerprint::Tpm(endorsement_key, storage_root_key)
        }
    }
}

/// An HMAC is deterministic, and depends on all data. DPS computes the same one.
async fn check_signer(signer: &dyn Sign) -> [u8; 32] {
    let long = [7; 4096];
    let mut longer = long.to_vec();
    longer.push(0);
    let mut signatures = Vec::new();
    for data in [&b"data"[..], b"data", b"", &long, &longer] {
        let signature = signer.sign(data).await.expect("the key must sign");
        signatures.push(signature.0);
    }
    assert!(
        signatures[0] == signatures[1],
        "the same data must have the same signature"
    );
    for (number, signature) in signatures.iter().enumerate().skip(1) {
        assert!(
            !signatures[number + 1..].contains(signature),
            "different data must have different signatures"
        );
    }
    signatures[0]
}

async fn every_status_is_a_reply(harness: &dyn TransportHarness) {
    let replies = [
        Reply::new(202, r#"{"operationId":"1","status":"assigning"}"#)
            .with_retry_after(Duration::from_secs(3)),
        Reply::new(200, r#"{"status":"failed","note":"Grüße, 東京"}"#),
        Reply::new(400, r#"{"errorCode":400004}"#),
        Reply::new(401, r#"{"errorCode":401002}"#),
        Reply::new(403, "{}"),
        Reply::new(404, r#"{"errorCode":404001}"#),
        Reply::new(429, r#"{"errorCode":429001}"#).with_retry_after(Duration::from_secs(60)),
        Reply::new(500, r#"{"errorCode":500001}"#),
        Reply::new(503, ""),
    ];
    for expected in replies.into_iter().filter(|reply| harness.carries(reply)) {
        let client = harness.start(vec![expected.clone()]).await;
        let mut session = open(&client).await;
        let reply = register(&client, &mut session).await;
        assert_same(&reply, &expected);
    }
}

async fn a_session_sends_several_requests(harness: &dyn TransportHarness) {
    let replies = [
        Reply::new(202, r#"{"operationId":"5.3.1","status":"assigning"}"#),
        Reply::new(202, "{}").with_retry_after(Duration::from_secs(1)),
        Reply::new(200, r#"{"status":"assigned"}"#),
    ];
    let replies: Vec<Reply> = replies
        .into_iter()
        .filter(|reply| harness.carries(reply))
        .collect();
    let client = harness.start(replies.clone()).await;
    let mut session = open(&client).await;
    assert_same(&register(&client, &mut session).await, &replies[0]);
    let operation = "5.3.1".parse().expect("an operation id");
    for expected in &replies[1..] {
        let reply = in_time(session.status(&operation)).await;
        assert_same(&reply.expect("a reply"), expected);
    }
}

async fn a_lost_connection_is_a_connect_error(harness: &dyn TransportHarness) {
    let client = harness.start(Vec::new()).await;
    let mut session = open(&client).await;
    let error = in_time(session.register(&body(&client)))
        .await
        .expect_err("the connection was closed without a reply");
    assert_eq!(
        error.kind(),
        ErrorKind::Connect,
        "a lost connection must be retried: {error:#}"
    );
}

async fn a_dropped_request_does_not_break_the_next_session(harness: &dyn TransportHarness) {
    let expected = Reply::new(200, "{}");
    let client = harness
        .start(vec![expected.clone(), expected.clone()])
        .await;
    let mut session = open(&client).await;
    let body = body(&client);
    // One poll sends the request at most.
    let dropped = tokio::time::timeout(Duration::ZERO, session.register(&body)).await;
    drop(dropped);
    drop(session);
    let mut session = open(&client).await;
    assert_same(&register(&client, &mut session).await, &expected);
}

async fn open(client: &ProvisioningClient) -> Box<dyn Session + '_> {
    let opening = client
        .transport
        .open(&client.target, client.attestation.proof());
    in_time(opening).await.expect("the session must open")
}

async fn register(client: &ProvisioningClient, session: &mut Box<dyn Session + '_>) -> Reply {
    let reply = in_time(session.register(&body(client))).await;
    reply.expect("a reply with any status is not an error")
}

fn body(client: &ProvisioningClient) -> RegistrationRequest {
    RegistrationRequest::new(client.target.registration_id().clone())
}

#[track_caller]
fn assert_same(reply: &Reply, expected: &Reply) {
    assert_eq!(reply.status, expected.status, "the status");
    assert_eq!(
        reply.retry_after, expected.retry_after,
        "the wait that the service asks for"
    );
    assert_eq!(reply.body, expected.body, "the body");
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(TIMEOUT, work).await;
    done.expect("the transport must answer in time")
}
