//! A running emulator: what it is made of, how to reach it, how it ends.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use dps_allocation::WebhookClient;
use dps_types::{HubHostname, IdScope, ServiceConnectionString};
use rustls_pki_types::DnsName;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

use crate::access::{Access, Policy};
use crate::allocate::{Allocator, Latency};
use crate::ca_certificates::CaCertificates;
use crate::config::EmulatorBuilder;
use crate::endpoint::{Gateway, Protocol, serve};
use crate::error::{Error, ErrorKind};
use crate::fault::Faults;
use crate::hub::{HubHandle, Hubs};
use crate::provision::{Engine, Settings};
use crate::state::State;
use crate::state::store::{MemoryStore, RedbStore, Store, StoreError};
use crate::tls::TlsAcceptor;

const STORE_FILE: &str = "dps.redb";
/// How many connections may wait to be accepted: a fleet that starts at once. The system may allow fewer.
const BACKLOG: u32 = 4096;

/// A running emulator. Dropping it stops it; [`Emulator::shutdown`] also waits until it has.
#[derive(Debug)]
pub struct Emulator {
    id_scope: IdScope,
    https_port: u16,
    mqtt_port: u16,
    tls: Arc<TlsAcceptor>,
    /// One for each policy, the owner's first.
    connections: Vec<ServiceConnectionString>,
    engine: Arc<Engine>,
    hubs: Arc<Hubs>,
    faults: Faults,
    server: JoinSet<()>,
    stop: DropGuard,
}

impl Emulator {
    /// What can be chosen before it starts.
    pub fn builder() -> EmulatorBuilder {
        EmulatorBuilder::default()
    }

    /// The id scope that devices name.
    pub fn id_scope(&self) -> &IdScope {
        &self.id_scope
    }

    /// Where both APIs are: `https://localhost:PORT`.
    pub fn https_url(&self) -> String {
        format!("https://localhost:{}", self.https_port)
    }

    /// The port of both APIs.
    pub fn https_port(&self) -> u16 {
        self.https_port
    }

    /// The port of MQTT.
    pub fn mqtt_port(&self) -> u16 {
        self.mqtt_port
    }

    /// The certificate that devices and operators must trust, as PEM.
    pub fn ca_pem(&self) -> &str {
        self.tls.root_pem()
    }

    /// Returns the certificate that clients must trust if they verify RSA signatures only. The first call makes it, which takes
    /// seconds; a data directory keeps it as `ca-rsa.pem`.
    ///
    /// # Errors
    /// [`ErrorKind::Certificate`] if it cannot be made, read or written.
    pub async fn rsa_ca_pem(&self) -> Result<String, Error> {
        self.tls.rsa_root_pem().await
    }

    /// The linked hubs.
    pub fn hubs(&self) -> Vec<HubHostname> {
        self.engine.allocator.hub_names()
    }

    /// One of the linked hubs: its devices and their twins. `None` when none of this name is linked.
    pub fn hub(&self, name: &str) -> Option<HubHandle> {
        HubHandle::new(Arc::clone(&self.hubs), name)
    }

    /// What an operator's client needs who may do everything. It holds the service key: a secret, wiped when dropped.
    pub fn service_connection_string(&self) -> Zeroizing<String> {
        self.connections[0].reveal()
    }

    /// What an operator's client needs to come in by this shared access policy. It holds the policy's primary key: a
    /// secret, wiped when dropped.
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

    /// What is to go wrong for devices, for tests of them. Nothing does by itself.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Stops: no new requests, those under way finish (5 seconds at most), allocations under way are
    /// left to be taken up at the next start.
    pub async fn shutdown(mut self) {
        self.stop.disarm().cancel();
        while self.server.join_next().await.is_some() {}
        self.engine.stopped().await;
    }

    pub(crate) async fn start(builder: EmulatorBuilder) -> Result<Self, Error> {
        let id_scope = builder.parsed_id_scope()?;
        let hubs = builder.parsed_hubs()?;
        let policies = builder.all_policies()?;
        let default_allocation = builder.checked_default_allocation()?;
        let latencies = Latency::table(builder.parsed_latencies(&hubs)?);
        let verified_cas = builder.parsed_cas()?;
        let data_dir = builder.data_dir.as_deref();
        if let Some(dir) = data_dir {
            create_private_dir(dir)?;
        }

        let (https, https_port) = listen(builder.bind, builder.https_port)?;
        let (mqtt, mqtt_port) = listen(builder.bind, builder.mqtt_port)?;

        let store = open_store(&builder).await?;
        let mut hosts = builder.host_names.clone();
        hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        let mut access = Access {
            policies: Vec::with_capacity(policies.len()),
            bearer_tokens: builder.bearer_tokens,
            hosts,
        };
        for policy in policies {
            access.policies.push(policy.open(&*store).await?);
        }
        let connections = connections(&access, https_port)?;
        // A device connects to its hub by name, too, wherever that name leads here.
        let hub_names = hubs.iter().map(|hub| hub.hostname.as_str());
        let names: Vec<String> = hub_names
            .filter(|name| DnsName::try_from(*name).is_ok())
            .map(str::to_owned)
            .chain(builder.host_names.iter().cloned())
            .collect();
        let tls = match builder.server_certificate {
            Some(identity) => TlsAcceptor::with_identity(identity),
            None => TlsAcceptor::issued(data_dir, names),
        };
        let tls = Arc::new(tls?);

        let stop = CancellationToken::new();
        let webhooks = builder
            .webhook_roots
            .map_or_else(WebhookClient::new, WebhookClient::with_roots);
        let state = State::new(
            Arc::clone(&store),
            Arc::clone(&builder.clock),
            builder.limits,
        );
        let allocator = Allocator::new(hubs, default_allocation, latencies, webhooks);
        let hubs = Hubs::new(
            store,
            Arc::clone(&builder.clock),
            allocator.hub_names(),
            access.owner_key(),
            &local_host(https_port),
        );
        let hubs = Arc::new(hubs.map_err(configuration)?);
        let engine = Arc::new(Engine::new(
            state.clone(),
            CaCertificates::new(state, &verified_cas),
            allocator,
            Arc::clone(&hubs),
            builder.clock,
            Settings {
                id_scope: id_scope.clone(),
                assign_delay: builder.assign_delay,
                require_verified_ca: builder.require_verified_ca,
            },
            stop.clone(),
        ));
        engine
            .resume()
            .await
            .map_err(|refusal| Error::new(ErrorKind::Store, refusal.message()))?;

        let faults = Faults::new(stop.clone());
        let gateway = Arc::new(Gateway {
            engine: Arc::clone(&engine),
            hubs: Arc::clone(&hubs),
            faults: faults.clone(),
            retry_after_seconds: builder.retry_after.as_secs(),
            access,
        });
        let mut server = JoinSet::new();
        for (listener, protocol) in [(https, Protocol::Http), (mqtt, Protocol::Mqtt)] {
            server.spawn(serve(
                listener,
                Arc::clone(&tls),
                protocol,
                Arc::clone(&gateway),
                stop.clone(),
            ));
        }

        Ok(Self {
            id_scope,
            https_port,
            mqtt_port,
            tls,
            connections,
            engine,
            hubs,
            faults,
            server,
            stop: stop.drop_guard(),
        })
    }
}

/// A listener, and the port that it got.
fn listen(address: IpAddr, port: u16) -> Result<(TcpListener, u16), Error> {
    let listen = || {
        let socket = match address {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // A port is free again as soon as its emulator has stopped. On Windows the option means something else.
        #[cfg(unix)]
        socket.set_reuseaddr(true)?;
        socket.bind((address, port).into())?;
        let listener = socket.listen(BACKLOG)?;
        let port = listener.local_addr()?.port();
        Ok((listener, port))
    };
    listen().map_err(|error: io::Error| {
        Error::new(
            ErrorKind::Bind,
            format!("cannot listen on {address}:{port}"),
        )
        .because(error)
    })
}

async fn open_store(builder: &EmulatorBuilder) -> Result<Arc<dyn Store>, Error> {
    match (&builder.store, &builder.data_dir) {
        (Some(store), _) => Ok(Arc::clone(store)),
        (None, Some(dir)) => Ok(Arc::new(
            RedbStore::open(dir.join(STORE_FILE))
                .await
                .map_err(store_failed)?,
        )),
        (None, None) => Ok(Arc::new(MemoryStore::new())),
    }
}

/// The connection string of each policy.
fn connections(access: &Access, https_port: u16) -> Result<Vec<ServiceConnectionString>, Error> {
    let host = local_host(https_port);
    let connection = |policy: &Policy| {
        ServiceConnectionString::new(&*host, &*policy.name, policy.keys[0].clone())
            .map_err(configuration)
    };
    access.policies.iter().map(connection).collect()
}

/// What a connection string names.
fn local_host(https_port: u16) -> String {
    match https_port {
        443 => "localhost".to_owned(),
        port => format!("localhost:{port}"),
    }
}

/// Keys will be in it: for its owner only.
fn create_private_dir(dir: &Path) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| {
        Error::new(
            ErrorKind::Store,
            format!("the data directory {} cannot be made", dir.display()),
        )
        .because(error)
    })
}

fn configuration(error: dps_types::ParseError) -> Error {
    Error::new(ErrorKind::Configuration, error.to_string())
}

fn store_failed(error: StoreError) -> Error {
    Error::new(ErrorKind::Store, "the store cannot be used").because(error)
}
