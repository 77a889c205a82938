//! The emulator in a process of its own, which can be stopped, killed and started again with the same data.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, ExitStatus, Stdio};
use std::time::Duration;

use dps_benches::TransportKind;
use dps_device::Roots;
use dps_service::ServiceClient;
use dps_types::IdScope;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;
use tracing_subscriber::filter::LevelFilter;

use super::Result;
use super::usage::Usage;

/// The argument that makes the program an emulator.
const EMULATOR: &str = "emulator";
/// The longest time for a start or an orderly stop, on a machine with other work.
const LIMIT: Duration = Duration::from_secs(600);

/// The hub that is linked.
pub(crate) const HUB: &str = "contoso-hub";

/// A running emulator. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Emulator {
    child: Child,
    arguments: Vec<String>,
    log: PathBuf,
    ready: Value,
    roots: Roots,
}

/// Runs the emulator in this process if the arguments ask for it.
pub(crate) async fn host(arguments: &[String]) -> Option<ExitCode> {
    let (first, options) = arguments.split_first()?;
    if first != EMULATOR {
        return None;
    }
    // As the program `dps-emulator` does, with its errors only.
    tracing_subscriber::fmt()
        .with_max_level(LevelFilter::ERROR)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let program = std::iter::once("dps-emulator".to_owned());
    let options = program.chain(options.iter().cloned());
    Some(dps_emulator::program::run(options.map(Into::into)).await)
}

impl Emulator {
    /// Starts an emulator with these options of `dps-emulator`, on free ports. The log of the process is this file.
    pub(crate) async fn start(options: &[&str], log: &Path) -> Result<Self> {
        let ports = ["--https-port=0", "--mqtt-port=0", "--amqp-port=0"];
        let common = ["--hub", HUB, "--retry-after=0"];
        let arguments = ports.iter().chain(&common).chain(options);
        Self::spawn(arguments.map(ToString::to_string).collect(), log).await
    }

    async fn spawn(arguments: Vec<String>, log: &Path) -> Result<Self> {
        let stderr = File::options().append(true).create(true).open(log)?;
        // The file may have the output of earlier starts.
        let before = usize::try_from(stderr.metadata()?.len())?;
        let mut child = Command::new(std::env::current_exe()?)
            .arg(EMULATOR)
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .kill_on_drop(true)
            .spawn()?;
        let stdout = child.stdout.take().ok_or("there is no stdout")?;
        let mut lines = BufReader::new(stdout).lines();
        let started = timeout(LIMIT, lines.next_line()).await;
        let line = started.map_err(|_| format!("the emulator does not start in {LIMIT:?}"))??;
        let Some(line) = line else {
            let text = fs::read_to_string(log).unwrap_or_default();
            let text = text.get(before..).unwrap_or_default();
            return Err(format!("the emulator does not start: {text}").into());
        };
        let ready: Value = serde_json::from_str(&line)?;
        let roots = Roots::from_pem_file(ready["caPem"].as_str().unwrap_or_default())?;
        Ok(Self {
            child,
            arguments,
            log: log.to_owned(),
            ready,
            roots,
        })
    }

    /// Starts a process that was stopped or killed again.
    pub(crate) async fn restart(&mut self) -> Result<()> {
        *self = Self::spawn(self.arguments.clone(), &self.log).await?;
        Ok(())
    }

    /// Kills the process with SIGKILL.
    pub(crate) async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// Stops the process with SIGTERM. An error if it does not end in time.
    pub(crate) async fn terminate(&mut self) -> Result<ExitStatus> {
        let id = self.process_id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().await?;
        let ended = timeout(LIMIT, self.child.wait()).await;
        Ok(ended.map_err(|_| "the emulator does not end after SIGTERM")??)
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    pub(crate) fn usage(&self) -> Usage {
        Usage::of(self.process_id())
    }

    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    pub(crate) fn id_scope(&self) -> Result<IdScope> {
        Ok(self.text("idScope").parse()?)
    }

    /// The URL of the control endpoint.
    pub(crate) fn control(&self) -> &str {
        self.text("control")
    }

    pub(crate) fn https_port(&self) -> u16 {
        port(self.text("https"))
    }

    /// The port for this transport.
    pub(crate) fn port(&self, transport: TransportKind) -> u16 {
        match transport {
            TransportKind::Mqtt => port(self.text("mqtt")),
            TransportKind::Amqp => port(self.text("amqp")),
            _ => self.https_port(),
        }
    }

    pub(crate) fn service(&self) -> Result<ServiceClient> {
        let client = ServiceClient::from_connection_string(self.text("serviceConnectionString"))?;
        Ok(client.with_roots(self.roots.clone()))
    }

    /// The connection string of the hub.
    pub(crate) fn hub_connection(&self) -> &str {
        let hubs = self.ready["hubConnectionStrings"].as_object();
        let first = hubs.and_then(|hubs| hubs.values().next()?.as_str());
        first.unwrap_or_default()
    }

    fn text(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap_or_default()
    }
}

/// The port at the end of an address.
fn port(address: &str) -> u16 {
    let port = address.trim_end_matches('/').rsplit(':').next();
    port.and_then(|port| port.parse().ok()).unwrap_or_default()
}
