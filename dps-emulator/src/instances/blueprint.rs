//! The parts and settings that all instances of an emulator share, and the assembly of an instance.

use std::path::PathBuf;
use std::sync::Arc;

use dps_allocation::WebhookClient;
use dps_allocation::policies::LatencyTable;
use dps_types::enrollment::AllocationPolicyKind;
use dps_types::{Clock, IdScope};
use tokio_util::sync::CancellationToken;

use crate::access::{Access, BearerToken, Policy};
use crate::allocate::{self, Allocator};
use crate::attest::VerifiedCa;
use crate::ca_certificates::CaCertificates;
use crate::current::Current;
use crate::endpoint::{Gateway, Shared};
use crate::error::Error;
use crate::fault::Faults;
use crate::hub::{self, HubSettings, Hubs};
use crate::instance::{Instance, Settings};
use crate::issuance::{Issuance, IssuingAuthority};
use crate::limits::{Limits, Throttle};
use crate::provision::Engine;
use crate::replica::{Bus, Replica};
use crate::state::State;
use crate::state::store::{Partition, Store};

/// The parts and settings that all instances of an emulator share.
#[derive(Debug)]
pub(crate) struct Blueprint {
    /// The store with the data of all instances.
    pub(crate) store: Arc<dyn Store>,
    /// The id of this emulator among those that share the store.
    pub(crate) replica_id: Arc<str>,
    /// The heartbeat and the messages to the others, if there can be any.
    pub(crate) replica: Option<Replica>,
    pub(crate) bus: Option<Bus>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) limits: Limits,
    pub(crate) settings: Settings,
    /// The certificate authorities. Each instance has its own keys for them.
    pub(crate) authorities: Vec<IssuingAuthority>,
    pub(crate) webhooks: WebhookClient,
    pub(crate) bearer_tokens: Vec<BearerToken>,
    /// The host names of the emulator.
    pub(crate) hosts: Vec<String>,
    pub(crate) kept_telemetry: usize,
    pub(crate) upload_dir: Option<PathBuf>,
    pub(crate) random_seed: Option<u64>,
    pub(crate) stop: CancellationToken,
    pub(crate) stop_readers: CancellationToken,
    pub(crate) shared: Arc<Shared>,
}

/// The parts in which instances differ.
pub(crate) struct Parts {
    pub(crate) id_scope: IdScope,
    pub(crate) store: Partition,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) access: Access,
    pub(crate) hubs: Vec<hub::LinkedHub>,
    pub(crate) allocated: Vec<allocate::LinkedHub>,
    pub(crate) default_policy: AllocationPolicyKind,
    pub(crate) latencies: LatencyTable,
    pub(crate) verified_cas: Vec<VerifiedCa>,
}

impl Blueprint {
    /// Assembles an instance. Its registrations in progress are not resumed yet.
    pub(crate) async fn assemble(&self, parts: Parts) -> Result<Gateway, Error> {
        // Cancelled alone if the instance is deleted.
        let stop = self.stop.child_token();
        let clock = parts.clock;
        let store: Arc<dyn Store> = Arc::new(parts.store);
        let faults = Faults::new(stop.clone(), self.random_seed);
        #[cfg(feature = "control")]
        let faults = faults.in_store(self.bus.is_some().then(|| Arc::clone(&store)));
        let state = State::new(Arc::clone(&store), Arc::clone(&clock), self.limits.clone())
            .within(Arc::clone(&self.store))
            .at_replica(Arc::clone(&self.replica_id))
            .with_seed(self.random_seed);
        let issuance = Issuance::open(
            self.authorities.clone(),
            Arc::clone(&store),
            Arc::clone(&clock),
            faults.clone(),
        );
        let issuance = Arc::new(issuance.await?);
        let settings = HubSettings {
            kept_telemetry: self.kept_telemetry,
            limits: self.limits.clone(),
            upload_dir: self.upload_dir.clone(),
            stop: self.stop_readers.clone(),
            bus: self.bus.clone(),
            issuance: Arc::clone(&issuance),
        };
        let hubs = Hubs::new(Arc::clone(&store), Arc::clone(&clock), parts.hubs, settings);
        let instance = Arc::new(Instance {
            id_scope: parts.id_scope,
            cas: CaCertificates::new(state.clone(), &parts.verified_cas),
            state,
            throttle: Throttle::new(&self.limits, self.bus.is_some().then_some(&store)),
            allocator: Allocator::new(
                parts.allocated,
                parts.default_policy,
                parts.latencies,
                self.webhooks.clone(),
            ),
            hubs: Arc::new(hubs),
            issuance,
            access: Current::new(parts.access),
            clock,
            settings: self.settings.clone(),
        });
        Ok(Gateway {
            engine: Arc::new(Engine::new(Arc::clone(&instance), stop.clone())),
            instance,
            faults,
            stop,
            shared: Arc::clone(&self.shared),
        })
    }

    /// The access control of an instance whose hosts are those of the emulator and these.
    pub(crate) fn access(
        &self,
        policies: Vec<Policy>,
        hosts: impl IntoIterator<Item = String>,
        local_auth_disabled: bool,
    ) -> Access {
        Access {
            policies,
            bearer_tokens: self.bearer_tokens.clone(),
            hosts: self.hosts.iter().cloned().chain(hosts).collect(),
            local_auth_disabled,
        }
    }
}
