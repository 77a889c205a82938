//! The emulator's binary as a child process, on the ports that Microsoft's clients require.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use dps_service::ServiceClient;
use dps_tls::Roots;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

/// A linked hub.
pub(crate) const TOASTERS: &str = "toasters.azure-devices.net";
/// Another linked hub.
pub(crate) const HEATPUMPS: &str = "heatpumps.azure-devices.net";

/// A hub name that resolves to this machine. Linked only by tests that connect to the hub.
pub(crate) const LOCALHOST: &str = "localhost";

/// The port that most of Microsoft's clients require.
pub(crate) const HTTPS_PORT: u16 = 443;

const ID_SCOPE: &str = "0ne00001234";
const START_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// Serializes the tests: all use ports 443 and 8883.
pub(crate) static TURN: Mutex<()> = Mutex::const_new(());

/// A running emulator. Killed when dropped; [`Emulator::stop`] ends it with SIGTERM.
#[derive(Debug)]
pub(crate) struct Emulator {
    process: Child,
    ready: Ready,
    service: ServiceClient,
    /// Kept open, because the emulator could fail on a closed stdout.
    _stdout: BufReader<ChildStdout>,
    _turn: MutexGuard<'static, ()>,
}

/// The line that the emulator prints when it is ready. Debug leaves out its keys.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ready {
    ready: bool,
    id_scope: String,
    ca_pem: PathBuf,
    service_connection_string: String,
    connection_strings: HashMap<String, String>,
    hub_connection_strings: HashMap<String, String>,
}

impl Emulator {
    /// Starts an emulator after the previous one has stopped.
    ///
    /// # Panics
    /// When it does not start. Build it with `cargo build -p dps-emulator`; ports 443 and 8883 must be free.
    pub(crate) async fn start() -> Self {
        Self::start_with(HTTPS_PORT, &[]).await
    }

    /// Starts an emulator with this HTTPS port (0: a free port) and more command line options.
    ///
    /// # Panics
    /// As [`Emulator::start`].
    pub(crate) async fn start_with(https_port: u16, options: &[&str]) -> Self {
        let turn = TURN.lock().await;
        let binary = binary();
        let mut process = Command::new(&binary)
            .args(["--ephemeral", "--mqtt-port", "8883", "--https-port"])
            .arg(https_port.to_string())
            .args(["--retry-after", "1"])
            .args([
                "--id-scope",
                ID_SCOPE,
                "--hub",
                TOASTERS,
                "--hub",
                HEATPUMPS,
            ])
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|error| panic!("{} does not start: {error}", binary.display()));
        let mut stdout = BufReader::new(process.stdout.take().expect("stdout and stdin are piped"));
        let ready = timeout(START_DEADLINE, read_ready(&mut stdout))
            .await
            .expect("the emulator is not ready in time");
        assert_eq!(ready.id_scope, ID_SCOPE);
        let service = ServiceClient::from_connection_string(&ready.service_connection_string)
            .expect("a valid connection string")
            .with_roots(Roots::from_pem_file(&ready.ca_pem).expect("the emulator's root"));
        Self {
            process,
            ready,
            service,
            _stdout: stdout,
            _turn: turn,
        }
    }

    /// Returns a service client with all permissions.
    pub(crate) fn service(&self) -> &ServiceClient {
        &self.service
    }

    /// Returns the connection string of this access policy. It contains a key.
    ///
    /// # Panics
    /// When the emulator has no policy with this name.
    pub(crate) fn connection_string(&self, policy: &str) -> &str {
        let connection = self.ready.connection_strings.get(policy);
        connection.expect("a policy of the emulator's options")
    }

    /// Returns the connection string of this linked hub. It contains a key.
    ///
    /// # Panics
    /// When no hub with this name is linked.
    pub(crate) fn hub_connection_string(&self, hub: &str) -> &str {
        let connection = self.ready.hub_connection_strings.get(hub);
        connection.expect("a linked hub")
    }

    /// The id scope for devices.
    pub(crate) fn id_scope(&self) -> &str {
        &self.ready.id_scope
    }

    /// The file with the emulator's root certificate.
    pub(crate) fn ca_pem(&self) -> &Path {
        &self.ready.ca_pem
    }

    /// Stops the emulator with SIGTERM and checks its exit status.
    ///
    /// # Panics
    /// When it does not end in time, or its exit status is not 0.
    pub(crate) async fn stop(mut self) {
        let id = self.process.id().expect("the emulator still runs");
        let asked = Command::new("kill").arg(id.to_string()).status().await;
        assert!(asked.expect("kill runs").success());
        let status = timeout(STOP_DEADLINE, self.process.wait())
            .await
            .expect("the emulator does not end on SIGTERM")
            .expect("its status can be read");
        assert!(status.success(), "the emulator ended with {status}");
    }
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready")
            .field("id_scope", &self.id_scope)
            .field("ca_pem", &self.ca_pem)
            .finish_non_exhaustive()
    }
}

/// `target/debug/dps-emulator`; this test is `target/debug/deps/interop-*`.
pub(crate) fn binary() -> PathBuf {
    let test = env::current_exe().expect("the path of this test");
    let folder = test.ancestors().nth(2).expect("the target folder");
    folder.join(format!("dps-emulator{}", env::consts::EXE_SUFFIX))
}

async fn read_ready(stdout: &mut BufReader<ChildStdout>) -> Ready {
    let mut line = String::new();
    let length = stdout.read_line(&mut line).await;
    assert!(
        length.expect("its output can be read") > 0,
        "the emulator ended before it was ready"
    );
    let ready: Ready = serde_json::from_str(&line).expect("the ready line");
    assert!(ready.ready);
    ready
}
