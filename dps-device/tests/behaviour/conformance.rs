//! The conformance suites accept the transports and attestations of this crate, and reject faulty ones.

use std::sync::Arc;

use async_trait::async_trait;
use dps_device::attestation::{Proof, Sign, SignError, Signature};
use dps_device::conformance::{TransportHarness, check_attestation, check_transport};
use dps_device::transport::Reply;
use dps_device::{
    Amqp, Attestation, Fallback, Http, Mqtt, MqttWebSocket, ProvisioningClient, RegistrationId,
    SymmetricKey, SymmetricKeyAttestation, Transport,
};
use dps_hardware::SoftwareTpm;
use tokio_rustls::rustls::ServerConfig;

use crate::amqp_server::AmqpServer;
use crate::https::server::{Answer, Server, json};
use crate::mqtt::server::Server as MqttServer;
use crate::mqtt::{MqttKind, key};
use crate::pki::Pki;
use crate::script::{Script, Step};

fn client(pki: &Pki, transport: impl Transport + 'static) -> ProvisioningClient {
    ProvisioningClient::new("0ne00111111".parse().unwrap(), key("my-device"), transport)
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(pki.roots())
}

struct OverHttps;

#[async_trait]
impl TransportHarness for OverHttps {
    async fn start(&self, replies: Vec<Reply>) -> ProvisioningClient {
        let pki = Pki::new();
        let answers = replies.iter().map(|reply| {
            let wait = reply.retry_after.map(|wait| wait.as_secs());
            let headers = wait.map_or(String::new(), |wait| format!("Retry-After: {wait}\r\n"));
            let body = std::str::from_utf8(&reply.body).unwrap();
            json(reply.status, &headers, body)
        });
        let answers: Vec<_> = answers.chain([Answer::Cut(Vec::new())]).collect();
        let server = Server::start(pki.server(false), answers).await;
        let port = server.port();
        // It ends with the test's runtime.
        std::mem::forget(server);
        client(&pki, Http::default().with_port(port))
    }
}

struct OverMqtt(MqttKind, fn(u16) -> Box<dyn Transport>);

#[async_trait]
impl TransportHarness for OverMqtt {
    async fn start(&self, replies: Vec<Reply>) -> ProvisioningClient {
        let pki = Pki::new();
        let config: Arc<ServerConfig> = pki.server(false);
        let server = MqttServer::start(self.0, config).await;
        let port = server.port();
        tokio::spawn(async move {
            let mut replies = replies.into_iter();
            loop {
                let mut peer = server.session().await;
                while let Some(request) = peer.next_request().await {
                    let Some(reply) = replies.next() else {
                        break;
                    };
                    let wait = reply.retry_after.map(|wait| wait.as_secs());
                    let more = wait.map_or(String::new(), |wait| format!("&retry-after={wait}"));
                    let body = std::str::from_utf8(&reply.body).unwrap();
                    let status = reply.status.to_string();
                    peer.send(&request.answer(&status, &more, body)).await;
                }
            }
        });
        client(&pki, (self.1)(port))
    }
}

struct OverAmqp;

#[async_trait]
impl TransportHarness for OverAmqp {
    async fn start(&self, replies: Vec<Reply>) -> ProvisioningClient {
        let pki = Pki::new();
        let server = AmqpServer::start(pki.server(false), replies).await;
        client(&pki, Amqp::default().with_port(server))
    }

    /// An answer has no status, and an error has only its code.
    fn carries(&self, reply: &Reply) -> bool {
        match reply.status {
            200 => true,
            202 => reply.retry_after.is_some(),
            _ => reply.body.starts_with(br#"{"errorCode""#),
        }
    }
}

struct Scripted;

#[async_trait]
impl TransportHarness for Scripted {
    async fn start(&self, replies: Vec<Reply>) -> ProvisioningClient {
        let lost = Step::Fail(dps_device::ErrorKind::Connect);
        Script::new(replies.into_iter().map(Step::Answer).chain([lost])).client()
    }
}

#[tokio::test]
async fn every_transport_conforms() {
    check_transport(&Scripted).await;
    check_transport(&OverHttps).await;
    check_transport(&OverMqtt(MqttKind::Mqtt, |port| {
        Box::new(Mqtt::default().with_port(port))
    }))
    .await;
    check_transport(&OverMqtt(MqttKind::WebSocket, |port| {
        Box::new(MqttWebSocket::default().with_port(port))
    }))
    .await;
    check_transport(&OverAmqp).await;
    check_transport(&OverMqtt(MqttKind::Mqtt, |port| {
        Box::new(Fallback::new(Mqtt::default().with_port(port)))
    }))
    .await;
}

#[tokio::test]
async fn every_attestation_conforms() {
    check_attestation(&key("my-device")).await;
    check_attestation(&key("my-device").with_secondary(SymmetricKey::generate())).await;
    check_attestation(&Pki::new().device("my-device")).await;
    let tpm = SoftwareTpm::from_vector();
    check_attestation(&tpm.attestation_as("my-device".parse().unwrap())).await;
}

/// Drops the wait that the service asks for.
struct WithoutRetryAfter;

#[async_trait]
impl TransportHarness for WithoutRetryAfter {
    async fn start(&self, replies: Vec<Reply>) -> ProvisioningClient {
        let replies = replies
            .into_iter()
            .map(|reply| Reply::new(reply.status, reply.body));
        Scripted.start(replies.collect()).await
    }
}

#[tokio::test]
#[should_panic(expected = "the wait that the service asks for")]
async fn a_transport_that_drops_retry_after_does_not_conform() {
    check_transport(&WithoutRetryAfter).await;
}

/// Signs with a random number.
#[derive(Debug)]
struct RandomSigner(RegistrationId);

#[async_trait]
impl Sign for RandomSigner {
    async fn sign(&self, data: &[u8]) -> Result<Signature, SignError> {
        SymmetricKey::generate().sign(data).await
    }
}

impl Attestation for RandomSigner {
    fn registration_id(&self) -> &RegistrationId {
        &self.0
    }

    fn proof(&self) -> Proof<'_> {
        Proof::SharedKey(self)
    }
}

#[tokio::test]
#[should_panic(expected = "the same data must have the same signature")]
async fn a_signer_that_is_not_deterministic_does_not_conform() {
    check_attestation(&RandomSigner("my-device".parse().unwrap())).await;
}

#[tokio::test]
#[should_panic(expected = "the secondary proof must differ")]
async fn a_secondary_key_that_is_the_primary_key_does_not_conform() {
    let same = SymmetricKey::from_base64(crate::script::KEY).unwrap();
    let attestation: SymmetricKeyAttestation = key("my-device").with_secondary(same);
    check_attestation(&attestation).await;
}
