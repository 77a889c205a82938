//! The program `dps-emulator`, as a child process.

use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tempfile::NamedTempFile;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::{TIMEOUT, Wire};

/// A running program. Dropping it kills it.
pub(crate) struct Program {
    child: Child,
    log: NamedTempFile,
    /// The line it printed.
    pub(crate) ready: Value,
    pub(crate) wire: Wire,
}

impl Program {
    /// Starts it on a free port and waits for its ready line.
    pub(crate) async fn start(options: &[&str]) -> Self {
        Self::start_logging("info", options).await
    }

    pub(crate) async fn start_logging(level: &str, options: &[&str]) -> Self {
        Self::start_with(&[("RUST_LOG", level)], options).await
    }

    /// Starts it with these variables.
    pub(crate) async fn start_with(variables: &[(&str, &str)], options: &[&str]) -> Self {
        let log = NamedTempFile::new().expect("a file");
        let mut child = command(options, &log)
            .args([
                "--https-port",
                "0",
                "--mqtt-port",
                "0",
                "--amqp-port",
                "0",
                "--retry-after",
                "0",
            ])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it runs");
        let stdout = child.stdout.take().expect("piped");
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(TIMEOUT, lines.next_line()).await;
        let line = line.expect("ready in time").expect("read");
        let line = line.unwrap_or_else(|| panic!("not ready: {}", read(log.path())));
        let ready: Value = serde_json::from_str(&line).expect("JSON");
        let text = |name: &str| ready[name].as_str().expect("text").to_owned();
        let ca_pem = read(text("caPem").as_ref());
        let wire = Wire::new(
            &text("https"),
            &text("idScope"),
            &ca_pem,
            &text("serviceConnectionString"),
        );
        Self {
            child,
            log,
            ready,
            wire,
        }
    }

    /// Runs the program with options that it refuses, and returns its exit status and its stderr.
    pub(crate) async fn refuse(options: &[&str]) -> (ExitStatus, String) {
        let log = NamedTempFile::new().expect("a file");
        let run = command(options, &log).env("RUST_LOG", "off").status();
        let status = timeout(TIMEOUT, run).await;
        (status.expect("it ends").expect("it ran"), read(log.path()))
    }

    /// Runs the program to its end and returns its stdout.
    pub(crate) async fn output(options: &[&str]) -> String {
        let log = NamedTempFile::new().expect("a file");
        let run = command(options, &log).stdout(Stdio::piped()).output();
        let output = timeout(TIMEOUT, run).await.expect("it ends");
        let output = output.expect("it ran");
        assert!(output.status.success(), "{}", read(log.path()));
        String::from_utf8(output.stdout).expect("text")
    }

    /// Sends it a signal, waits until it has ended, and returns its exit status and its log.
    pub(crate) async fn end_with(mut self, signal: &str) -> (ExitStatus, String) {
        let id = self.child.id().expect("it runs").to_string();
        let kill = Command::new("kill").args(["-s", signal, &id]).status();
        assert!(kill.await.expect("kill runs").success());
        let status = timeout(TIMEOUT, self.child.wait()).await;
        let status = status.expect("it ends").expect("a status");
        (status, read(self.log.path()))
    }
}

fn command(options: &[&str], log: &NamedTempFile) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dps-emulator"));
    let stderr = File::create(log.path()).expect("a file");
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DPS_EMULATOR_")) {
        command.env_remove(name);
    }
    command
        .args(options)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(stderr)
        .kill_on_drop(true);
    command
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).expect("readable")
}
