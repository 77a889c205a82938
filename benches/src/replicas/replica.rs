//! An emulator in a process of its own, which can be killed.

use std::error::Error;
use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use dps_emulator::store::PostgresStore;
use dps_emulator::{Emulator, LinkedHub};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::HUBS;

/// The argument that makes the program host an emulator.
const HOST: &str = "--host";
/// The time after which the operations of a killed replica are taken over.
const REPLICA_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest time for the start of a replica.
const START: Duration = Duration::from_secs(120);
/// The number of clock ticks in a second, in `/proc`.
const TICKS: u64 = 100;

/// The ports of an emulator or of the load balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ports {
    pub(super) https: u16,
    pub(super) mqtt: u16,
    pub(super) amqp: u16,
}

impl Ports {
    /// Ports that are free at this moment.
    pub(super) fn free() -> Result<Self, Box<dyn Error>> {
        let listeners = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
        let mut ports = Vec::new();
        for listener in listeners.iter() {
            let listener = listener.as_ref().map_err(ToString::to_string)?;
            ports.push(listener.local_addr()?.port());
        }
        Ok(Self {
            https: ports[0],
            mqtt: ports[1],
            amqp: ports[2],
        })
    }

    /// The ports with the names of their protocols.
    pub(super) fn by_name(self) -> [(&'static str, u16); 3] {
        [
            ("https", self.https),
            ("mqtt", self.mqtt),
            ("amqp", self.amqp),
        ]
    }
}

/// The process.
#[derive(Debug)]
pub(super) struct Replica {
    url: String,
    ports: Ports,
    process: Child,
    connection: String,
    ca_pem: String,
}

impl Replica {
    /// Starts a replica and waits until it serves.
    pub(super) async fn start(url: &str, ports: Ports) -> Result<Self, Box<dyn Error>> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(HOST)
            .args([ports.https, ports.mqtt, ports.amqp].map(|port| port.to_string()))
            .env("DPS_STORE", url)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("there is no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let connection = timeout(START, lines.next_line()).await??;
        let connection = connection.ok_or("a replica does not start")?;
        let ca_file = timeout(START, lines.next_line()).await??;
        let ca_file = ca_file.ok_or("a replica has no CA")?;
        Ok(Self {
            url: url.to_owned(),
            ports,
            process,
            connection,
            ca_pem: fs::read_to_string(ca_file)?,
        })
    }

    pub(super) fn ports(&self) -> Ports {
        self.ports
    }

    /// The connection string of the service API at this replica.
    pub(super) fn connection(&self) -> &str {
        &self.connection
    }

    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Kills the process with SIGKILL.
    pub(super) async fn kill(&mut self) -> Result<(), Box<dyn Error>> {
        Ok(self.process.kill().await?)
    }

    /// Starts a killed replica again, at the same ports.
    pub(super) async fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        *self = Self::start(&self.url, self.ports).await?;
        Ok(())
    }

    /// The CPU time of the process since it was started; zero where there is no `/proc`.
    pub(super) fn cpu_time(&self) -> Duration {
        let id = self.process.id().unwrap_or_default();
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        // The name of the program, in parentheses, may contain spaces.
        let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
        Duration::from_millis(ticks * 1000 / TICKS)
    }
}

/// Hosts an emulator if the arguments ask for it, until stdin is closed.
pub async fn host(arguments: &[String]) -> Option<Result<(), Box<dyn Error>>> {
    match arguments {
        [first, https, mqtt, amqp] if first == HOST => Some(serve([https, mqtt, amqp]).await),
        _ => None,
    }
}

async fn serve([https, mqtt, amqp]: [&String; 3]) -> Result<(), Box<dyn Error>> {
    let store = PostgresStore::connect(&std::env::var("DPS_STORE")?.parse()?).await?;
    let mut builder = Emulator::builder()
        .https_port(https.parse()?)
        .mqtt_port(mqtt.parse()?)
        .amqp_port(amqp.parse()?)
        .replica_timeout(REPLICA_TIMEOUT)
        .retry_after(Duration::from_secs(1))
        .store(Arc::new(store));
    for hub in HUBS {
        builder = builder.link_hub(hub.parse::<LinkedHub>()?);
    }
    let emulator = builder.start().await?;
    let ca = tempfile::NamedTempFile::new()?;
    fs::write(ca.path(), emulator.ca_pem())?;
    println!("{}", emulator.service_connection_string().as_str());
    println!("{}", ca.path().display());
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    emulator.shutdown().await;
    Ok(())
}
