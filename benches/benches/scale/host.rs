//! The emulator's process: start, memory, shutdown.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use dps_tls::Roots;
use dps_types::ServiceConnectionString;

pub(crate) struct Host {
    child: Child,
    pub(crate) started_in: Duration,
    pub(crate) connection: ServiceConnectionString,
    pub(crate) roots: Roots,
}

impl Host {
    /// Starts an emulator and waits until it answers.
    pub(crate) fn start(data_dir: Option<&Path>) -> Self {
        let began = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_emulator_host"))
            .args(data_dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let started_in = began.elapsed();
        let (connection, ca) = line.trim_end().split_once(' ').unwrap();
        Self {
            child,
            started_in,
            connection: connection.parse().unwrap(),
            roots: Roots::from_pem_file(ca).unwrap(),
        }
    }

    /// The current and the peak resident memory, in MiB.
    pub(crate) fn memory(&self) -> (u64, u64) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.unwrap().trim().trim_end_matches(" kB");
            kib.parse::<u64>().unwrap() / 1024
        };
        (mib("VmRSS:"), mib("VmHWM:"))
    }

    pub(crate) fn stop(mut self) {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
