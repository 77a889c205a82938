//! The options of the program: the one table from which flags, variables, the configuration file and its schema are read.

use std::net::IpAddr;
use std::path::PathBuf;

use crate::{
    DefaultAllocation, HostName, IssuingAuthority, Latency, Limits, LinkedHub, VerifiedCa,
};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Arg, Parser};
use dps_types::IdScope;

use super::with_causes;

/// Emulator of the Azure IoT Hub Device Provisioning Service and its linked IoT hubs.
///
/// Prints one line of JSON on stdout when it is ready, and logs on stderr. Every device that is refused is one line of the log,
/// with the reason. The environment variable RUST_LOG sets the level, such as RUST_LOG=debug.
///
/// Every option has a variable, such as DPS_EMULATOR_HTTPS_PORT, and a name in the configuration file, such as https-port. A flag
/// has precedence over a variable, and a variable over the file. In a variable, the items of a list are separated by semicolons.
// No Debug, because it holds the service key.
#[derive(Parser)]
#[command(version, about)]
pub(super) struct Options {
    /// Configuration file, .toml or .json: options, enrollments, enrollment-groups, faults
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Print the JSON Schema of the configuration file
    #[arg(long)]
    pub(super) print_schema: bool,
    /// Ask a running emulator at this http:// URL for its health: the exit code is 0 if it is healthy
    #[arg(long, value_name = "URL")]
    pub(super) health: Option<String>,
    /// Directory for enrollments, registrations, the hubs' devices and twins, certificates and keys
    #[arg(
        long,
        value_name = "DIR",
        default_value = "dps-emulator-data",
        conflicts_with = "ephemeral"
    )]
    pub(super) data_dir: PathBuf,
    /// PostgreSQL database for enrollments, registrations and the hubs' devices, which several emulators can share:
    /// postgres://USER:PASSWORD@HOST/DATABASE?sslmode=verify-full. Certificates stay in the data directory, or in memory with
    /// --ephemeral
    // It holds a password, which clap would repeat in its messages.
    #[arg(long, value_name = "URL")]
    pub(super) store: Option<String>,
    /// Time after which other emulators with the same store take over the operations of an emulator without a heartbeat
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) replica_timeout: u64,
    /// Keep everything in memory
    #[arg(long)]
    pub(super) ephemeral: bool,
    /// Address to listen on; an address other than loopback makes the emulator reachable from the network
    #[arg(long, default_value = "127.0.0.1")]
    pub(super) bind: IpAddr,
    /// Port of HTTPS, and of MQTT and AMQP over WebSocket; 0 for a free one. The default is 8443
    #[arg(long, value_name = "N")]
    pub(super) https_port: Option<u16>,
    /// Port of MQTT; 0 for a free one
    #[arg(long, value_name = "N", default_value_t = 8883)]
    pub(super) mqtt_port: u16,
    /// Port of AMQP; 0 for a free one. The default is 5671, or a free one if the port of HTTPS or MQTT is 0
    #[arg(long, value_name = "N")]
    pub(super) amqp_port: Option<u16>,
    /// Use the ports that Microsoft's SDKs require: 443, 8883 and 5671
    #[arg(long, conflicts_with_all = ["https_port", "mqtt_port", "amqp_port"])]
    pub(super) standard_ports: bool,
    /// Port of the same APIs over plain HTTP, on loopback only, for tools that cannot be given a CA certificate; 0 for a free one
    #[arg(long, value_name = "N")]
    pub(super) insecure_http_port: Option<u16>,
    /// Port of the control endpoint and its page, over plain HTTP; 0 for a free one. Without it, it is not served
    #[arg(long, value_name = "N")]
    pub(super) control_port: Option<u16>,
    /// Address of the control endpoint; an address other than loopback requires --control-token
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1")]
    pub(super) control_bind: IpAddr,
    /// Token that requests to the control endpoint must have
    #[arg(long, value_name = "TOKEN")]
    pub(super) control_token: Option<String>,
    /// Id scope of the instance
    #[arg(long, default_value = "0ne00000001")]
    pub(super) id_scope: IdScope,
    /// Use the published id scope and service key, and create the group "well-known" with a published key. For development only
    #[arg(long, conflicts_with_all = ["id_scope", "service_key"])]
    pub(super) well_known: bool,
    /// Allow --well-known on an address other than loopback
    #[arg(long)]
    pub(super) force_well_known: bool,
    /// Name in the server's certificate, in addition to localhost and 127.0.0.1. The first one is the host in the URLs and
    /// connection strings that the emulator prints
    #[arg(long = "host", value_name = "NAME")]
    pub(super) hosts: Vec<HostName>,
    /// Linked IoT hub, with its weight of 1 to 1000; 127.0.0.1 by default. With no-policy, hashed and geoLatency
    /// exclude it
    #[arg(long = "hub", value_name = "HOSTNAME[=WEIGHT][,no-policy]")]
    pub(super) hubs: Vec<LinkedHub>,
    /// Allocation policy of enrollments without one
    #[arg(
        long,
        value_name = "POLICY",
        default_value = "hashed",
        value_parser = PossibleValuesParser::new(DefaultAllocation::NAMES).try_map(|name| name.parse::<DefaultAllocation>())
    )]
    pub(super) default_allocation: DefaultAllocation,
    /// Latency between a hub and the devices of a region, for geoLatency; a device is in the region that its payload names
    #[arg(long = "latency", value_name = "[REGION/]HUB=MS")]
    pub(super) latencies: Vec<Latency>,
    /// Key of the policy provisioningserviceowner; by default a random one, which the data directory keeps
    // This option, --policy and --bearer-token hold secrets, which clap would repeat in its messages.
    #[arg(long, value_name = "BASE64")]
    pub(super) service_key: Option<String>,
    /// Shared access policy for service clients; without a key a random one, which the data directory keeps
    #[arg(long = "policy", value_name = "NAME=PERMISSION[,PERMISSION...][:KEY]")]
    pub(super) policies: Vec<String>,
    /// Bearer token to accept from service clients, in place of one of Microsoft Entra; the role is contributor or reader
    #[arg(long = "bearer-token", value_name = "ROLE=TOKEN")]
    pub(super) bearer_tokens: Vec<String>,
    /// Limit of the instance, such as x509-groups=2 or polls-per-10-seconds=5
    #[arg(long = "limit", value_name = "NAME=VALUE", value_parser = limit)]
    pub(super) limits: Vec<(String, u64)>,
    /// Limit the rates of requests as the service does
    #[arg(long)]
    pub(super) throttle: bool,
    /// Time that devices are asked to wait between polls
    #[arg(long, value_name = "SECONDS", default_value_t = 3)]
    pub(super) retry_after: u64,
    /// Shortest time that an assignment takes
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) assign_delay: u64,
    /// Delay of every MQTT answer; the SDK for Java needs about 10
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(super) mqtt_answer_delay: u64,
    /// Seed that makes operation ids, ETags and the probabilities of faults repeatable
    #[arg(long, value_name = "N")]
    pub(super) seed: Option<u64>,
    /// Require that signing certificates chain to a verified CA
    #[arg(long)]
    pub(super) require_verified_ca: bool,
    /// CA certificate whose possession counts as proven
    #[arg(long = "verified-ca", value_name = "NAME=PEMFILE", value_parser = verified_ca)]
    pub(super) verified_cas: Vec<VerifiedCa>,
    /// Certificate authority that issues certificates to devices; the certificates are valid for 1 to 90 days, 30 by default.
    /// With rsa, it also accepts RSA keys
    #[arg(
        long = "certificate-authority",
        value_name = "NAMESPACE/CA/POLICY[=DAYS][,rsa]"
    )]
    pub(super) certificate_authorities: Vec<IssuingAuthority>,
    /// Accept api-versions that Microsoft did not publish, with a warning
    #[arg(long)]
    pub(super) any_api_version: bool,
    /// Refuse all shared access policies on the service API, as the property disableLocalAuth does; see --bearer-token
    #[arg(long)]
    pub(super) disable_local_auth: bool,
    /// Number of telemetry messages of each device that are kept in memory
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub(super) kept_telemetry: usize,
    /// File to append the telemetry of all devices to, one JSON object per line
    #[arg(long, value_name = "FILE")]
    pub(super) telemetry_file: Option<PathBuf>,
    /// Directory for the files that devices upload; "uploads" in the data directory by default
    #[arg(long, value_name = "DIR")]
    pub(super) upload_dir: Option<PathBuf>,
    /// Server certificate chain, the leaf first, in place of the emulator's own certificates
    #[arg(long, value_name = "FILE", requires = "server_key")]
    pub(super) server_certificate: Option<PathBuf>,
    /// Private key of the server certificate
    #[arg(long, value_name = "FILE", requires = "server_certificate")]
    pub(super) server_key: Option<PathBuf>,
}

/// The options that a configuration file does not have.
pub(super) const FLAGS_ONLY: [&str; 5] = ["config", "print_schema", "health", "help", "version"];

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

/// Whether two options cannot be used together.
pub(super) fn conflict(command: &clap::Command, one: &Arg, other: &Arg) -> bool {
    let names = |a: &Arg, b: &Arg| {
        let ids = command.get_arg_conflicts_with(a);
        ids.iter().any(|it| it.get_id() == b.get_id())
    };
    names(one, other) || names(other, one)
}
