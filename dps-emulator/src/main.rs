//! The emulator as a program: options in, one ready line out, logs on stderr, an orderly end.

use std::error::Error as StdError;
use std::io::{IsTerminal, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use dps_emulator::{AccessPolicy, Emulator, EmulatorBuilder, EntraRole, Limits};
use dps_types::{HubHostname, SymmetricKey};
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

/// Azure IoT Hub Device Provisioning Service in a box.
///
/// Prints one line of JSON when it is ready. Logs go to stderr; RUST_LOG chooses which.
// No Debug: the service key is in it.
#[derive(Parser)]
#[command(version, about)]
struct Options {
    /// Keep enrollments, registrations, the hubs' devices and twins, certificates and keys here
    #[arg(
        long,
        value_name = "DIR",
        default_value = "dps-emulator-data",
        conflicts_with = "ephemeral"
    )]
    data_dir: PathBuf,
    /// Keep nothing
    #[arg(long)]
    ephemeral: bool,
    /// Address to listen on; other than loopback, it opens the emulator to the network
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// Port of the device and the service API; 0 for a free one
    #[arg(long, value_name = "N", default_value_t = 8443)]
    https_port: u16,
    /// Port of MQTT; 0 for a free one. MQTT over WebSocket is on the HTTPS port
    #[arg(long, value_name = "N", default_value_t = 8883)]
    mqtt_port: u16,
    /// The instance that devices name
    #[arg(long, default_value = "0ne00000001")]
    id_scope: String,
    /// Name in the server's certificate; localhost and 127.0.0.1 always are
    #[arg(long = "host", value_name = "NAME")]
    hosts: Vec<String>,
    /// Linked IoT hub, with its weight of 1 to 1000; without any, localhost. With no-policy, hashed and geoLatency leave it
    /// out
    #[arg(long = "hub", value_name = "HOSTNAME[=WEIGHT][,no-policy]")]
    hubs: Vec<String>,
    /// How hubs are picked for enrollments that do not say: hashed, geoLatency or static
    #[arg(long, value_name = "POLICY", default_value = "hashed")]
    default_allocation: String,
    /// How far a hub is from devices that register with this region in their payload, for geoLatency
    #[arg(long = "latency", value_name = "[REGION/]HUB=MS")]
    latencies: Vec<String>,
    /// Key of the policy provisioningserviceowner; without it a random one, which the data directory keeps
    #[arg(
        long,
        value_name = "BASE64",
        env = "DPS_EMULATOR_SERVICE_KEY",
        hide_env_values = true
    )]
    service_key: Option<String>,
    /// Shared access policy for operators; without a key a random one, which the data directory keeps
    #[arg(long = "policy", value_name = "NAME=PERMISSION[,PERMISSION...][:KEY]")]
    policies: Vec<String>,
    /// Bearer token to accept from operators, in place of one of Entra; the role is contributor or reader
    #[arg(long = "bearer-token", value_name = "ROLE=TOKEN")]
    bearer_tokens: Vec<String>,
    /// Limit of the instance, such as x509-groups=2 or polls-per-10-seconds=5
    #[arg(long = "limit", value_name = "NAME=VALUE")]
    limits: Vec<String>,
    /// Refuse requests that come faster than the service takes them
    #[arg(long)]
    throttle: bool,
    /// How long devices are asked to wait between polls
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    retry_after: u64,
    /// How long an assignment takes at least
    #[arg(long, value_name = "MS", default_value_t = 0)]
    assign_delay: u64,
    /// Demand that signing certificates chain to a verified CA
    #[arg(long)]
    require_verified_ca: bool,
    /// CA certificate whose possession counts as proven
    #[arg(long = "verified-ca", value_name = "NAME=PEMFILE")]
    verified_cas: Vec<String>,
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

fn builder(options: &Options) -> Result<EmulatorBuilder, Box<dyn StdError>> {
    let mut builder = Emulator::builder()
        .bind(options.bind)
        .https_port(options.https_port)
        .mqtt_port(options.mqtt_port)
        .id_scope(&options.id_scope)
        .default_allocation(options.default_allocation.as_str().into())
        .retry_after(Duration::from_secs(options.retry_after))
        .assign_delay(Duration::from_millis(options.assign_delay))
        .require_verified_ca(options.require_verified_ca)
        .limits(limits(options)?);
    if !options.ephemeral {
        builder = builder.data_dir(&options.data_dir);
    }
    if let Some(key) = &options.service_key {
        builder = builder.service_key(SymmetricKey::from_base64(key)?);
    }
    for policy in &options.policies {
        builder = builder.access_policy(policy.parse::<AccessPolicy>()?);
    }
    for bearer in &options.bearer_tokens {
        let (role, token) = bearer
            .split_once('=')
            .filter(|(_, token)| !token.is_empty())
            .ok_or("--bearer-token takes ROLE=TOKEN")?;
        builder = builder.bearer_token(token, role.parse::<EntraRole>()?);
    }
    for hub in &options.hubs {
        builder = builder.link_hub(hub);
    }
    for line in &options.latencies {
        builder = builder.latency(line);
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
    for ca in &options.verified_cas {
        let (name, file) = ca
            .split_once('=')
            .ok_or("--verified-ca takes NAME=PEMFILE")?;
        let pem = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        builder = builder.verified_ca(name, pem);
    }
    Ok(builder)
}

fn limits(options: &Options) -> Result<Limits, Box<dyn StdError>> {
    let mut limits = Limits::default();
    if options.throttle {
        limits = limits.throttled();
    }
    for limit in &options.limits {
        let (name, value) = limit.split_once('=').ok_or("--limit takes NAME=VALUE")?;
        let value = value
            .parse()
            .map_err(|error| format!("--limit {limit}: {error}"))?;
        limits.set(name, value)?;
    }
    Ok(limits)
}

/// The one line on stdout, for people and programs that wait for it.
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
        .hubs()
        .iter()
        .filter_map(hub)
        .map(|(name, hub)| (name, hub.connection_string().as_str().into()))
        .collect();
    let line = json!({
        "ready": true,
        "idScope": emulator.id_scope(),
        "https": emulator.https_url(),
        "mqtt": format!("localhost:{}", emulator.mqtt_port()),
        "hubs": emulator.hubs(),
        "caPem": ca,
        "serviceConnectionString": emulator.service_connection_string().as_str(),
        "connectionStrings": connections,
        "hubConnectionStrings": hubs,
    });
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{line}")?;
    stdout.flush()
}

/// Ends with SIGINT or SIGTERM. Set up before the start, so that none is missed.
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
