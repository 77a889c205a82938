//! A TPM in a process of its own: swtpm, with its state in a folder that goes away with it.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long swtpm may take until it listens.
const START: Duration = Duration::from_secs(20);
/// How long one command may take.
const COMMAND: Duration = Duration::from_secs(60);
/// Somebody else may take a port between our choice and swtpm's start.
const ATTEMPTS: u32 = 8;

/// A running swtpm. It is killed when this is dropped.
///
/// It serves one connection at a time.
#[derive(Debug)]
pub struct Swtpm {
    state: TempDir,
    port: u16,
    process: Child,
}

impl Swtpm {
    /// Starts one with an empty state: a TPM as it comes from the factory.
    ///
    /// # Panics
    /// When swtpm is not installed or does not start.
    pub fn start() -> Self {
        let state = tempfile::tempdir().expect("a folder for the state of swtpm");
        for _ in 0..ATTEMPTS {
            let port = free_pair();
            if let Some(process) = launch(&state, port) {
                return Self {
                    state,
                    port,
                    process,
                };
            }
        }
        panic!("swtpm did not start in {ATTEMPTS} attempts");
    }

    /// Switches it off and on again: what is persistent stays, all else is lost. The address is the same.
    ///
    /// # Panics
    /// As [`start`](Self::start).
    pub fn restart(&mut self) {
        self.stop();
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Some(process) = launch(&self.state, self.port) {
                self.process = process;
                return;
            }
        }
        panic!("swtpm did not start again on port {}", self.port);
    }

    /// Switches it off: nothing listens at its address until it is restarted.
    pub fn stop(&mut self) {
        // An error says that it has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// How the TSS reaches it.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// The port for commands. That for control is the next one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends a command as it is, and gives the response as it is: what the TPM says without any library between.
    ///
    /// # Panics
    /// When swtpm does not answer.
    pub fn transmit(&self, command: &[u8]) -> Vec<u8> {
        let exchange = || -> io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(COMMAND))?;
            stream.write_all(command)?;
            // Tag, length of the whole, response code.
            let mut response = vec![0; 10];
            stream.read_exact(&mut response)?;
            let length = u32::from_be_bytes([response[2], response[3], response[4], response[5]]);
            response.resize(length.try_into().expect("a length fits in memory"), 0);
            stream.read_exact(&mut response[10..])?;
            Ok(response)
        };
        exchange().expect("swtpm answers a command")
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A free port whose successor is free too: the TSS takes the one after the port for control.
fn free_pair() -> u16 {
    for _ in 0..1000 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = first.local_addr().expect("its address").port();
        let next = port.checked_add(1);
        if next.is_some_and(|next| TcpListener::bind((Ipv4Addr::LOCALHOST, next)).is_ok()) {
            return port;
        }
    }
    panic!("there are no two free ports in a row");
}

/// Starts the process and waits until it listens. None when it ended, for a port that is taken.
fn launch(state: &TempDir, port: u16) -> Option<Child> {
    let socket = |port: u16| format!("type=tcp,port={port},bindaddr=127.0.0.1");
    // It is written when both ports are bound: to connect instead could meet whoever was faster.
    let listening = state.path().join("pid");
    let _ = fs::remove_file(&listening);
    let mut process = Command::new("swtpm")
        .args(["socket", "--tpm2", "--tpmstate"])
        .arg(format!("dir={}", state.path().display()))
        .args(["--server", &socket(port)])
        .args(["--ctrl", &socket(port + 1)])
        .args(["--flags", "not-need-init,startup-clear"])
        .arg("--pid")
        .arg(format!("file={}", listening.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("swtpm cannot be started ({error}): install the Debian package swtpm")
        });
    let deadline = Instant::now() + START;
    while Instant::now() < deadline {
        if listening.exists() {
            return Some(process);
        }
        if process.try_wait().expect("the state of swtpm").is_some() {
            return None;
        }
        // Nothing wakes us when a file appears.
        thread::sleep(Duration::from_millis(5));
    }
    let _ = process.kill();
    let _ = process.wait();
    panic!("swtpm does not listen on port {port} after {START:?}");
}
