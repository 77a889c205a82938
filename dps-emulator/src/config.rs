//! What can be chosen before an emulator starts.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dps_tls::{Roots, certified_key};
use dps_types::enrollment::AllocationPolicyKind;
use dps_types::{IdScope, SymmetricKey};
use rustls::sign::CertifiedKey;

use crate::access::{AccessPolicy, BearerToken, EntraRole};
use crate::allocate::{Latency, LinkedHub};
use crate::certificate::Certificate;
use crate::emulator::Emulator;
use crate::error::{Error, ErrorKind};
use crate::limits::Limits;
use crate::state::store::Store;
use dps_types::{Clock, SystemClock};

/// The hub that is linked when none is named.
const DEFAULT_HUB: &str = "localhost";
const DEFAULT_ID_SCOPE: &str = "0ne00000001";

/// What can be chosen before an emulator starts. Everything has a default that suits a test.
#[derive(Debug, Clone)]
pub struct EmulatorBuilder {
    pub(crate) bind: IpAddr,
    pub(crate) https_port: u16,
    pub(crate) mqtt_port: u16,
    pub(crate) host_names: Vec<String>,
    id_scope: String,
    hubs: Vec<String>,
    latencies: Vec<String>,
    default_allocation: AllocationPolicyKind,
    verified_cas: Vec<(String, String)>,
    pub(crate) server_certificate: Option<CertifiedKey>,
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) store: Option<Arc<dyn Store>>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) service_key: Option<SymmetricKey>,
    policies: Vec<AccessPolicy>,
    pub(crate) bearer_tokens: Vec<BearerToken>,
    pub(crate) limits: Limits,
    pub(crate) retry_after: Duration,
    pub(crate) assign_delay: Duration,
    pub(crate) require_verified_ca: bool,
    pub(crate) webhook_roots: Option<Roots>,
}

impl Default for EmulatorBuilder {
    fn default() -> Self {
        Self {
            bind: Ipv4Addr::LOCALHOST.into(),
            https_port: 0,
            mqtt_port: 0,
            host_names: Vec::new(),
            id_scope: DEFAULT_ID_SCOPE.to_owned(),
            hubs: Vec::new(),
            latencies: Vec::new(),
            default_allocation: AllocationPolicyKind::Hashed,
            verified_cas: Vec::new(),
            server_certificate: None,
            data_dir: None,
            store: None,
            clock: Arc::new(SystemClock),
            service_key: None,
            policies: Vec::new(),
            bearer_tokens: Vec::new(),
            limits: Limits::default(),
            retry_after: Duration::from_secs(3),
            assign_delay: Duration::ZERO,
            require_verified_ca: false,
            webhook_roots: None,
        }
    }
}

impl EmulatorBuilder {
    /// Starts the emulator on the current tokio runtime. It answers when this returns.
    ///
    /// # Errors
    /// When an option is not valid, the port cannot be had, or the data cannot be opened.
    pub async fn start(self) -> Result<Emulator, Error> {
        Emulator::start(self).await
    }

    /// Links an IoT hub: `HOSTNAME[=WEIGHT][,no-policy]`. The weight, 1 to 1000, is its share of devices under evenly
    /// weighted allocation. With `no-policy`, evenly weighted and lowest latency leave it out; static and custom allocation
    /// may still choose it. Without any, a hub named `localhost` is linked.
    #[must_use]
    pub fn link_hub(mut self, hub: impl Into<String>) -> Self {
        self.hubs.push(hub.into());
        self
    }

    /// How hubs are picked for enrollments that do not say: [`Hashed`](AllocationPolicyKind::Hashed), which is the default,
    /// [`GeoLatency`](AllocationPolicyKind::GeoLatency) or [`Static`](AllocationPolicyKind::Static).
    #[must_use]
    pub fn default_allocation(mut self, policy: AllocationPolicyKind) -> Self {
        self.default_allocation = policy;
        self
    }

    /// How far a linked hub is from the devices of a region: `[REGION/]HUB=MILLISECONDS`. Lowest latency goes by this. A
    /// device is in the region that the field `region` of its registration payload names; without a region, the line is for
    /// devices of no other. Hubs without a line come last, and ties go to evenly weighted.
    #[must_use]
    pub fn latency(mut self, line: impl Into<String>) -> Self {
        self.latencies.push(line.into());
        self
    }

    /// The id scope of the instance; `0ne00000001` by default.
    #[must_use]
    pub fn id_scope(mut self, id_scope: impl Into<String>) -> Self {
        self.id_scope = id_scope.into();
        self
    }

    /// The address to listen on; 127.0.0.1 by default. Another one opens the emulator to the network.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.bind = address;
        self
    }

    /// The port for HTTPS; by default 0, a free one.
    #[must_use]
    pub fn https_port(mut self, port: u16) -> Self {
        self.https_port = port;
        self
    }

    /// The port for MQTT; by default 0, a free one. MQTT over WebSocket is on the HTTPS port.
    #[must_use]
    pub fn mqtt_port(mut self, port: u16) -> Self {
        self.mqtt_port = port;
        self
    }

    /// Adds a DNS name or IP address to the server's certificate. `localhost` and the loopback addresses are always in it.
    #[must_use]
    pub fn host_name(mut self, name: impl Into<String>) -> Self {
        self.host_names.push(name.into());
        self
    }

    /// Keeps enrollments, registrations, CA certificates, the hubs' devices with their twins, the certificate authority and the
    /// keys of policies in this directory.
    /// Without it, everything is in memory.
    #[must_use]
    pub fn data_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.data_dir = Some(dir.into());
        self
    }

    /// Keeps enrollments, registrations and the hubs' devices in a store of your own.
    #[must_use]
    pub fn store(mut self, store: Arc<dyn Store>) -> Self {
        self.store = Some(store);
        self
    }

    /// The clock by which tokens and certificates are judged.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The primary key of the shared access policy `provisioningserviceowner`; by default a random one, kept in the data
    /// directory.
    #[must_use]
    pub fn service_key(mut self, key: SymmetricKey) -> Self {
        self.service_key = Some(key);
        self
    }

    /// Adds a shared access policy for operators. `provisioningserviceowner`, which may do everything, is always there.
    #[must_use]
    pub fn access_policy(mut self, policy: AccessPolicy) -> Self {
        self.policies.push(policy);
        self
    }

    /// Lets in operators who send this as a bearer token, so that code for Entra can be tested without Azure. The emulator
    /// cannot verify Azure's own tokens, and refuses every other one.
    #[must_use]
    pub fn bearer_token(mut self, token: impl AsRef<str>, role: EntraRole) -> Self {
        self.bearer_tokens
            .push(BearerToken::new(token.as_ref(), role));
        self
    }

    /// How much the instance takes; by default as much as the service, and any number of requests.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// How long devices are asked to wait between polls, in whole seconds; 3 by default, as the service does.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// How long an assignment takes at least; nothing by default.
    #[must_use]
    pub fn assign_delay(mut self, delay: Duration) -> Self {
        self.assign_delay = delay;
        self
    }

    /// Demands, as the service does, that the signing certificates in enrollments chain to a verified CA.
    /// By default the certificate in an enrollment is trusted as it is.
    #[must_use]
    pub fn require_verified_ca(mut self, require: bool) -> Self {
        self.require_verified_ca = require;
        self
    }

    /// Adds a CA certificate (PEM) whose possession counts as proven, under the name that `caReferences` use. Others can be
    /// uploaded at run time.
    #[must_use]
    pub fn verified_ca(
        mut self,
        name: impl Into<String>,
        certificate_pem: impl Into<String>,
    ) -> Self {
        self.verified_cas
            .push((name.into(), certificate_pem.into()));
        self
    }

    /// Whom to trust when calling webhooks over https; the system's roots by default.
    #[must_use]
    pub fn webhook_roots(mut self, roots: Roots) -> Self {
        self.webhook_roots = Some(roots);
        self
    }

    /// Sets the server's own certificate chain, the leaf first, and its private key, as PEM or DER. Clients must trust the last
    /// certificate of the chain, or the one above it.
    ///
    /// Without it, the emulator issues its own certificates: ECDSA on P-256, and RSA for clients that verify RSA signatures
    /// only.
    ///
    /// # Errors
    /// [`ErrorKind::Configuration`] if one of the two cannot be read, or if they do not belong together.
    pub fn server_certificate(
        mut self,
        chain: impl AsRef<[u8]>,
        key: impl AsRef<[u8]>,
    ) -> Result<Self, Error> {
        let identity = dps_tls::read_chain(chain.as_ref())
            .and_then(|chain| certified_key(chain, dps_tls::read_key(key.as_ref())?));
        self.server_certificate = Some(identity.map_err(|error| {
            let what = "the server's certificate and key cannot be used";
            Error::new(ErrorKind::Configuration, what).because(error)
        })?);
        Ok(self)
    }

    pub(crate) fn parsed_id_scope(&self) -> Result<IdScope, Error> {
        IdScope::new(self.id_scope.clone())
            .map_err(|error| Error::new(ErrorKind::Configuration, error.to_string()))
    }

    pub(crate) fn parsed_hubs(&self) -> Result<Vec<LinkedHub>, Error> {
        let default = [DEFAULT_HUB.to_owned()];
        let texts = if self.hubs.is_empty() {
            default.as_slice()
        } else {
            &self.hubs
        };
        let mut hubs: Vec<LinkedHub> = Vec::new();
        for text in texts {
            let hub = LinkedHub::parse(text)
                .map_err(|reason| Error::new(ErrorKind::Configuration, reason))?;
            if hubs.iter().any(|other| other.hostname == hub.hostname) {
                let reason = format!("hub {} is linked twice", hub.hostname);
                return Err(Error::new(ErrorKind::Configuration, reason));
            }
            hubs.push(hub);
        }
        let most = self.limits.linked_hubs;
        if hubs.len() as u64 > most {
            let reason = format!("{} hubs are linked, and the limit is {most}", hubs.len());
            return Err(Error::new(ErrorKind::Configuration, reason));
        }
        Ok(hubs)
    }

    /// The policies, the owner's first.
    pub(crate) fn all_policies(&self) -> Result<Vec<AccessPolicy>, Error> {
        let mut all = vec![AccessPolicy::owner(self.service_key.clone())];
        for policy in &self.policies {
            if all
                .iter()
                .any(|other| other.name().eq_ignore_ascii_case(policy.name()))
            {
                let reason = format!("there are two policies '{}'", policy.name());
                return Err(Error::new(ErrorKind::Configuration, reason));
            }
            all.push(policy.clone());
        }
        Ok(all)
    }

    /// Custom needs a webhook, and only enrollments have one.
    pub(crate) fn checked_default_allocation(&self) -> Result<AllocationPolicyKind, Error> {
        match &self.default_allocation {
            policy @ (AllocationPolicyKind::Hashed
            | AllocationPolicyKind::GeoLatency
            | AllocationPolicyKind::Static) => Ok(policy.clone()),
            other => {
                let reason = format!(
                    "the default allocation cannot be '{other}': it must be hashed, geoLatency or static"
                );
                Err(Error::new(ErrorKind::Configuration, reason))
            }
        }
    }

    pub(crate) fn parsed_latencies(&self, hubs: &[LinkedHub]) -> Result<Vec<Latency>, Error> {
        let wrong = |reason: String| Error::new(ErrorKind::Configuration, reason);
        let parse = |text: &String| {
            let line = Latency::parse(text).map_err(wrong)?;
            match hubs.iter().any(|hub| hub.hostname == line.hub) {
                true => Ok(line),
                false => Err(wrong(format!(
                    "there is a latency for hub {}, which is not linked",
                    line.hub
                ))),
            }
        };
        self.latencies.iter().map(parse).collect()
    }

    pub(crate) fn parsed_cas(&self) -> Result<Vec<(String, Certificate)>, Error> {
        let parse = |(name, pem): &(String, String)| match Certificate::issuer_from_text(pem) {
            Ok(certificate) => Ok((name.clone(), certificate)),
            Err(error) => {
                let reason = format!("the certificate of CA '{name}' cannot be used: {error}");
                Err(Error::new(ErrorKind::Configuration, reason))
            }
        };
        let (count, most) = (self.verified_cas.len(), self.limits.ca_certificates);
        if count as u64 > most {
            let reason = format!("{count} CA certificates are given, and the limit is {most}");
            return Err(Error::new(ErrorKind::Configuration, reason));
        }
        self.verified_cas.iter().map(parse).collect()
    }
}
