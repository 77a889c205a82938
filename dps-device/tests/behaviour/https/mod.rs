//! The same, over real sockets and real TLS: what goes over the wire, byte for byte.

pub(crate) mod challenge;
mod failures;
mod lifetime;
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

/// A device with a symmetric key, aimed at the server, and in a hurry.
fn client(pki: &Pki, server: &Server) -> ProvisioningClient {
    client_of("my-device", pki, server.port())
}

fn client_of(id: &str, pki: &Pki, port: u16) -> ProvisioningClient {
    let key = SymmetricKey::from_base64(KEY).unwrap();
    let who = SymmetricKeyAttestation::new(id.parse().unwrap(), key);
    aimed(
        ProvisioningClient::new(
            "0ne00111111".parse().unwrap(),
            who,
            Http::default().with_port(port),
        ),
        pki,
    )
}

fn aimed(client: ProvisioningClient, pki: &Pki) -> ProvisioningClient {
    client
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(pki.roots())
        .with_min_poll_interval(Duration::ZERO)
}

/// A registration over HTTPS; gives back the token that the server saw.
pub(crate) async fn registered() -> String {
    let pki = Pki::new();
    let answers = [server::json(200, "", crate::script::ASSIGNED)];
    let mut server = Server::start(pki.server(false), answers).await;
    client(&pki, &server).register().await.unwrap();
    let request = server.request().await;
    request.header("authorization").unwrap().to_owned()
}
