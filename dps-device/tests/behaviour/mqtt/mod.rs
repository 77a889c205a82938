//! MQTT, over TLS and over WebSocket: what goes over the wire, byte for byte, and what may go wrong there.

mod answers;
pub(crate) mod connections;
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
pub(crate) enum Carrier {
    Mqtt,
    #[cfg_attr(
        not(feature = "websocket"),
        expect(dead_code, reason = "it is not there")
    )]
    WebSocket,
}

pub(crate) const CARRIERS: &[Carrier] = &[
    Carrier::Mqtt,
    #[cfg(feature = "websocket")]
    Carrier::WebSocket,
];

/// A device with a symmetric key, and a server for it.
async fn set_up(carrier: Carrier) -> (ProvisioningClient, Server) {
    set_up_as(carrier, "my-device").await
}

async fn set_up_as(carrier: Carrier, id: &str) -> (ProvisioningClient, Server) {
    let pki = Pki::new();
    let server = Server::start(carrier, pki.server(false)).await;
    (client(key(id), carrier, &pki, server.port()), server)
}

pub(crate) fn key(id: &str) -> SymmetricKeyAttestation {
    let key = SymmetricKey::from_base64(KEY).unwrap();
    SymmetricKeyAttestation::new(id.parse().unwrap(), key)
}

/// Aimed at the port, and in a hurry.
fn client(
    who: impl Attestation + 'static,
    carrier: Carrier,
    pki: &Pki,
    port: u16,
) -> ProvisioningClient {
    let scope = "0ne00111111".parse().unwrap();
    let client = match carrier {
        Carrier::Mqtt => ProvisioningClient::new(scope, who, Mqtt::default().with_port(port)),
        #[cfg(feature = "websocket")]
        Carrier::WebSocket => {
            let transport = dps_device::MqttWebSocket::default().with_port(port);
            ProvisioningClient::new(scope, who, transport)
        }
        #[cfg(not(feature = "websocket"))]
        Carrier::WebSocket => unreachable!(),
    };
    client
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(pki.roots())
        .with_min_poll_interval(Duration::ZERO)
}

/// A registration under way.
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
pub(crate) struct Set(Arc<AtomicU64>);

impl Set {
    pub(crate) fn to(seconds: u64) -> Self {
        Self(Arc::new(AtomicU64::new(seconds)))
    }

    fn set(&self, seconds: u64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for Set {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// A registration; gives back the CONNECT that the server saw.
pub(crate) async fn registered() -> Vec<u8> {
    let (client, server) = set_up(Carrier::Mqtt).await;
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
