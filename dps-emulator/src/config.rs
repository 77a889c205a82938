//! The options of an emulator.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dps_tls::{Roots, certified_key};
use dps_types::enrollment::AllocationPolicyKind;
use dps_types::{Clock, HubHostname, IdScope, SymmetricKey, SystemClock};
use rustls::sign::CertifiedKey;

use crate::access::{AccessPolicy, BearerToken, EntraRole};
use crate::allocate::{Latency, LinkedHub};
use crate::attest::VerifiedCa;
use crate::endpoint::Protocol;
use crate::error::{Error, ErrorKind};
use crate::issuance::IssuingAuthority;
use crate::limits::Limits;
use crate::state::store::Store;

/// The hub that is linked when no other is; [`EmulatorBuilder::link_hub`] has the reason for this name.
const DEFAULT_HUB: &str = "127.0.0.1";
const DEFAULT_ID_SCOPE: &str = "0ne00000001";

/// The options of an emulator. The defaults suit a test: everything in memory, on free ports of the loopback interface.
#[derive(Debug, Clone)]
pub struct EmulatorBuilder {
    pub(crate) bind: IpAddr,
    /// The protocols that are served, each on a port. 0 stands for a free one.
    pub(crate) ports: Vec<(Protocol, u16)>,
    pub(crate) host_names: Vec<String>,
    pub(crate) id_scope: Option<IdScope>,
    hubs: Vec<LinkedHub>,
    latencies: Vec<Latency>,
    default_allocation: AllocationPolicyKind,
    pub(crate) verified_cas: Vec<VerifiedCa>,
    pub(crate) server_certificate: Option<CertifiedKey>,
    #[cfg(feature = "redb")]
    pub(crate) data_dir: Option<PathBuf>,
    pub(crate) store: Option<Arc<dyn Store>>,
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
            default_allocation: AllocationPolicyKind::Hashed,
            verified_cas: Vec::new(),
            server_certificate: None,
            #[cfg(feature = "redb")]
            data_dir: None,
            store: None,
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
        }
    }
}

impl EmulatorBuilder {
    /// Links an IoT hub: a [`HubHostname`], or a [`LinkedHub`] with a weight. Without any, a hub named `127.0.0.1` is linked.
    ///
    /// A device connects to its hub by the hub's name, so a name must lead to the emulator. `127.0.0.1` suits every SDK: those
    /// for C and Java require a dot in the name of a hub, which `localhost` does not have, and those for Python and Node.js
    /// resolve it. For a name of your own, add it to the hosts file of the device's machine; it is in the server's
    /// certificate.
    #[must_use]
    pub fn link_hub(mut self, hub: impl Into<LinkedHub>) -> Self {
        self.hubs.push(hub.into());
        self
    }

    /// The allocation policy of enrollments without one: [`Hashed`](AllocationPolicyKind::Hashed), which is the default,
    /// [`GeoLatency`](AllocationPolicyKind::GeoLatency) or [`Static`](AllocationPolicyKind::Static).
    #[must_use]
    pub fn default_allocation(mut self, policy: AllocationPolicyKind) -> Self {
        self.default_allocation = policy;
        self
    }

    /// Sets the latency between a linked hub and the devices of a region, for lowest-latency allocation. A device is in the
    /// region that the field `region` of its registration payload names. An empty region stands for the devices of all regions
    /// that have no latency of their own. Hubs without a latency come last; evenly weighted decides between equal ones.
    #[must_use]
    pub fn latency(self, region: impl Into<String>, hub: HubHostname, latency: Duration) -> Self {
        self.latencies([Latency::new(region, hub, latency)])
    }

    /// Adds several [latencies](Self::latency).
    #[must_use]
    pub fn latencies(mut self, latencies: impl IntoIterator<Item = Latency>) -> Self {
        self.latencies.extend(latencies);
        self
    }

    /// The id scope of the instance; `0ne00000001` by default.
    #[must_use]
    pub fn id_scope(mut self, id_scope: IdScope) -> Self {
        self.id_scope = Some(id_scope);
        self
    }

    /// The address to listen on; 127.0.0.1 by default. Another address makes the emulator reachable from the network.
    #[must_use]
    pub fn bind(mut self, address: IpAddr) -> Self {
        self.bind = address;
        self
    }

    /// The port for HTTPS; by default 0, which stands for a free port.
    #[must_use]
    pub fn https_port(self, port: u16) -> Self {
        self.port(Protocol::Https, port)
    }

    /// The port for MQTT; by default 0, which stands for a free port. MQTT over WebSocket is on the HTTPS port.
    #[must_use]
    pub fn mqtt_port(self, port: u16) -> Self {
        self.port(Protocol::Mqtt, port)
    }

    /// The port for AMQP; by default 0, which stands for a free port. AMQP over WebSocket is on the HTTPS port.
    #[must_use]
    pub fn amqp_port(self, port: u16) -> Self {
        self.port(Protocol::Amqp, port)
    }

    /// Adds a DNS name or IP address to the server's certificate. `localhost` and the loopback addresses are always in it.
    #[must_use]
    pub fn host_name(mut self, name: impl Into<String>) -> Self {
        self.host_names.push(name.into());
        self
    }

    /// Keeps enrollments, registrations, CA certificates, the hubs' devices with their twins, the certificate authority and the
    /// keys of policies in this directory. Without it, everything is in memory.
    #[cfg(feature = "redb")]
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

    /// The clock by which tokens and certificates are verified.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The primary key of the shared access policy `provisioningserviceowner`. By default it is random, and kept in the data
    /// directory.
    #[must_use]
    pub fn service_key(mut self, key: SymmetricKey) -> Self {
        self.service_key = Some(key);
        self
    }

    /// Adds a shared access policy for service clients. `provisioningserviceowner`, which has every permission, always exists.
    #[must_use]
    pub fn access_policy(mut self, policy: AccessPolicy) -> Self {
        self.policies.push(policy);
        self
    }

    /// Accepts this bearer token from service clients, so that code for Microsoft Entra can be tested without Azure. The
    /// emulator cannot verify Azure's own tokens, and refuses every other one.
    #[must_use]
    pub fn bearer_token(mut self, token: impl AsRef<str>, role: EntraRole) -> Self {
        self.bearer_tokens
            .push(BearerToken::new(token.as_ref(), role));
        self
    }

    /// The limits of the instance. By default the quotas are those of the service, and rates are not limited.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The time that devices are asked to wait between polls, in whole seconds; 3 by default, as in the service.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = wait;
        self
    }

    /// The shortest time that an assignment takes; zero by default.
    #[must_use]
    pub fn assign_delay(mut self, delay: Duration) -> Self {
        self.assign_delay = delay;
        self
    }

    /// Delays every MQTT answer by this time; zero by default. Microsoft's SDK for Java misses an answer that arrives within a
    /// millisecond of its request, which the real service never sends; 10 milliseconds are enough.
    #[must_use]
    pub fn mqtt_answer_delay(mut self, delay: Duration) -> Self {
        self.mqtt_answer_delay = delay;
        self
    }

    /// Requires, as the service does, that the signing certificates in enrollments chain to a verified CA. By default the
    /// certificate in an enrollment is trusted as it is.
    #[must_use]
    pub fn require_verified_ca(mut self, require: bool) -> Self {
        self.require_verified_ca = require;
        self
    }

    /// Adds a CA certificate whose possession counts as proven. Others can be uploaded at run time.
    #[must_use]
    pub fn verified_ca(mut self, ca: VerifiedCa) -> Self {
        self.verified_cas.push(ca);
        self
    }

    /// Adds a certificate authority that issues certificates to devices, in the namespace that it names. Enrollments refer to it
    /// with `namespaceName`, `certificateAuthorityName` and `certificatePolicyName`.
    ///
    /// Its root and its intermediate are made at the first start and kept with the other data.
    #[must_use]
    pub fn certificate_authority(mut self, authority: IssuingAuthority) -> Self {
        self.certificate_authorities.push(authority);
        self
    }

    /// Accepts requests with api-versions that Microsoft did not publish, and logs a warning for each. By default they are
    /// refused.
    #[must_use]
    pub fn any_api_version(mut self, any: bool) -> Self {
        self.any_api_version = any;
        self
    }

    /// Refuses all shared access policies on the service API, as the property `disableLocalAuth` of an instance does: only
    /// [bearer tokens](Self::bearer_token) are accepted. False by default.
    #[must_use]
    pub fn disable_local_auth(mut self, disable: bool) -> Self {
        self.local_auth_disabled = disable;
        self
    }

    /// The roots to trust when calling webhooks over HTTPS; the system's roots by default.
    #[must_use]
    pub fn webhook_roots(mut self, roots: Roots) -> Self {
        self.webhook_roots = Some(roots);
        self
    }

    /// The number of telemetry messages of each device, and of each module, that the hubs keep in memory; 100 by default, and at
    /// least 1. All messages together have at most 64 MiB.
    #[must_use]
    pub fn kept_telemetry(mut self, messages: usize) -> Self {
        self.kept_telemetry = messages;
        self
    }

    /// Appends the telemetry of all hubs to this file, one JSON object per line, as
    /// [`TelemetryMessage`](crate::TelemetryMessage) describes it.
    #[must_use]
    pub fn telemetry_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.telemetry_file = Some(file.into());
        self
    }

    /// Sets the server's own certificate chain, the leaf first, and its private key, as PEM or DER. Clients must trust the last
    /// certificate of the chain, or the one above it.
    ///
    /// Without it, the emulator issues its own certificates: ECDSA on P-256, and RSA for clients that verify RSA signatures
    /// only. Both require a client with TLS 1.2 or 1.3, ECDHE, and AES-GCM or ChaCha20: cipher suites with CBC or with RSA
    /// key exchange are not supported.
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
            Error::new(ErrorKind::Configuration, what).with_source(error)
        })?);
        Ok(self)
    }

    fn port(mut self, protocol: Protocol, port: u16) -> Self {
        self.ports.retain(|(other, _)| *other != protocol);
        self.ports.push((protocol, port));
        self
    }

    /// The id scope of the instance.
    pub(crate) fn chosen_id_scope(&self) -> Result<IdScope, Error> {
        match &self.id_scope {
            Some(id_scope) => Ok(id_scope.clone()),
            None => IdScope::new(DEFAULT_ID_SCOPE).map_err(|error| invalid(error.to_string())),
        }
    }

    /// The linked hubs, each once.
    pub(crate) fn chosen_hubs(&self) -> Result<Vec<LinkedHub>, Error> {
        let mut hubs = self.hubs.clone();
        if hubs.is_empty() {
            let default = HubHostname::new(DEFAULT_HUB);
            hubs.push(default.map_err(|error| invalid(error.to_string()))?.into());
        }
        for (index, hub) in hubs.iter().enumerate() {
            let hostname = hub.hostname();
            if hubs[..index].iter().any(|it| it.hostname() == hostname) {
                return Err(invalid(format!("the hub {hostname} is linked twice")));
            }
        }
        let (count, limit) = (hubs.len(), self.limits.linked_hubs);
        match count as u64 > limit {
            true => Err(invalid(format!(
                "{count} hubs are linked, and the limit is {limit}"
            ))),
            false => Ok(hubs),
        }
    }

    /// The policies, the owner's first.
    pub(crate) fn all_policies(&self) -> Result<Vec<AccessPolicy>, Error> {
        let mut all = vec![AccessPolicy::owner(self.service_key.clone())];
        for policy in &self.policies {
            let same = |other: &AccessPolicy| other.name().eq_ignore_ascii_case(policy.name());
            if all.iter().any(same) {
                let reason = format!("two policies have the name '{}'", policy.name());
                return Err(invalid(reason));
            }
            all.push(policy.clone());
        }
        Ok(all)
    }

    /// The default allocation policy. It cannot be custom, because only an enrollment has a webhook.
    pub(crate) fn checked_default_allocation(&self) -> Result<AllocationPolicyKind, Error> {
        match &self.default_allocation {
            policy @ (AllocationPolicyKind::Hashed
            | AllocationPolicyKind::GeoLatency
            | AllocationPolicyKind::Static) => Ok(policy.clone()),
            other => Err(invalid(format!(
                "the default allocation policy must be hashed, geoLatency or static, and is '{other}'"
            ))),
        }
    }

    /// The latencies, all of linked hubs.
    pub(crate) fn checked_latencies(&self, hubs: &[LinkedHub]) -> Result<Vec<Latency>, Error> {
        let is_linked = |latency: &Latency| hubs.iter().any(|hub| hub.hostname == latency.hub);
        match self.latencies.iter().find(|latency| !is_linked(latency)) {
            Some(Latency { hub, .. }) => Err(invalid(format!(
                "a latency is set for the hub {hub}, which is not linked"
            ))),
            None => Ok(self.latencies.clone()),
        }
    }

    /// The certificate authorities, each once in its namespace. A certificate authority has one policy.
    pub(crate) fn checked_authorities(&self) -> Result<Vec<IssuingAuthority>, Error> {
        let all = &self.certificate_authorities;
        for (index, authority) in all.iter().enumerate() {
            if all[..index].iter().any(|other| other.is_same(authority)) {
                return Err(invalid(format!(
                    "the certificate authority {authority} is configured twice: it has one policy"
                )));
            }
        }
        Ok(all.clone())
    }

    pub(crate) fn check_verified_cas(&self) -> Result<(), Error> {
        let (count, limit) = (self.verified_cas.len(), self.limits.ca_certificates);
        match count as u64 > limit {
            true => Err(invalid(format!(
                "{count} CA certificates are configured, and the limit is {limit}"
            ))),
            false => Ok(()),
        }
    }
}

fn invalid(reason: String) -> Error {
    Error::new(ErrorKind::Configuration, reason)
}
