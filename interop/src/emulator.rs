//! The emulator's binary as a child process, on the ports that the official clients insist on.

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

/// One of the linked hubs.
pub const TOASTERS: &str = "toasters.azure-devices.net";
/// The other one.
pub const HEATPUMPS: &str = "heatpumps.azure-devices.net";

/// A hub that a device can go to: this machine's own name. Linked only where a test asks for it.
pub const LOCALHOST: &str = "localhost";

/// Where most official clients insist to find it.
pub const HTTPS_PORT: u16 = 443;

const ID_SCOPE: &str = "0ne00001234";
const START_DEADLINE: Duration = Duration::from_secs(30);
const STOP_DEADLINE: Duration = Duration::from_secs(10);

/// There is one port 443, and one 8883.
static TURN: Mutex<()> = Mutex::const_new(());

/// A running emulator. Killed when dropped; [`Emulator::stop`] asks it to end.
#[derive(Debug)]
pub struct Emulator {
    process: Child,
    ready: Ready,
    service: ServiceClient,
    /// Held open: a process whose output nobody takes may end by it.
    _stdout: BufReader<ChildStdout>,
    _turn: MutexGuard<'static, ()>,
}

/// The line that the emulator prints when it is ready. It holds a key: Debug leaves it out.
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
    /// Starts one, when the one before has ended.
    ///
    /// # Panics
    /// When it does not start: build it with `cargo build -p dps-emulator`, and see that ports 443 and 8883 are free.
    pub async fn start() -> Self {
        Self::start_with(HTTPS_PORT, &[]).await
    }

    /// Starts one with its HTTPS on this port, 0 for a free one, and with more options.
    ///
    /// # Panics
    /// As [`Emulator::start`].
    pub async fn start_with(https_port: u16, options: &[&str]) -> Self {
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
        let mut stdout = BufReader::new(process.stdout.take().expect("it is piped"));
        let ready = timeout(START_DEADLINE, read_ready(&mut stdout))
            .await
            .expect("the emulator is not ready in time");
        assert_eq!(ready.id_scope, ID_SCOPE);
        let service = ServiceClient::from_connection_string(&ready.service_connection_string)
            .expect("the emulator's connection string is one")
            .with_roots(Roots::from_pem_file(&ready.ca_pem).expect("the emulator's root"));
        Self {
            process,
            ready,
            service,
            _stdout: stdout,
            _turn: turn,
        }
    }

    /// The operator's client.
    pub fn service(&self) -> &ServiceClient {
        &self.service
    }

    /// What an operator's client needs to come in by this policy. It holds a key.
    ///
    /// # Panics
    /// When there is no such policy.
    pub fn connection_string(&self, policy: &str) -> &str {
        let connection = self.ready.connection_strings.get(policy);
        connection.expect("a policy of the emulator's options")
    }

    /// What an operator's client needs to come in to this linked hub. It holds a key.
    ///
    /// # Panics
    /// When there is no such hub.
    pub fn hub_connection_string(&self, hub: &str) -> &str {
        let connection = self.ready.hub_connection_strings.get(hub);
        connection.expect("a linked hub")
    }

    /// The id scope for devices.
    pub fn id_scope(&self) -> &str {
        &self.ready.id_scope
    }

    /// The file with the root of its certificate.
    pub fn ca_pem(&self) -> &Path {
        &self.ready.ca_pem
    }

    /// Asks it to end, as an init system would, and sees that it does.
    ///
    /// # Panics
    /// When it does not end, or not well.
    pub async fn stop(mut self) {
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

/// Beside the folder of the test that runs: `target/debug/dps-emulator` for `target/debug/deps/node_http-1234`.
fn binary() -> PathBuf {
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
