//! The program `dps-emulator`: options in, one line when it is ready, logs on stderr, an orderly stop.

use std::error::Error as StdError;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use dps_emulator::{
    AccessPolicy, Emulator, EmulatorBuilder, EntraRole, IssuingAuthority, Latency, Limits,
    LinkedHub, VerifiedCa,
};
use dps_types::{HubHostname, IdScope, SymmetricKey};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// Emulator of the Azure IoT Hub Device Provisioning Service and its linked IoT hubs.
///
/// Prints one line of JSON on stdout when it is ready, and logs on stderr. Every device that is refused is one line of the log,
/// with the reason. The environment variable RUST_LOG sets the level, such as RUST_LOG=debug.
// No Debug, because it holds the service key.
#[derive(Parser)]
#[command(version, about)]
struct Options {
    /// Directory for enrollments, registrations, the hubs' devices and twins, certificates and keys
    #[arg(
        long,
        value_name = "DIR",
        default_value = "dps-emulator-data",
        conflicts_with = "ephemeral"
    )]
    data_dir: PathBuf,
    /// Keep everything in memory
    #[arg(long)]
    ephemeral: bool,
    /// Address to listen on; an address other than loopback makes the emulator reachable from the network
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Port of HTTPS, and of MQTT and AMQP over WebSocket; 0 for a free one
    #[arg(long, value_name = "N", default_value_t = 8443)]
    https_port: u16,
    /// Port of MQTT; 0 for a free one
    #[arg(long, value_name = "N", default_value_t = 8883)]
    mqtt_port: u16,
    /// Port of AMQP; 0 for a free one. The default is 5671, or a free one if the port of HTTPS or MQTT is 0
    #[arg(long, value_name = "N")]
    amqp_port: Option<u16>,
    /// Id scope of the instance
    #[arg(long, default_value = "0ne00000001")]
    id_scope: IdScope,
    /// Name in the server's certificate, in addition to localhost and 127.0.0.1
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Linked IoT hub, with its weight of 1 to 1000; 127.0.0.1 by default. With no-policy, hashed and geoLatency
    /// exclude it
    #[arg(long = "hub", value_name = "HOSTNAME[=WEIGHT][,no-policy]")]
    hubs: Vec<LinkedHub>,
    /// Allocation policy of enrollments without one
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "hashed",
        value_parser = ["hashed", "geoLatency", "static"]
    )]
    default_allocation: String,
    /// Latency between a hub and the devices of a region, for geoLatency; a device is in the region that its payload names
    #[arg(long = "latency", value_name = "[REGION/]HUB=MS")]
    latencies: Vec<Latency>,
    /// Key of the policy provisioningserviceowner; by default a random one, which the data directory keeps
    // This option, --policy and --bearer-token hold secrets, which clap would repeat in its messages.
    #[arg(
        long,
        value_name = "BASE64",
        env = "DPS_EMULATOR_SERVICE_KEY",
        hide_env_values = true
    )]
    service_key: Option<String>,
    /// Shared access policy for service clients; without a key a random one, which the data directory keeps
    #[arg(long = "policy", value_name = "NAME=PERMISSION[,PERMISSION...][:KEY]")]
    policies: Vec<String>,
    /// Bearer token to accept from service clients, in place of one of Microsoft Entra; the role is contributor or reader
    #[arg(long = "bearer-token", value_name = "ROLE=TOKEN")]
    bearer_tokens: Vec<String>,
    /// Limit of the instance, such as x509-groups=2 or polls-per-10-seconds=5
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit)]
    limits: Vec<(String, u64)>,
    /// Limit the rates of requests as the service does
    #[arg(long)]
    throttle: bool,
    /// Time that devices are asked to wait between polls
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    retry_after: u64,
    /// Shortest time that an assignment takes
    #[arg(long, value_name = "MS", default_value_t = 0)]
    assign_delay: u64,
    /// Delay of every MQTT answer; the SDK for Java needs about 10
    #[arg(long, value_name = "MS", default_value_t = 0)]
    mqtt_answer_delay: u64,
    /// Require that signing certificates chain to a verified CA
    #[arg(long)]
    require_verified_ca: bool,
    /// CA certificate whose possession counts as proven
    #[arg(long = "verified-ca", value_name = "NAME=PEMFILE", value_parser = verified_ca)]
    verified_cas: Vec<VerifiedCa>,
    /// Certificate authority that issues certificates to devices; the certificates are valid for 1 to 90 days, 30 by default.
    /// With rsa, it also accepts RSA keys
    #[arg(
        long = "certificate-authority",
        value_name = "NAMESPACE/CA/POLICY[=DAYS][,rsa]"
    )]
    certificate_authorities: Vec<IssuingAuthority>,
    /// Accept api-versions that Microsoft did not publish, with a warning
    #[arg(long)]
    any_api_version: bool,
    /// Refuse all shared access policies on the service API, as the property disableLocalAuth does; see --bearer-token
    #[arg(long)]
    disable_local_auth: bool,
    /// Number of telemetry messages of each device that are kept in memory
    #[arg(long, value_name = "N", default_value_t = 100)]
    kept_telemetry: usize,
    /// File to append the telemetry of all devices to, one JSON object per line
    #[arg(long, value_name = "FILE")]
    telemetry_file: Option<PathBuf>,
    /// Server certificate chain, the leaf first, in place of the emulator's own certificates
    #[arg(long, value_name = "FILE", requires = "server_key")]
    server_certificate: Option<PathBuf>,
    /// Private key of the server certificate
    #[arg(long, value_name = "FILE", requires = "server_certificate")]
    server_key: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    match run(Options::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dps-emulator: {}", with_causes(&*error));
            ExitCode::FAILURE
        }
    }
}

async fn run(options: Options) -> Result<(), Box<dyn StdError>> {
    let stopped = stop_signal()?;
    let emulator = builder(&options)?.start().await?;
    let scratch = if options.ephemeral {
        Some(TempDir::new()?)
    } else {
        None
    };
    let ca = match (&options.server_certificate, &scratch) {
        (Some(own), _) => own.clone(),
        (None, Some(dir)) => {
            let path = dir.path().join("ca.pem");
            std::fs::write(&path, emulator.ca_pem())?;
            path
        }
        (None, None) => options.data_dir.join("ca.pem"),
    };
    announce(&emulator, &std::path::absolute(ca)?)?;
    stopped.await;
    tracing::info!("stopping");
    emulator.shutdown().await;
    Ok(())
}

/// The port of AMQP over TLS.
const AMQP_PORT: u16 = 5671;

fn builder(options: &Options) -> Result<EmulatorBuilder, Box<dyn StdError>> {
    // Several emulators on free ports run side by side.
    let default_amqp_port = match (options.https_port, options.mqtt_port) {
        (0, _) | (_, 0) => 0,
        _ => AMQP_PORT,
    };
    let mut builder = Emulator::builder()
        .bind(options.bind)
        .https_port(options.https_port)
        .mqtt_port(options.mqtt_port)
        .amqp_port(options.amqp_port.unwrap_or(default_amqp_port))
        .id_scope(options.id_scope.clone())
        .default_allocation(options.default_allocation.as_str().into())
        .latencies(options.latencies.iter().cloned())
        .retry_after(Duration::from_secs(options.retry_after))
        .assign_delay(Duration::from_millis(options.assign_delay))
        .mqtt_answer_delay(Duration::from_millis(options.mqtt_answer_delay))
        .require_verified_ca(options.require_verified_ca)
        .any_api_version(options.any_api_version)
        .disable_local_auth(options.disable_local_auth)
        .kept_telemetry(options.kept_telemetry)
        .limits(limits(options)?);
    if !options.ephemeral {
        builder = builder.data_dir(&options.data_dir);
    }
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
    for hub in &options.hubs {
        builder = builder.link_hub(hub.clone());
    }
    for host in &options.hosts {
        builder = builder.host_name(host);
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
    if let Some(file) = &options.telemetry_file {
        builder = builder.telemetry_file(file);
    }
    for ca in &options.verified_cas {
        builder = builder.verified_ca(ca.clone());
    }
    Ok(builder)
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

fn limit(text: &str) -> Result<(String, u64), String> {
    let (name, value) = text.split_once('=').ok_or("it must be NAME=VALUE")?;
    let value = value
        .parse()
        .map_err(|_| format!("'{value}' is not a valid number"))?;
    Limits::default()
        .set(name, value)
        .map_err(|error| error.to_string())?;
    Ok((name.to_owned(), value))
}

fn verified_ca(text: &str) -> Result<VerifiedCa, String> {
    let (name, file) = text.split_once('=').ok_or("it must be NAME=PEMFILE")?;
    let pem = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    VerifiedCa::from_pem(name, &pem).map_err(|error| with_causes(&error))
}

/// The line on stdout that people and programs wait for.
fn announce(emulator: &Emulator, ca: &Path) -> std::io::Result<()> {
    let connections: Map<String, Value> = emulator
        .policies()
        .filter_map(|name| {
            let connection = emulator.connection_string(name)?;
            Some((name.to_owned(), connection.as_str().into()))
        })
        .collect();
    let hub = |name: &HubHostname| Some((name.to_string(), emulator.hub(name.as_str())?));
    let hubs: Map<String, Value> = emulator
        .hub_names()
        .iter()
        .filter_map(hub)
        .map(|(name, hub)| (name, hub.connection_string().as_str().into()))
        .collect();
    let line = json!({
        "ready": true,
        "idScope": emulator.id_scope(),
        "https": emulator.https_url(),
        "mqtt": format!("localhost:{}", emulator.mqtt_port()),
        "amqp": format!("localhost:{}", emulator.amqp_port()),
        "hubs": emulator.hub_names(),
        "caPem": ca,
        "serviceConnectionString": emulator.service_connection_string().as_str(),
        "connectionStrings": connections,
        "hubConnectionStrings": hubs,
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Completes on SIGINT or SIGTERM. The handlers are installed before the start, so that no signal is missed.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async {
        let _ = tokio::signal::ctrl_c().await;
    })
}

fn with_causes(error: &dyn StdError) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
