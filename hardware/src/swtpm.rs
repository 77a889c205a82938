//! swtpm, a software TPM in its own process, with its state in a temporary folder.

use std::env;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The time limit for the start of swtpm.
const START: Duration = Duration::from_secs(20);
/// The time limit of one command.
const COMMAND: Duration = Duration::from_secs(60);
/// Another process may bind the port between the choice of the port and the start of swtpm.
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
    /// Starts a TPM with an empty state, like a new one.
    ///
    /// # Panics
    /// If swtpm is not installed or does not start.
    pub fn start() -> Self {
        Self::start_in(tempfile::tempdir().expect("a folder for the state of swtpm"))
    }

    /// Starts a TPM as a manufacturer delivers it: the endorsement keys of the TCG's templates are stored, an RSA key at 0x81010001
    /// and a P-384 key at 0x81010016, and a certification authority of this TPM alone has issued their certificates
    /// (0x01c00002 and 0x01c00016).
    ///
    /// # Panics
    /// See [`start`](Self::start), and if swtpm_setup is not installed.
    pub fn manufactured() -> Self {
        let state = tempfile::tempdir().expect("a folder for the state of swtpm");
        manufacture(state.path());
        Self::start_in(state)
    }

    /// The certificates of the manufacturer of a [`manufactured`](Self::manufactured) TPM, PEM: the root, and an intermediate.
    ///
    /// # Panics
    /// If the TPM has no manufacturer.
    pub fn manufacturer(&self) -> (String, String) {
        let read = |name| {
            let path = self.state.path().join("ca").join(name);
            fs::read_to_string(path).expect("a certificate of the manufacturer")
        };
        (
            read("swtpm-localca-rootca-cert.pem"),
            read("issuercert.pem"),
        )
    }

    fn start_in(state: TempDir) -> Self {
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

    /// Turns the TPM off and on again: only persistent objects survive. The address stays the same.
    ///
    /// # Panics
    /// See [`start`](Self::start).
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

    /// Turns the TPM off: nothing listens at its address until it is restarted.
    pub fn stop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// The TCTI of this TPM.
    pub fn tcti(&self) -> String {
        format!("swtpm:host=127.0.0.1,port={}", self.port)
    }

    /// The port for commands. The control port is the next one.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends the bytes of a command and returns the bytes of the response, without a library in between.
    ///
    /// # Panics
    /// If swtpm does not answer.
    pub fn transmit(&self, command: &[u8]) -> Vec<u8> {
        let exchange = || -> io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
            stream.set_read_timeout(Some(COMMAND))?;
            stream.write_all(command)?;
            // The header: tag, total length, response code.
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

/// Creates the keys and the certificates of a new TPM, with an authority in the folder `ca`.
fn manufacture(state: &Path) {
    let ca = state.join("ca");
    let folder = ca.display();
    let write = |name: &str, text: String| {
        let path = ca.join(name);
        fs::write(&path, text).expect("a configuration of swtpm_setup");
        path
    };
    fs::create_dir(&ca).expect("a folder for the authority");
    let authority = write(
        "localca.conf",
        format!(
            "statedir = {folder}\nsigningkey = {folder}/signkey.pem\nissuercert = {folder}/issuercert.pem\ncertserial = {folder}/serial\n"
        ),
    );
    let options = write(
        "localca.options",
        "--platform-manufacturer dps\n--platform-version 1\n--platform-model test\n".to_owned(),
    );
    let tool = env::split_paths(&env::var_os("PATH").unwrap_or_default())
        .map(|folder| folder.join("swtpm_localca"))
        .find(|path| path.exists())
        .expect("swtpm_localca is installed (package swtpm-tools)");
    let setup = write(
        "setup.conf",
        format!(
            "create_certs_tool = {}\ncreate_certs_tool_config = {}\ncreate_certs_tool_options = {}\n",
            tool.display(),
            authority.display(),
            options.display()
        ),
    );
    let output = Command::new("swtpm_setup")
        .args(["--tpm2", "--create-ek-cert", "--tpmstate"])
        .arg(state)
        .arg("--config")
        .arg(setup)
        .output()
        .expect("swtpm_setup is installed (package swtpm-tools)");
    assert!(output.status.success(), "{output:?}");
}

/// Finds a free port whose successor is also free: the TSS uses the next port for control.
fn free_pair() -> u16 {
    for _ in 0..1000 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = first.local_addr().expect("its address").port();
        let next = port.checked_add(1);
        if next.is_some_and(|next| TcpListener::bind((Ipv4Addr::LOCALHOST, next)).is_ok()) {
            return port;
        }
    }
    panic!("there are no two consecutive free ports");
}

/// Starts the process and waits until it listens. `None` if it has ended because a port was in use.
fn launch(state: &TempDir, port: u16) -> Option<Child> {
    let socket = |port: u16| format!("type=tcp,port={port},bindaddr=127.0.0.1");
    // swtpm writes the file after it has bound both ports. A connection attempt could reach another process instead.
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
        // There is no notification for a new file.
        thread::sleep(Duration::from_millis(5));
    }
    let _ = process.kill();
    let _ = process.wait();
    panic!("swtpm does not listen on port {port} after {START:?}");
}
