//! The start of an emulator: checks the options, opens the store, and serves.

use std::path::Path;
use std::sync::Arc;

use dps_allocation::WebhookClient;
use dps_types::ServiceConnectionString;
use rustls_pki_types::DnsName;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::Emulator;
use super::address::{authority, bracketed, listen};
use crate::access::{Access, Policy};
use crate::allocate::{Allocator, Latency};
use crate::ca_certificates::CaCertificates;
use crate::config::{EmulatorBuilder, HostName};
use crate::endpoint::{ConnectionCounts, Gateway, Protocol, RefusalLog, serve};
use crate::error::{Error, ErrorKind};
use crate::fault::Faults;
use crate::hub::{HubSettings, Hubs, TelemetryFile, TelemetryStream};
use crate::instance::{Instance, Settings};
use crate::issuance::Issuance;
use crate::journal::Journal;
use crate::limits::Throttle;
use crate::provision::Engine;
use crate::replica::{Bus, Replica, receive};
use crate::state::State;
use crate::state::store::{MemoryStore, Store};
#[cfg(feature = "redb")]
use crate::state::store::{RedbStore, StoreError};
use crate::tls::TlsAcceptor;

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
        let notifications = store.notifications();
        let names = builder.host_names.iter().map(HostName::to_string);
        let hosts = names
            .chain(["localhost", "127.0.0.1", "[::1]"].map(str::to_owned))
            .collect();
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
            .chain(builder.host_names.iter().map(HostName::to_string))
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
        let allocator =
            Allocator::new(hubs, builder.default_allocation.into(), latencies, webhooks);
        let faults = Faults::new(stop.clone(), builder.random_seed);
        let issuance = Issuance::open(
            authorities,
            Arc::clone(&store),
            Arc::clone(&builder.clock),
            faults.clone(),
        );
        let issuance = Arc::new(issuance.await?);
        let shared = notifications.as_ref();
        let (bus, outbox) = shared
            .map(|_| Bus::new(Arc::clone(state.replica())))
            .unzip();
        let hubs = Hubs::new(
            Arc::clone(&store),
            Arc::clone(&builder.clock),
            allocator.hub_names(),
            access.owner_key(),
            &local_host,
            HubSettings {
                kept_telemetry: builder.kept_telemetry,
                limits: state.limits().clone(),
                upload_dir: builder.upload_dir,
                stop: stop_readers.clone(),
                bus,
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
        let replica = notifications.is_some().then(|| {
            let id = Arc::clone(instance.state.replica());
            Replica::new(
                id,
                Arc::clone(instance.state.store()),
                builder.replica_timeout,
            )
        });
        let engine = Arc::new(Engine::new(Arc::clone(&instance), replica, stop.clone()));
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
            #[cfg(feature = "control")]
            recorder: crate::recording::Recorder::default(),
            connections: ConnectionCounts::default(),
            local_host,
        });
        let mut server = JoinSet::new();
        server.spawn(Arc::clone(&engine).watch());
        if let (Some(notifications), Some(outbox)) = (notifications, outbox) {
            let hubs = Arc::clone(&instance.hubs);
            server.spawn(receive(notifications, hubs, stop.clone()));
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
