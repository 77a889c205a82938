//! tpm2-abrmd, a resource manager for a TPM, on a message bus of its own.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::swtpm::Swtpm;

/// The variable with the address of the bus.
const BUS: &str = "DBUS_SESSION_BUS_ADDRESS";
/// The name of tpm2-abrmd on the bus.
const NAME: &str = "com.intel.tss2.Tabrmd";
/// The time limit for the start, in seconds.
const START: &str = "60";

/// tpm2-abrmd and its bus, which end when this is dropped.
#[derive(Debug)]
pub struct ResourceManager {
    // Dropped in this order.
    manager: Running,
    _bus: Running,
    address: String,
    _folder: TempDir,
}

#[derive(Debug)]
struct Running(Child);

impl ResourceManager {
    /// Starts the bus and the manager, and waits until it answers.
    ///
    /// # Panics
    /// If a program is not installed or does not start.
    pub fn start(tpm: &Swtpm) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (bus, address) = bus(folder.path());
        let mut manager = Command::new("tpm2-abrmd");
        manager
            .args(["--session", "--allow-root"])
            .arg(format!("--tcti={}", tpm.tcti()));
        let manager = Running::start(&mut manager, &address, "tpm2-abrmd");
        let waited = Command::new("gdbus")
            .args(["wait", "--session", "--timeout", START, NAME])
            .env(BUS, &address)
            .status()
            .expect("gdbus is installed (package libglib2.0-bin)");
        assert!(waited.success(), "tpm2-abrmd did not start");
        Self {
            manager,
            _bus: bus,
            address,
            _folder: folder,
        }
    }

    /// The TCTI of the manager, for a process with its [`variable`](Self::variable).
    pub const TCTI: &'static str = "tabrmd:bus_type=session";

    /// The variable and its value with which a process finds the manager.
    pub fn variable(&self) -> (&'static str, &str) {
        (BUS, &self.address)
    }

    /// Asks the manager to end, and waits: it then leaves nothing in the TPM.
    pub fn stop(mut self) {
        let id = self.manager.0.id().to_string();
        // An error means that it has ended already.
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let _ = self.manager.0.wait();
    }
}

fn bus(folder: &Path) -> (Running, String) {
    let mut bus = Command::new("dbus-daemon")
        .args(["--session", "--nofork", "--print-address=1"])
        .arg(format!("--address=unix:tmpdir={}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("dbus-daemon is installed (package dbus-daemon)");
    let mut address = String::new();
    let output = bus.stdout.take().expect("the output is a pipe");
    let bus = Running(bus);
    BufReader::new(output)
        .read_line(&mut address)
        .expect("dbus-daemon prints its address");
    (bus, address.trim().to_owned())
}

impl Running {
    fn start(command: &mut Command, bus: &str, package: &str) -> Self {
        let child = command
            .env(BUS, bus)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.unwrap_or_else(|error| panic!("package {package}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
