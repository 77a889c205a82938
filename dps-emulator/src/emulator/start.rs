//! The start of an emulator: checks the options, opens the store, and serves.

use std::path::Path;
use std::sync::Arc;

use dps_allocation::WebhookClient;
use dps_types::ServiceConnectionString;
use rustls_pki_types::DnsName;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Emulator;
use super::address::{authority, bracketed, listen};
use crate::access::{Access, Policy};
use crate::allocate::Latency;
use crate::config::{EmulatorBuilder, HostName};
use crate::endpoint::{ConnectionCounts, Gateway, Protocol, RefusalLog, Shared, serve};
use crate::error::{Error, ErrorKind};
use crate::hub::{self, TelemetryFile, TelemetryStream};
use crate::instance::Settings;
use crate::instances::{Blueprint, Instances, Parts};
use crate::journal::Journal;
use crate::replica::{Bus, Replica, receive};
use crate::state::store::{MemoryStore, Partition, Store};
#[cfg(feature = "redb")]
use crate::state::store::{RedbStore, StoreError};
use crate::tls::TlsAcceptor;

/// The names of instances and of hubs that are linked while the emulator runs, as the certificates of Azure have them.
const WILDCARDS: [&str; 2] = ["*.azure-devices-provisioning.net", "*.azure-devices.net"];

#[cfg(feature = "redb")]
const STORE_FILE: &str = "dps.redb";

impl Emulator {
    #[cfg_attr(not(feature = "control"), allow(unused_mut))]
    pub(super) async fn start(mut builder: EmulatorBuilder) -> Result<Self, Error> {
        #[cfg(feature = "control")]
        let control = crate::control::prepare(&mut builder)?;
        let id_scope = builder.chosen_id_scope()?;
        let hubs = builder.chosen_hubs()?;
        let policies = builder.all_policies()?;
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
            .map_or("localhost", HostName::as_str);
        let host = bracketed(host);
        let local_host = authority(&host, https.map_or(443, |(_, port)| *port));

        let store = open_store(&builder).await?;
        let own = Partition::first(Arc::clone(&store));
        let notifications = store.notifications();
        let names = builder.host_names.iter().map(HostName::to_string);
        let hosts = names
            .chain(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned))
            .collect();
        let mut opened = Vec::with_capacity(policies.len());
        for policy in policies {
            opened.push(policy.open(&own).await?);
        }
        // Devices connect to their hubs by name, if the name leads to the emulator.
        let hub_names = hubs.iter().map(|hub| hub.hostname.as_str());
        let names: Vec<String> = hub_names
            .filter(|name| DnsName::try_from(*name).is_ok())
            .map(str::to_owned)
            .chain(builder.host_names.iter().map(HostName::to_string))
            .chain(WILDCARDS.map(str::to_owned))
            .collect();
        let tls = match builder.server_certificate {
            Some(identity) => TlsAcceptor::with_identity(identity),
            None if notifications.is_some() => {
                TlsAcceptor::shared(Arc::clone(&store), data_dir, names).await
            }
            None => TlsAcceptor::issued(data_dir, names),
        };
        let tls = Arc::new(tls?);

        let telemetry_file = match &builder.telemetry_file {
            Some(path) => Some(TelemetryFile::open(path).await?),
            None => None,
        };
        let stop = CancellationToken::new();
        let stop_readers = CancellationToken::new();
        let webhooks = builder
            .webhook_roots
            .map_or_else(WebhookClient::new, WebhookClient::with_roots);
        let replica_id: Arc<str> = Uuid::new_v4().to_string().into();
        let shared = notifications.as_ref();
        let (bus, outbox) = shared.map(|_| Bus::new(Arc::clone(&replica_id))).unzip();
        let replica = shared.map(|_| {
            let (id, store) = (Arc::clone(&replica_id), Arc::clone(&store));
            Replica::new(id, store, builder.replica_timeout)
        });
        let journal = match builder.kept_exchanges {
            0 => None,
            kept => Some(Arc::new(Journal::new(Arc::clone(&builder.clock), kept))),
        };
        let blueprint = Blueprint {
            store: Arc::clone(&store),
            replica_id,
            replica,
            bus: bus.clone(),
            clock: Arc::clone(&builder.clock),
            limits: builder.limits,
            settings: Settings {
                assign_delay: builder.assign_delay,
                require_verified_ca: builder.require_verified_ca,
                retry_after_seconds: builder.retry_after.as_secs(),
                mqtt_answer_delay: builder.mqtt_answer_delay,
                any_api_version: builder.any_api_version,
            },
            authorities,
            webhooks,
            bearer_tokens: builder.bearer_tokens,
            hosts,
            kept_telemetry: builder.kept_telemetry,
            upload_dir: builder.upload_dir,
            random_seed: builder.random_seed,
            stop: stop.clone(),
            stop_readers: stop_readers.clone(),
            shared: Arc::new(Shared {
                refusals: RefusalLog::default(),
                journal: journal.clone(),
                #[cfg(feature = "control")]
                recorder: crate::recording::Recorder::new(bus),
                connections: ConnectionCounts::default(),
                local_host: local_host.clone(),
            }),
        };
        let access = blueprint.access(opened, [], builder.local_auth_disabled);
        let connections = connections(&access, &local_host)?;
        let linked = hubs
            .iter()
            .map(|hub| {
                let name = hub.hostname.clone();
                hub::LinkedHub::derived(name, access.owner_key(), &local_host)
            })
            .collect::<Result<_, _>>();
        let parts = Parts {
            id_scope,
            store: own,
            clock: builder.clock,
            access,
            hubs: linked.map_err(configuration)?,
            allocated: hubs,
            default_policy: builder.default_allocation.into(),
            latencies,
            verified_cas: builder.verified_cas,
        };
        let gateway = Arc::new(blueprint.assemble(parts).await?);
        let instances = Arc::new(Instances::new(Arc::clone(&gateway), blueprint));
        instances.check_first().await?;
        let Gateway {
            instance, faults, ..
        } = &*gateway;
        let linked = instance.allocator.hub_names();
        Box::pin(builder.seed.apply(&instance.state, &linked)).await?;
        instances
            .resume()
            .await
            .map_err(|error| Error::new(ErrorKind::Store, error.message()))?;

        for fault in builder.faults {
            faults.next(fault);
        }
        let mut server = JoinSet::new();
        server.spawn(Arc::clone(&instances).beat());
        server.spawn(Arc::clone(&instances).watch());
        if let (Some(notifications), Some(outbox)) = (notifications, outbox) {
            let instances = Arc::clone(&instances);
            server.spawn(receive(notifications, instances, stop.clone()));
            server.spawn(outbox.send(store, stop.clone()));
        }
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
                Arc::clone(&instances),
                stop.clone(),
            ));
        }

        #[cfg_attr(not(feature = "control"), allow(unused_mut))]
        let mut emulator = Self {
            ports,
            host,
            tls,
            connections,
            instance: Arc::clone(instance),
            faults: faults.clone(),
            instances,
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
