//! From the options of the program to an emulator.

use std::error::Error as StdError;
use std::path::Path;
use std::time::Duration;

use dps_types::{IdScope, SymmetricKey};
use zeroize::Zeroizing;

use super::options::Options;
use super::{Settings, well_known, with_causes};
use crate::{AccessPolicy, ControlEndpoint, Emulator, EmulatorBuilder, EntraRole, Limits};

/// The default port of HTTPS.
const HTTPS_PORT: u16 = 8443;
/// The standard ports of HTTPS, MQTT and AMQP over TLS.
const STANDARD_PORTS: [u16; 3] = [443, 8883, 5671];

/// The emulator that the options ask for.
pub(crate) fn builder(settings: &Settings) -> Result<EmulatorBuilder, Box<dyn StdError>> {
    let Settings { options, documents } = settings;
    let [https, mqtt, amqp] = ports(options);
    let mut builder = Emulator::builder()
        .bind(options.bind)
        .https_port(https)
        .mqtt_port(mqtt)
        .amqp_port(amqp)
        .id_scope(options.id_scope.clone())
        .default_allocation(options.default_allocation)
        .latencies(options.latencies.iter().cloned())
        .replica_timeout(Duration::from_secs(options.replica_timeout))
        .retry_after(Duration::from_secs(options.retry_after))
        .assign_delay(Duration::from_millis(options.assign_delay))
        .mqtt_answer_delay(Duration::from_millis(options.mqtt_answer_delay))
        .require_verified_ca(options.require_verified_ca)
        .any_api_version(options.any_api_version)
        .disable_local_auth(options.disable_local_auth)
        .kept_telemetry(options.kept_telemetry)
        .limits(limits(options)?);
    if let Some(port) = options.insecure_http_port {
        builder = builder.insecure_http_port(port);
    }
    if let Some(seed) = options.seed {
        builder = builder.random_seed(seed);
    }
    if let Some(port) = options.control_port {
        let mut control = ControlEndpoint::default()
            .port(port)
            .bind(options.control_bind);
        if let Some(token) = &options.control_token {
            control = control.token(token);
        }
        builder = builder.control(control);
    }
    if let Some(file) = &options.telemetry_file {
        builder = builder.telemetry_file(file);
    }
    if !options.ephemeral {
        builder = builder
            .data_dir(&options.data_dir)
            .upload_dir(options.data_dir.join("uploads"));
    }
    for hub in &options.hubs {
        builder = builder.link_hub(hub.clone());
    }
    for host in &options.hosts {
        builder = builder.host_name(host.clone());
    }
    if let (Some(chain), Some(key)) = (&options.server_certificate, &options.server_key) {
        let read = |file: &Path| {
            std::fs::read(file).map_err(|error| format!("{}: {error}", file.display()))
        };
        builder = builder.server_certificate(read(chain)?, Zeroizing::new(read(key)?))?;
    }
    for authority in &options.certificate_authorities {
        builder = builder.certificate_authority(authority.clone());
    }
    if let Some(dir) = &options.upload_dir {
        builder = builder.upload_dir(dir);
    }
    for ca in &options.verified_cas {
        builder = builder.verified_ca(ca.clone());
    }
    builder = with_operators(builder, options)?;
    for enrollment in &documents.enrollments {
        builder = builder.enrollment(enrollment.clone());
    }
    for group in &documents.enrollment_groups {
        builder = builder.enrollment_group(group.clone());
    }
    for fault in &documents.faults {
        builder = builder.fault(fault.clone());
    }
    match options.well_known {
        true => with_well_known(builder, options),
        false => Ok(builder),
    }
}

/// The ports of HTTPS, MQTT and AMQP.
fn ports(options: &Options) -> [u16; 3] {
    if options.standard_ports {
        return STANDARD_PORTS;
    }
    let https = options.https_port.unwrap_or(HTTPS_PORT);
    let mqtt = options.mqtt_port;
    // Several emulators on free ports run side by side.
    let default_amqp = match (https, mqtt) {
        (0, _) | (_, 0) => 0,
        _ => STANDARD_PORTS[2],
    };
    [https, mqtt, options.amqp_port.unwrap_or(default_amqp)]
}

/// Adds the credentials of service clients.
fn with_operators(
    mut builder: EmulatorBuilder,
    options: &Options,
) -> Result<EmulatorBuilder, Box<dyn StdError>> {
    if let Some(key) = &options.service_key {
        let key = SymmetricKey::from_base64(key).map_err(option("--service-key"))?;
        builder = builder.service_key(key);
    }
    for policy in &options.policies {
        let policy = policy.parse::<AccessPolicy>().map_err(option("--policy"))?;
        builder = builder.access_policy(policy);
    }
    for bearer in &options.bearer_tokens {
        let (role, token) = bearer
            .split_once('=')
            .filter(|(_, token)| !token.is_empty())
            .ok_or("--bearer-token must be ROLE=TOKEN")?;
        let role = role
            .parse::<EntraRole>()
            .map_err(option("--bearer-token"))?;
        builder = builder.bearer_token(token, role);
    }
    Ok(builder)
}

/// Uses the published keys.
fn with_well_known(
    builder: EmulatorBuilder,
    options: &Options,
) -> Result<EmulatorBuilder, Box<dyn StdError>> {
    if !options.bind.is_loopback() && !options.force_well_known {
        return Err(format!(
            "--well-known uses published keys, and --bind {} makes the emulator reachable from the network: add --force-well-known to allow it",
            options.bind
        )
        .into());
    }
    Ok(builder
        .id_scope(IdScope::new(well_known::ID_SCOPE)?)
        .service_key(SymmetricKey::from_base64(well_known::SERVICE_KEY)?)
        .enrollment_group(well_known::group()?))
}

/// Adds the name of the option to an error.
fn option<E: StdError>(name: &str) -> impl Fn(E) -> String {
    move |error| format!("invalid value for {name}: {}", with_causes(&error))
}

fn limits(options: &Options) -> Result<Limits, Box<dyn StdError>> {
    let mut limits = Limits::default();
    if options.throttle {
        limits = limits.throttled();
    }
    for (name, value) in &options.limits {
        limits.set(name, *value)?;
    }
    Ok(limits)
}
