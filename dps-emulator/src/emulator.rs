//! A running emulator: how it starts, how clients reach it, how it stops.

use std::io;
use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use dps_allocation::WebhookClient;
use dps_types::{HubHostname, IdScope, ServiceConnectionString};
use rustls_pki_types::DnsName;
use serde_json::{Map, Value};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};
use zeroize::Zeroizing;

use crate::access::{Access, Policy};
use crate::allocate::{Allocator, Latency};
use crate::ca_certificates::CaCertificates;
use crate::config::EmulatorBuilder;
use crate::endpoint::{ConnectionCounts, Gateway, Protocol, RefusalLog, serve};
use crate::error::{Error, ErrorKind};
use crate::fault::Faults;
use crate::hub::{HubHandle, HubSettings, Hubs, TelemetryFile, TelemetryStream};
use crate::instance::{Instance, Settings};
use crate::issuance::{Issuance, IssuanceHandle};
use crate::journal::{Exchange, Journal};
use crate::limits::Throttle;
use crate::provision::Engine;
use crate::state::State;
use crate::state::store::{MemoryStore, Store};
#[cfg(feature = "redb")]
use crate::state::store::{RedbStore, StoreError};
use crate::tls::TlsAcceptor;

#[cfg(feature = "redb")]
const STORE_FILE: &str = "dps.redb";
/// The most connections that wait to be accepted, for many devices that start at once. The system may allow fewer.
const BACKLOG: u32 = 4096;

/// A running emulator. Dropping it stops it; [`Emulator::shutdown`] also waits until it has stopped.
#[derive(Debug)]
pub struct Emulator {
    ports: Vec<(Protocol, u16)>,
    host: String,
    tls: Arc<TlsAcceptor>,
    /// One for each policy, the owner's first.
    connections: Vec<ServiceConnectionString>,
    instance: Arc<Instance>,
    engine: Arc<Engine>,
    faults: Faults,
    journal: Option<Arc<Journal>>,
    #[cfg(feature = "control")]
    control_url: Option<String>,
    server: JoinSet<()>,
    stop: DropGuard,
    /// What is done with the telemetry of the hubs, until the last connection has ended.
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
    /// [`ErrorKind::Certificate`] if it cannot be made, read or written.
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
        self.engine.stopped().await;
    }

    fn port(&self, protocol: Protocol) -> u16 {
        let mut ports = self.ports.iter();
        let port = ports.find(|(other, _)| *other == protocol);
        port.map_or(0, |(_, port)| *port)
    }

    #[cfg_attr(not(feature = "control"), allow(unused_mut))]
    async fn start(mut builder: EmulatorBuilder) -> Result<Self, Error> {
        #[cfg(feature = "control")]
        let control = crate::control::prepare(&mut builder)?;
        let id_scope = builder.chosen_id_scope()?;
        let hubs = builder.chosen_hubs()?;
        let policies = builder.all_policies()?;
        let default_allocation = builder.checked_default_allocation()?;
        let latencies = Latency::table(builder.checked_latencies(&hubs)?);
        builder.check_verified_cas()?;
        let authorities = builder.checked_authorities()?;
        #[cfg(feature = "redb")]
        let data_dir = builder.data_dir.as_deref();
        #[cfg(not(feature = "redb"))]
        let data_dir: Option<&Path> = None;
        if let Some(dir) = data_dir {
            create_private_dir(dir)?;
        }

        let listeners = builder
            .ports
            .iter()
            .map(|(protocol, port)| Ok((*protocol, listen(protocol.address(builder.bind), *port)?)))
            .collect::<Result<Vec<_>, Error>>()?;
        let ports: Vec<(Protocol, u16)> = listeners
            .iter()
            .map(|(protocol, (_, port))| (*protocol, *port))
            .collect();
        let https = ports.iter().find(|(it, _)| *it == Protocol::Https);
        let host = builder
            .host_names
            .first()
            .map_or("localhost", String::as_str);
        let host = bracketed(host);
        let local_host = authority(&host, https.map_or(443, |(_, port)| *port));

        let store = open_store(&builder).await?;
        let mut hosts = builder.host_names.clone();
        hosts.extend(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned));
        let mut access = Access {
            policies: Vec::with_capacity(policies.len()),
            bearer_tokens: builder.bearer_tokens,
            hosts,
            local_auth_disabled: builder.local_auth_disabled,
        };
        for policy in policies {
            access.policies.push(policy.open(&*store).await?);
        }
        // Devices connect to their hubs by name, if the name leads to the emulator.
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
        let connections = connections(&access, &local_host)?;

        let telemetry_file = match &builder.telemetry_file {
            Some(path) => Some(TelemetryFile::open(path).await?),
            None => None,
        };
        let stop = CancellationToken::new();
        let stop_readers = CancellationToken::new();
        let webhooks = builder
            .webhook_roots
            .map_or_else(WebhookClient::new, WebhookClient::with_roots);
        let throttle = Throttle::new(&builder.limits);
        let state = State::new(
            Arc::clone(&store),
            Arc::clone(&builder.clock),
            builder.limits,
        )
        .with_seed(builder.random_seed);
        let allocator = Allocator::new(hubs, default_allocation, latencies, webhooks);
        let faults = Faults::new(stop.clone(), builder.random_seed);
        let issuance = Issuance::open(
            authorities,
            Arc::clone(&store),
            Arc::clone(&builder.clock),
            faults.clone(),
        );
        let issuance = Arc::new(issuance.await?);
        let hubs = Hubs::new(
            store,
            Arc::clone(&builder.clock),
            allocator.hub_names(),
            access.owner_key(),
            &local_host,
            HubSettings {
                kept_telemetry: builder.kept_telemetry,
                limits: state.limits().clone(),
                upload_dir: builder.upload_dir,
                stop: stop_readers.clone(),
                issuance: Arc::clone(&issuance),
            },
        );
        let instance = Arc::new(Instance {
            id_scope,
            cas: CaCertificates::new(state.clone(), &builder.verified_cas),
            state,
            throttle,
            allocator,
            hubs: Arc::new(hubs.map_err(configuration)?),
            issuance,
            access,
            clock: builder.clock,
            settings: Settings {
                assign_delay: builder.assign_delay,
                require_verified_ca: builder.require_verified_ca,
                retry_after_seconds: builder.retry_after.as_secs(),
                mqtt_answer_delay: builder.mqtt_answer_delay,
                any_api_version: builder.any_api_version,
            },
        });
        let linked = instance.allocator.hub_names();
        Box::pin(builder.seed.apply(&instance.state, &linked)).await?;
        let engine = Arc::new(Engine::new(Arc::clone(&instance), stop.clone()));
        engine
            .resume()
            .await
            .map_err(|error| Error::new(ErrorKind::Store, error.message()))?;

        for fault in builder.faults {
            faults.next(fault);
        }
        let journal = match builder.kept_exchanges {
            0 => None,
            kept => Some(Arc::new(Journal::new(Arc::clone(&instance.clock), kept))),
        };
        let gateway = Arc::new(Gateway {
            instance: Arc::clone(&instance),
            engine: Arc::clone(&engine),
            faults: faults.clone(),
            refusals: RefusalLog::default(),
            journal: journal.clone(),
            connections: ConnectionCounts::default(),
            local_host,
        });
        let mut server = JoinSet::new();
        let mut readers = JoinSet::new();
        if let Some(file) = telemetry_file {
            let messages = TelemetryStream::new(Arc::clone(&instance.hubs), None);
            readers.spawn(file.write(messages));
        }
        for (protocol, (listener, _)) in listeners {
            server.spawn(serve(
                listener,
                Arc::clone(&tls),
                protocol,
                Arc::clone(&gateway),
                stop.clone(),
            ));
        }

        #[cfg_attr(not(feature = "control"), allow(unused_mut))]
        let mut emulator = Self {
            ports,
            host,
            tls,
            connections,
            instance,
            engine,
            faults,
            journal,
            #[cfg(feature = "control")]
            control_url: None,
            server,
            stop: stop.clone().drop_guard(),
            readers,
            stop_readers: stop_readers.drop_guard(),
        };
        #[cfg(feature = "control")]
        if let Some(control) = control {
            let (url, serving) = control.start(&emulator, gateway, builder.seed, stop);
            emulator.control_url = Some(url);
            emulator.server.spawn(serving);
        }
        Ok(emulator)
    }
}

/// A listener and its port.
pub(crate) fn listen(address: IpAddr, port: u16) -> Result<(TcpListener, u16), Error> {
    let listen = || {
        let socket = match address {
            IpAddr::V4(_) => TcpSocket::new_v4(),
            IpAddr::V6(_) => TcpSocket::new_v6(),
        }?;
        // Makes a port free as soon as its emulator has stopped. On Windows the option has another meaning.
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
        .with_source(error)
    })
}

async fn open_store(builder: &EmulatorBuilder) -> Result<Arc<dyn Store>, Error> {
    if let Some(store) = &builder.store {
        return Ok(Arc::clone(store));
    }
    #[cfg(feature = "redb")]
    if let Some(dir) = &builder.data_dir {
        let store = RedbStore::open(dir.join(STORE_FILE)).await;
        return Ok(Arc::new(store.map_err(store_failed)?));
    }
    Ok(Arc::new(MemoryStore::new()))
}

/// The connection string of each policy.
fn connections(access: &Access, host: &str) -> Result<Vec<ServiceConnectionString>, Error> {
    let connection = |policy: &Policy| {
        ServiceConnectionString::new(host, &*policy.name, policy.keys[0].clone())
            .map_err(configuration)
    };
    access.policies.iter().map(connection).collect()
}

/// The host in connection strings, with the port unless it is the usual one.
fn authority(host: &str, https_port: u16) -> String {
    match https_port {
        443 => host.to_owned(),
        port => format!("{host}:{port}"),
    }
}

/// The host in a URL: an IPv6 address has brackets.
pub(crate) fn bracketed(host: &str) -> String {
    match host.parse::<Ipv6Addr>() {
        Ok(address) => format!("[{address}]"),
        Err(_) => host.to_owned(),
    }
}

/// Creates a directory that only its owner can read, because it will hold keys.
fn create_private_dir(dir: &Path) -> Result<(), Error> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir).map_err(|error| {
        Error::new(
            ErrorKind::Store,
            format!("the data directory {} cannot be created", dir.display()),
        )
        .with_source(error)
    })
}

fn configuration(error: dps_types::ParseError) -> Error {
    Error::new(ErrorKind::Configuration, error.to_string())
}

#[cfg(feature = "redb")]
fn store_failed(error: StoreError) -> Error {
    Error::new(ErrorKind::Store, "the store cannot be opened").with_source(error)
}
