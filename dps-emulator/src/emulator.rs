//! A running emulator: what it is made of, how to reach it, how it ends.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use dps_allocation::WebhookClient;
use dps_types::{HubHostname, IdScope, ServiceConnectionString, SymmetricKey};
use rustls_pki_types::DnsName;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

use crate::allocate::{Allocator, Latency};
use crate::authority::ServerAuthority;
use crate::config::EmulatorBuilder;
use crate::endpoint::{Gateway, Protocol, ServicePolicy, serve};
use crate::error::{Error, ErrorKind};
use crate::fault::Faults;
use crate::hub::{Hub, Hubs};
use crate::provision::{Engine, Settings};
use crate::registry::Registry;
use crate::registry::store::{Expected, MemoryStore, RedbStore, Store, StoreError, Table};
use crate::tls;

const POLICY: &str = "provisioningserviceowner";
const STORE_FILE: &str = "dps.redb";
const SERVICE_KEY: &str = "service-key";
/// How many connections may wait to be accepted: a fleet that starts at once. The system may allow fewer.
const BACKLOG: u32 = 4096;

/// A running emulator. Dropping it stops it; [`Emulator::shutdown`] also waits until it has.
#[derive(Debug)]
pub struct Emulator {
    id_scope: IdScope,
    https_port: u16,
    mqtt_port: u16,
    ca_pem: String,
    connection: ServiceConnectionString,
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
        &self.ca_pem
    }

    /// The linked hubs.
    pub fn hubs(&self) -> Vec<HubHostname> {
        self.engine.allocator.hub_names()
    }

    /// One of the linked hubs: its devices and their twins. `None` when none of this name is linked.
    pub fn hub(&self, name: &str) -> Option<Hub> {
        Hub::new(Arc::clone(&self.hubs), name)
    }

    /// What an operator's client needs. It holds the service key: a secret, wiped when dropped.
    pub fn service_connection_string(&self) -> Zeroizing<String> {
        self.connection.to_text()
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
        let service_key = match &builder.service_key {
            Some(key) => key.clone(),
            None => kept_service_key(&*store).await?,
        };
        let authority = ServerAuthority::load_or_create(data_dir).map_err(certificate)?;
        // A device connects to its hub by name, too, wherever that name leads here.
        let hub_names = hubs.iter().map(|hub| hub.hostname.as_str());
        let names: Vec<String> = hub_names
            .filter(|name| DnsName::try_from(*name).is_ok())
            .map(str::to_owned)
            .chain(builder.host_names.iter().cloned())
            .collect();
        let identity = authority.issue(&names).map_err(certificate)?;
        let acceptor = |protocols: &[&str]| {
            let config = tls::server_config(identity.clone(), protocols).map_err(certificate)?;
            Ok::<_, Error>(TlsAcceptor::from(Arc::new(config)))
        };
        let (https_tls, mqtt_tls) = (acceptor(&["http/1.1"])?, acceptor(&[])?);

        let stop = CancellationToken::new();
        let webhooks = builder
            .webhook_roots
            .map_or_else(WebhookClient::new, WebhookClient::with_roots);
        let host = match https_port {
            443 => "localhost".to_owned(),
            port => format!("localhost:{port}"),
        };
        let allocator = Allocator::new(hubs, default_allocation, latencies, webhooks);
        let hubs = Hubs::new(
            Arc::clone(&store),
            Arc::clone(&builder.clock),
            allocator.hub_names(),
            &service_key,
            &host,
        );
        let hubs = Arc::new(hubs.map_err(configuration)?);
        let engine = Arc::new(Engine::new(
            Registry::new(store, Arc::clone(&builder.clock)),
            allocator,
            Arc::clone(&hubs),
            builder.clock,
            Settings {
                id_scope: id_scope.clone(),
                assign_delay: builder.assign_delay,
                verified_cas,
                require_verified_ca: builder.require_verified_ca,
            },
            stop.clone(),
        ));
        engine
            .resume()
            .await
            .map_err(|refusal| Error::new(ErrorKind::Store, refusal.message))?;

        let mut hosts = builder.host_names;
        hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        let policy = ServicePolicy {
            name: POLICY.to_owned(),
            key: service_key.clone(),
            hosts,
        };
        let faults = Faults::new(stop.clone());
        let gateway = Arc::new(Gateway {
            engine: Arc::clone(&engine),
            hubs: Arc::clone(&hubs),
            faults: faults.clone(),
            retry_after_seconds: builder.retry_after.as_secs(),
            policy,
        });
        let mut server = JoinSet::new();
        for (listener, tls, protocol) in [
            (https, https_tls, Protocol::Http),
            (mqtt, mqtt_tls, Protocol::Mqtt),
        ] {
            server.spawn(serve(
                listener,
                tls,
                protocol,
                Arc::clone(&gateway),
                stop.clone(),
            ));
        }

        let connection =
            ServiceConnectionString::new(host, POLICY, service_key).map_err(configuration)?;
        let ca_pem = authority.certificate_pem().to_owned();
        Ok(Self {
            id_scope,
            https_port,
            mqtt_port,
            ca_pem,
            connection,
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

/// The service key of an earlier run, so that connection strings stay valid; else a new one.
async fn kept_service_key(store: &dyn Store) -> Result<SymmetricKey, Error> {
    loop {
        if let Some(bytes) = store
            .get(Table::Meta, SERVICE_KEY)
            .await
            .map_err(store_failed)?
        {
            return SymmetricKey::from_bytes(bytes).map_err(|error| {
                Error::new(ErrorKind::Store, "the kept service key is damaged").because(error)
            });
        }
        let key = SymmetricKey::generate();
        let bytes = key.as_bytes().to_vec();
        if store
            .put(Table::Meta, SERVICE_KEY, Expected::Absent, bytes)
            .await
            .map_err(store_failed)?
        {
            return Ok(key);
        }
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

fn certificate(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(
        ErrorKind::Certificate,
        "the server's certificate cannot be made",
    )
    .because(error)
}
