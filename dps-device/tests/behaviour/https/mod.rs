//! HTTPS over real sockets and TLS, byte for byte.

pub(crate) mod challenge;
mod failures;
mod lifetime;
#[cfg(feature = "mqtt")]
mod not_the_service;
mod proxy;
mod requests;
pub(crate) mod server;
mod tls;
mod tokens;

use std::time::Duration;

use dps_device::{Http, ProvisioningClient, SymmetricKey, SymmetricKeyAttestation};

use crate::pki::Pki;
use crate::script::KEY;
use server::Server;

/// A device with a symmetric key that connects to the server and polls without a wait.
fn client(pki: &Pki, server: &Server) -> ProvisioningClient {
    client_of("my-device", pki, server.port())
}

fn client_of(id: &str, pki: &Pki, port: u16) -> ProvisioningClient {
    let key = SymmetricKey::from_base64(KEY).unwrap();
    let who = SymmetricKeyAttestation::new(id.parse().unwrap(), key);
    connecting_to(
        ProvisioningClient::new(
            "0ne00111111".parse().unwrap(),
            who,
            Http::default().with_port(port),
        ),
        pki,
    )
}

fn connecting_to(client: ProvisioningClient, pki: &Pki) -> ProvisioningClient {
    client
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(pki.roots())
        .with_min_poll_interval(Duration::ZERO)
}

/// A registration over HTTPS; returns the token that the server received.
pub(crate) async fn registered() -> String {
    let pki = Pki::new();
    let answers = [server::json(200, "", crate::script::ASSIGNED)];
    let mut server = Server::start(pki.server(false), answers).await;
    client(&pki, &server).register().await.unwrap();
    let request = server.request().await;
    request.header("authorization").unwrap().to_owned()
}
