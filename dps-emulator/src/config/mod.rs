//! The options of an emulator.

mod check;
mod host_name;
mod setters;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dps_tls::Roots;
use dps_types::{Clock, IdScope, SymmetricKey, SystemClock};
use rustls::sign::CertifiedKey;

use crate::access::{AccessPolicy, BearerToken};
use crate::allocate::{DefaultAllocation, Latency, LinkedHub};
use crate::attest::VerifiedCa;
use crate::endpoint::Protocol;
use crate::fault::Fault;
use crate::issuance::IssuingAuthority;
use crate::limits::Limits;
use crate::seed::Seed;
use crate::state::store::Store;

pub(crate) use check::invalid;
pub use host_name::HostName;

/// The hub that is linked when no other is; [`EmulatorBuilder::link_hub`] has the reason for this name.
const DEFAULT_HUB: &str = "127.0.0.1";
const DEFAULT_ID_SCOPE: &str = "0ne00000001";

/// The options of an emulator. The defaults suit a test: everything in memory, on free ports of the loopback interface.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// use std::time::Duration;
///
/// use dps_emulator::{Emulator, LinkedHub};
///
/// let dps = Emulator::builder()
///     .link_hub("toasters".parse::<LinkedHub>()?)
///     .certificate_authority("contoso/factory-1/toasters=30".parse()?)
///     .retry_after(Duration::ZERO) // devices need not wait between two polls
///     .start()
///     .await?;
/// # drop(dps);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct EmulatorBuilder {
    pub(crate) bind: IpAddr,
    /// The protocols that are served, each on a port. 0 selects a free one.
    pub(crate) ports: Vec<(Protocol, u16)>,
    pub(crate) host_names: Vec<HostName>,
    pub(crate) id_scope: Option<IdScope>,
    hubs: Vec<LinkedHub>,
    latencies: Vec<Latency>,
    pub(crate) default_allocation: DefaultAllocation,
    pub(crate) verified_cas: Vec<VerifiedCa>,
    pub(crate) server_certificate: Option<CertifiedKey>,
    #[cfg(feature = "redb")]
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) replica_timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) service_key: Option<SymmetricKey>,
    policies: Vec<AccessPolicy>,
    pub(crate) bearer_tokens: Vec<BearerToken>,
    pub(crate) limits: Limits,
    pub(crate) retry_after: Duration,
    pub(crate) assign_delay: Duration,
    pub(crate) mqtt_answer_delay: Duration,
    pub(crate) require_verified_ca: bool,
    pub(crate) webhook_roots: Option<Roots>,
    pub(crate) any_api_version: bool,
    pub(crate) local_auth_disabled: bool,
    certificate_authorities: Vec<IssuingAuthority>,
    pub(crate) kept_telemetry: usize,
    pub(crate) telemetry_file: Option<PathBuf>,
    pub(crate) upload_dir: Option<PathBuf>,
    pub(crate) seed: Seed,
    pub(crate) random_seed: Option<u64>,
    pub(crate) kept_exchanges: usize,
    #[cfg(feature = "control")]
    pub(crate) control: Option<crate::control::ControlEndpoint>,
    pub(crate) faults: Vec<Fault>,
}

impl Default for EmulatorBuilder {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            ports: vec![
                (Protocol::Https, 0),
                (Protocol::Mqtt, 0),
                (Protocol::Amqp, 0),
            ],
            host_names: Vec::new(),
            id_scope: None,
            hubs: Vec::new(),
            latencies: Vec::new(),
            default_allocation: DefaultAllocation::default(),
            verified_cas: Vec::new(),
            server_certificate: None,
            #[cfg(feature = "redb")]
            data_dir: None,
            store: None,
            replica_timeout: Duration::from_secs(10),
            clock: Arc::new(SystemClock),
            service_key: None,
            policies: Vec::new(),
            bearer_tokens: Vec::new(),
            limits: Limits::default(),
            retry_after: Duration::from_secs(3),
            assign_delay: Duration::ZERO,
            mqtt_answer_delay: Duration::ZERO,
            require_verified_ca: false,
            webhook_roots: None,
            any_api_version: false,
            local_auth_disabled: false,
            certificate_authorities: Vec::new(),
            kept_telemetry: 100,
            telemetry_file: None,
            upload_dir: None,
            seed: Seed::default(),
            random_seed: None,
            kept_exchanges: 0,
            #[cfg(feature = "control")]
            control: None,
            faults: Vec::new(),
        }
    }
}
