//! The options of an emulator, as methods of its builder.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dps_tls::{Roots, certified_key};
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::{Clock, HubHostname, IdScope, SymmetricKey};

use super::{EmulatorBuilder, HostName};
use crate::access::{AccessPolicy, BearerToken, EntraRole};
use crate::allocate::{DefaultAllocation, Latency, LinkedHub};
use crate::attest::VerifiedCa;
use crate::endpoint::Protocol;
use crate::error::{Error, ErrorKind};
use crate::fault::Fault;
use crate::issuance::IssuingAuthority;
use crate::limits::Limits;
use crate::state::store::Store;

impl EmulatorBuilder {
    /// Links an IoT hub: a [`HubHostname`], or a [`LinkedHub`] with a weight. Without any, a hub named `127.0.0.1` is linked.
    ///
    /// A device connects to its hub by the hub's name, so a name must lead to the emulator. `127.0.0.1` works with every SDK: those
    /// for C and Java require a dot in the name of a hub, which `localhost` does not have, and those for Python and Node.js
    /// resolve it. For a name of your own, add it to the hosts file of the device's machine; it is in the server's
    /// certificate.
    #[must_use]
    pub fn link_hub(mut self, hub: impl Into<LinkedHub>) -> Self {
        self.hubs.push(hub.into());
        self
    }

    /// The allocation policy of enrollments that have none; [`Hashed`](DefaultAllocation::Hashed) by default.
    #[must_use]
    pub fn default_allocation(mut self, policy: DefaultAllocation) -> Self {
        self.default_allocation = policy;
        self
    }

    /// Sets the latency between a linked hub and the devices of a region, for lowest-latency allocation. A device is in the
    /// region that the field `region` of its registration payload names. An empty region applies to the devices of all regions
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

    /// The port for HTTPS; by default 0, which selects a free port.
    #[must_use]
    pub fn https_port(self, port: u16) -> Self {
        self.port(Protocol::Https, port)
    }

    /// The port for MQTT; by default 0, which selects a free port. MQTT over WebSocket is on the HTTPS port.
    #[must_use]
    pub fn mqtt_port(self, port: u16) -> Self {
        self.port(Protocol::Mqtt, port)
    }

    /// The port for AMQP; by default 0, which selects a free port. AMQP over WebSocket is on the HTTPS port.
    #[must_use]
    pub fn amqp_port(self, port: u16) -> Self {
        self.port(Protocol::Amqp, port)
    }

    /// Serves the same APIs over plain HTTP and plain WebSocket on this port of the loopback interface, for tools that cannot
    /// be given a CA certificate; 0 selects a free port. Without it, nothing is served without TLS.
    #[must_use]
    pub fn insecure_http_port(self, port: u16) -> Self {
        self.port(Protocol::InsecureHttp, port)
    }

    /// Serves the control endpoint and its page. With it, the emulator keeps at least 1000 exchanges, and its clock can be set.
    #[cfg(feature = "control")]
    #[must_use]
    pub fn control(mut self, endpoint: crate::control::ControlEndpoint) -> Self {
        self.control = Some(endpoint);
        self
    }

    /// Adds a fault from the start. [`Emulator::faults`](crate::Emulator::faults) adds others later.
    #[must_use]
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// Makes operation ids, the ETags of enrollments and registrations, and the probabilities of faults repeatable: the same
    /// requests in the same order receive the same ids. Keys stay random.
    #[must_use]
    pub fn random_seed(mut self, seed: u64) -> Self {
        self.random_seed = Some(seed);
        self
    }

    /// Keeps the latest exchanges with devices and operators, for [`Emulator::exchanges`](crate::Emulator::exchanges); by default
    /// none. Each has the reason of a refusal, which the service does not send to its clients.
    #[must_use]
    pub fn keep_exchanges(mut self, number: usize) -> Self {
        self.kept_exchanges = number;
        self
    }

    /// Creates an individual enrollment at the start, unless the store has one with this registration id.
    #[must_use]
    pub fn enrollment(mut self, enrollment: IndividualEnrollment) -> Self {
        self.seed.individuals.push(enrollment);
        self
    }

    /// Creates an enrollment group at the start, unless the store has one with this id.
    #[must_use]
    pub fn enrollment_group(mut self, group: EnrollmentGroup) -> Self {
        self.seed.groups.push(group);
        self
    }

    /// Adds a name to the server's certificate. `localhost` and the loopback addresses are always in it. The first name is the
    /// host in the URLs and connection strings of the emulator.
    #[must_use]
    pub fn host_name(mut self, name: HostName) -> Self {
        self.host_names.push(name);
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

    /// Keeps enrollments, registrations, the hubs' devices and the keys of policies in this store, for example a `PostgresStore`
    /// or one of your own. A data directory then holds certificates only.
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

    /// The time after which other emulators that share the store take over the operations of an emulator without a heartbeat; 10
    /// seconds by default. An emulator writes five heartbeats in this time. It must be longer than an interruption of the
    /// database, or operations change their emulator for no reason.
    #[must_use]
    pub fn replica_timeout(mut self, timeout: Duration) -> Self {
        self.replica_timeout = timeout;
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

    /// The folder for the files that devices upload, in place of Azure Storage: `{folder}/{hub}/{deviceId}/{blobName}`. Without it
    /// a device cannot upload files.
    #[must_use]
    pub fn upload_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.upload_dir = Some(dir.into());
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
}
