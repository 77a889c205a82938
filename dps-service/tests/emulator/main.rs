//! Tests of the client with the emulator.

mod access;
mod crud;
mod fleet;
mod issuing;
mod registered;

use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_tls::Roots;

async fn start() -> (Emulator, ServiceClient) {
    let builder = Emulator::builder().link_hub(
        "toasters.azure-devices.net"
            .parse::<LinkedHub>()
            .expect("a hub"),
    );
    let emulator = builder.start().await.expect("an emulator");
    let dps = ServiceClient::from_connection_string(&emulator.service_connection_string())
        .expect("a connection string")
        .with_roots(roots(&emulator));
    (emulator, dps)
}

fn roots(emulator: &Emulator) -> Roots {
    Roots::from_pem(emulator.ca_pem()).expect("a root")
}
