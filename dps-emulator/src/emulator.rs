//! A running emulator: its addresses, its hubs, and its end.

mod address;
mod start;

use std::sync::Arc;

use dps_types::{HubHostname, IdScope, ServiceConnectionString};
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio_util::sync::DropGuard;
use zeroize::Zeroizing;

use crate::config::EmulatorBuilder;
use crate::endpoint::Protocol;
use crate::error::Error;
use crate::fault::Faults;
use crate::hub::{HubHandle, TelemetryStream};
use crate::instance::Instance;
use crate::instances::Instances;
use crate::issuance::IssuanceHandle;
use crate::journal::{Exchange, Journal};
use crate::tls::TlsAcceptor;
use address::authority;
#[cfg(feature = "control")]
pub(crate) use address::{bracketed, listen};

/// A running emulator. Dropping it stops it; [`Emulator::shutdown`] also waits until it has stopped.
///
/// ```
/// use dps_emulator::{Emulator, LinkedHub};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let dps = Emulator::builder().link_hub("toasters".parse::<LinkedHub>()?).start().await?;
/// println!("{} {} {}", dps.id_scope(), dps.https_url(), dps.ca_pem());
/// dps.shutdown().await;
/// # Ok(())
/// # }
/// ```
///
/// See the page [The emulator in CI](https://github.com/dps-rs/dps-rs/blob/main/docs/book/src/ci.md#in-a-rust-test) of the book.
#[derive(Debug)]
pub struct Emulator {
    ports: Vec<(Protocol, u16)>,
    host: String,
    tls: Arc<TlsAcceptor>,
    /// One for each policy, the owner's first.
    connections: Vec<ServiceConnectionString>,
    instance: Arc<Instance>,
    instances: Arc<Instances>,
    faults: Faults,
    journal: Option<Arc<Journal>>,
    #[cfg(feature = "control")]
    control_url: Option<String>,
    server: JoinSet<()>,
    stop: DropGuard,
    /// The readers of the hubs' telemetry, which run until the last connection has ended.
    readers: JoinSet<()>,
    stop_readers: DropGuard,
}

impl EmulatorBuilder {
    /// Starts the emulator on the current tokio runtime. It serves requests when this returns.
    ///
    /// # Errors
    /// If an option is not valid, a port is not free, or the data cannot be opened.
    pub async fn start(self) -> Result<Emulator, Error> {
        Box::pin(Emulator::start(self)).await
    }
}

impl Emulator {
    /// The options of an emulator.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    /// The id scope of the instance.
    pub fn id_scope(&self) -> &IdScope {
        &self.instance.id_scope
    }

    /// The host in URLs and connection strings: the first [name](EmulatorBuilder::host_name), or `localhost`.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The URL of all APIs, such as `https://localhost:PORT`. On port 443 it has no port.
    pub fn https_url(&self) -> String {
        format!("https://{}", authority(&self.host, self.https_port()))
    }

    /// The URL of all APIs over plain HTTP: `http://127.0.0.1:PORT`. `None` if no
    /// [port](EmulatorBuilder::insecure_http_port) was asked for.
    pub fn insecure_http_url(&self) -> Option<String> {
        let port = self.port(Protocol::InsecureHttp);
        (port != 0).then(|| format!("http://127.0.0.1:{port}"))
    }

    /// The port of HTTPS, and of MQTT and AMQP over WebSocket.
    pub fn https_port(&self) -> u16 {
        self.port(Protocol::Https)
    }

    /// The port of MQTT.
    pub fn mqtt_port(&self) -> u16 {
        self.port(Protocol::Mqtt)
    }

    /// The port of AMQP.
    pub fn amqp_port(&self) -> u16 {
        self.port(Protocol::Amqp)
    }

    /// The CA certificate that devices and service clients must trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        self.tls.root_pem()
    }

    /// Returns the certificate that clients must trust if they verify RSA signatures only. The first call makes it, which takes
    /// seconds; a data directory keeps it as `ca-rsa.pem`.
    ///
    /// # Errors
    /// [`ErrorKind::Certificate`](crate::ErrorKind::Certificate) if it cannot be made, read or written.
    pub async fn rsa_ca_pem(&self) -> Result<String, Error> {
        self.tls.rsa_root_pem().await
    }

    /// The URL of the control endpoint, such as `http://127.0.0.1:PORT`, if [it was asked for](EmulatorBuilder::control).
    #[cfg(feature = "control")]
    pub fn control_url(&self) -> Option<&str> {
        self.control_url.as_deref()
    }

    /// The names of the linked hubs.
    pub fn hub_names(&self) -> Vec<HubHostname> {
        self.instance.allocator.hub_names()
    }

    /// A linked hub: its devices and their twins. `None` if no hub of this name is linked.
    pub fn hub(&self, name: &str) -> Option<HubHandle> {
        HubHandle::new(Arc::clone(&self.instance.hubs), name)
    }

    /// The connection string of the policy `provisioningserviceowner`, which has every permission. It holds the service key: a
    /// secret, zeroized when dropped.
    #[expect(
        clippy::indexing_slicing,
        reason = "the policy of the owner is always the first"
    )]
    pub fn service_connection_string(&self) -> Zeroizing<String> {
        self.connections[0].reveal()
    }

    /// The connection string of a shared access policy. It holds the policy's primary key: a secret, zeroized when dropped.
    pub fn connection_string(&self, policy: &str) -> Option<Zeroizing<String>> {
        let mut connections = self.connections.iter();
        let named = connections.find(|connection| {
            let name = connection.shared_access_key_name();
            name.eq_ignore_ascii_case(policy)
        });
        named.map(ServiceConnectionString::reveal)
    }

    /// The names of the shared access policies; `provisioningserviceowner` is the first.
    pub fn policies(&self) -> impl Iterator<Item = &str> {
        self.connections
            .iter()
            .map(ServiceConnectionString::shared_access_key_name)
    }

    /// The certificates that DPS and the hubs issue to devices: their roots, revocation, expiry.
    pub fn issuance(&self) -> IssuanceHandle {
        IssuanceHandle::new(Arc::clone(&self.instance))
    }

    /// All that a client needs, as one JSON object: `idScope`, `https`, `mqtt`, `amqp`, `hubs`, `serviceConnectionString`,
    /// `connectionStrings` by policy and `hubConnectionStrings` by hub, and `insecureHttp` and `control` if they are served. It
    /// holds keys: a secret.
    pub fn connection_info(&self) -> Map<String, Value> {
        let connections: Map<String, Value> = self
            .connections
            .iter()
            .map(|connection| {
                let name = connection.shared_access_key_name();
                (name.to_owned(), connection.reveal().as_str().into())
            })
            .collect();
        let names = self.hub_names();
        let hubs: Map<String, Value> = names
            .iter()
            .filter_map(|name| Some((name.to_string(), self.hub(name.as_str())?)))
            .map(|(name, hub)| (name, hub.connection_string().as_str().into()))
            .collect();
        let mut info = Map::new();
        let mut put = |name: &str, value: Value| drop(info.insert(name.to_owned(), value));
        put("idScope", self.id_scope().as_str().into());
        put("https", self.https_url().into());
        put("mqtt", format!("{}:{}", self.host, self.mqtt_port()).into());
        put("amqp", format!("{}:{}", self.host, self.amqp_port()).into());
        if let Some(url) = self.insecure_http_url() {
            put("insecureHttp", url.into());
        }
        #[cfg(feature = "control")]
        if let Some(url) = self.control_url() {
            put("control", url.into());
        }
        put("hubs", names.iter().map(HubHostname::as_str).collect());
        let owner = self.service_connection_string();
        put("serviceConnectionString", owner.as_str().into());
        put("connectionStrings", connections.into());
        put("hubConnectionStrings", hubs.into());
        info
    }

    /// Reads the telemetry of the devices of all hubs that arrives from now on.
    pub fn telemetry_stream(&self) -> TelemetryStream {
        TelemetryStream::new(Arc::clone(&self.instance.hubs), None)
    }

    /// The queue of faults, for tests of devices. It is empty at first.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The latest requests of devices and operators with their outcomes, the oldest first, if the emulator
    /// [keeps them](EmulatorBuilder::keep_exchanges).
    pub fn exchanges(&self) -> Vec<Exchange> {
        let journal = self.journal.iter();
        let kept = journal.flat_map(|journal| journal.latest());
        kept.map(|exchange| (*exchange).clone()).collect()
    }

    /// Stops the emulator. Requests in progress have 5 seconds to finish; allocations in progress resume at the next start.
    pub async fn shutdown(mut self) {
        self.stop.disarm().cancel();
        while self.server.join_next().await.is_some() {}
        self.stop_readers.disarm().cancel();
        while self.readers.join_next().await.is_some() {}
        self.instances.stopped().await;
    }

    pub(crate) fn instances(&self) -> &Arc<Instances> {
        &self.instances
    }

    fn port(&self, protocol: Protocol) -> u16 {
        let mut ports = self.ports.iter();
        let port = ports.find(|(other, _)| *other == protocol);
        port.map_or(0, |(_, port)| *port)
    }
}
