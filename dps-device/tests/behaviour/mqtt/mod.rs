//! MQTT over TLS and over WebSocket, byte for byte, and its failures.

mod answers;
pub(crate) mod connections;
mod flood;
mod loss;
mod proxy;
mod refusals;
pub(crate) mod server;
#[cfg(feature = "websocket")]
mod websocket;
mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use dps_device::{
    Assignment, Attestation, Clock, Error, Mqtt, ProvisioningClient, SymmetricKey,
    SymmetricKeyAttestation,
};
use tokio::task::JoinHandle;

use crate::pki::Pki;
use crate::script::KEY;
use server::{Server, in_time};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MqttKind {
    Mqtt,
    #[cfg_attr(
        not(feature = "websocket"),
        expect(dead_code, reason = "it is not there")
    )]
    WebSocket,
}

pub(crate) const MQTT_KINDS: &[MqttKind] = &[
    MqttKind::Mqtt,
    #[cfg(feature = "websocket")]
    MqttKind::WebSocket,
];

/// A device with a symmetric key, and a server for it.
async fn set_up(kind: MqttKind) -> (ProvisioningClient, Server) {
    set_up_as(kind, "my-device").await
}

async fn set_up_as(kind: MqttKind, id: &str) -> (ProvisioningClient, Server) {
    let pki = Pki::new();
    let server = Server::start(kind, pki.server(false)).await;
    (client(key(id), kind, &pki, server.port()), server)
}

pub(crate) fn key(id: &str) -> SymmetricKeyAttestation {
    let key = SymmetricKey::from_base64(KEY).unwrap();
    SymmetricKeyAttestation::new(id.parse().unwrap(), key)
}

/// A client of this port that polls without a wait.
fn client(
    who: impl Attestation + 'static,
    kind: MqttKind,
    pki: &Pki,
    port: u16,
) -> ProvisioningClient {
    let scope = "0ne00111111".parse().unwrap();
    let client = match kind {
        MqttKind::Mqtt => ProvisioningClient::new(scope, who, Mqtt::default().with_port(port)),
        #[cfg(feature = "websocket")]
        MqttKind::WebSocket => {
            let transport = dps_device::MqttWebSocket::default().with_port(port);
            ProvisioningClient::new(scope, who, transport)
        }
        #[cfg(not(feature = "websocket"))]
        MqttKind::WebSocket => unreachable!(),
    };
    client
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(pki.roots())
        .with_min_poll_interval(Duration::ZERO)
}

/// A registration in progress.
struct Running(JoinHandle<Result<Assignment, Error>>);

impl Running {
    fn start(client: &ProvisioningClient) -> Self {
        Self(tokio::spawn(client.register().into_future()))
    }

    async fn outcome(self) -> Result<Assignment, Error> {
        in_time(self.0).await.unwrap()
    }

    fn cancel(self) {
        self.0.abort();
    }
}

/// A clock that the test sets.
#[derive(Debug, Clone)]
pub(crate) struct ManualClock(Arc<AtomicU64>);

impl ManualClock {
    pub(crate) fn to(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    pub(crate) fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// A registration; returns the CONNECT that the server received.
pub(crate) async fn registered() -> Vec<u8> {
    let (client, server) = set_up(MqttKind::Mqtt).await;
    let script = async {
        let mut peer = server.accept().await;
        let connect = peer.packet().await;
        peer.send(server::CONNACK).await;
        peer.packet().await;
        peer.send(server::SUBACK).await;
        let request = peer.registration().await;
        peer.assign(&request).await;
        connect
    };
    let (outcome, connect) = tokio::join!(client.register().into_future(), script);
    outcome.unwrap();
    connect
}
