//! An emulator in this process, and the program `dps` with the variables that select it.
#![allow(
    clippy::unwrap_used,
    dead_code,
    reason = "helpers of tests; each test program uses a part"
)]

pub(crate) mod findings;
pub(crate) mod own_tls;
#[cfg(target_os = "linux")]
pub(crate) mod screen;
pub(crate) mod webhook;

use std::process::{Output, Stdio};

use assert_cmd::Command;
use assert_cmd::cargo::cargo_bin;
use dps_emulator::{Emulator, EmulatorBuilder, LinkedHub};
use serde_json::Value;
use tempfile::TempDir;

/// The emulator, and a directory for files.
pub(crate) struct World {
    pub(crate) emulator: Emulator,
    pub(crate) dir: TempDir,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|builder| builder).await
    }

    /// Starts the emulator with more options.
    pub(crate) async fn start_with(
        options: impl FnOnce(EmulatorBuilder) -> EmulatorBuilder,
    ) -> Self {
        let hub: LinkedHub = "127.0.0.1".parse().unwrap();
        let other: LinkedHub = "hub-b.example".parse().unwrap();
        let retry_after = std::time::Duration::from_millis(100);
        let builder = Emulator::builder()
            .link_hub(hub)
            .link_hub(other)
            .retry_after(retry_after);
        let world = Self {
            emulator: options(builder).start().await.unwrap(),
            dir: tempfile::tempdir().unwrap(),
        };
        world.file("emulator-ca.pem", world.emulator.ca_pem());
        world
    }

    /// The variables that select the emulator.
    pub(crate) fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            (
                "DPS_CONNECTION_STRING",
                self.emulator.service_connection_string().to_string(),
            ),
            ("DPS_CA_FILE", self.path("emulator-ca.pem")),
            ("DPS_ID_SCOPE", self.emulator.id_scope().to_string()),
            ("DPS_HOST", "localhost".to_owned()),
            ("DPS_HTTPS_PORT", self.emulator.https_port().to_string()),
            ("DPS_MQTT_PORT", self.emulator.mqtt_port().to_string()),
            ("DPS_AMQP_PORT", self.emulator.amqp_port().to_string()),
            ("XDG_CONFIG_HOME", self.dir.path().display().to_string()),
        ]
    }

    /// The authority issues a certificate for `toaster-1.csr`, and the operator enrolls the authority.
    pub(crate) async fn certify_toaster(&self) {
        for arguments in [
            &["certificate", "create-ca", "Contoso Root"][..],
            &[
                "certificate",
                "issue",
                "toaster-1",
                "--request",
                "toaster-1.csr",
            ],
            &[
                "enrollment-group",
                "create",
                "toasters",
                "--hub",
                "127.0.0.1",
                "--certificate",
                "ca.pem",
            ],
        ] {
            let ran = self.run(arguments).await;
            assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        }
    }

    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// A file with the root of the emulator and those of another file, if it exists.
    pub(crate) fn ca_file_with(&self, other: &str) -> String {
        let other = std::fs::read_to_string(self.path(other)).unwrap_or_default();
        self.file("roots.pem", self.emulator.ca_pem().to_owned() + &other)
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = dps(arguments);
        command.current_dir(&self.dir).envs(self.variables());
        command
    }

    /// Runs the program on another thread, so that the emulator can answer.
    pub(crate) async fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments)).await
    }

    /// Starts the program, with pipes for its output.
    pub(crate) fn spawn(&self, arguments: &[&str], stdin: Stdio) -> tokio::process::Child {
        let mut command = tokio::process::Command::new(cargo_bin("dps"));
        for name in hidden_variables() {
            command.env_remove(name);
        }
        command
            .args(arguments)
            .current_dir(&self.dir)
            .envs(self.variables())
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().unwrap()
    }

    /// Runs the program with `-o json`, and returns what it printed.
    pub(crate) async fn json(&self, arguments: &[&str]) -> Value {
        let ran = self.run(&[arguments, &["-o", "json"]].concat()).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {}", ran.stderr);
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

/// The program without any variable of the environment that it reads.
pub(crate) fn dps(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("dps").unwrap();
    for name in hidden_variables() {
        command.env_remove(name);
    }
    command.args(arguments);
    command
}

/// The variables of this process that the program would read.
fn hidden_variables() -> Vec<String> {
    std::env::vars_os()
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .filter(|name| name.starts_with("DPS_") || name.starts_with("AZURE_") || name == "RUST_LOG")
        .collect()
}

/// Sends SIGTERM.
#[cfg(unix)]
pub(crate) fn terminate(process: &tokio::process::Child) {
    let id = process.id().unwrap().to_string();
    let sent = std::process::Command::new("kill")
        .args(["-TERM", &id])
        .status();
    assert!(sent.unwrap().success());
}

/// Whether a process has not ended. A zombie has.
#[cfg(unix)]
pub(crate) fn is_running(id: &str) -> bool {
    let mut ps = std::process::Command::new("ps");
    let state = ps.args(["-o", "stat=", "-p", id]).output().unwrap().stdout;
    !state.is_empty() && !state.starts_with(b"Z")
}

/// What the program printed, and its exit code.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ran {
    pub(crate) async fn of(mut command: Command) -> Self {
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap()
            .unwrap();
        let Output {
            status,
            stdout,
            stderr,
        } = output;
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self {
            code: status.code().unwrap_or(-1),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }
}
