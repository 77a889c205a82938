//! PKCS#11 modules for tests, with one token each. Each test uses its module in a separate process.

use std::env;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::resource_manager::ResourceManager;
use crate::softhsm::SoftHsm;
use crate::swtpm::Swtpm;

/// The time limit for the start of a server.
const START: Duration = Duration::from_secs(60);

/// Provides a PKCS#11 module to the process of a test.
pub trait Provider {
    /// A command whose process uses the module.
    fn command(&self, program: &Path) -> Command;

    /// The path of the module.
    fn module(&self) -> PathBuf;
}

impl Provider for SoftHsm {
    fn command(&self, program: &Path) -> Command {
        self.command(program)
    }

    fn module(&self) -> PathBuf {
        Self::module()
    }
}

impl Provider for Box<dyn Provider> {
    fn command(&self, program: &Path) -> Command {
        (**self).command(program)
    }

    fn module(&self) -> PathBuf {
        (**self).module()
    }
}

/// The names of the modules for [`provider`].
pub const PROVIDERS: [&str; 6] = [
    "kryoptic",
    "softhsm",
    "tpm2-pkcs11",
    "nss",
    "p11-kit-proxy",
    "p11-kit-remote",
];

/// Starts a module with a token that has this label, or that the test has to initialize.
///
/// # Panics
/// If there is no module with this name, or if it is not installed.
pub fn provider(name: &str, label: &str) -> Box<dyn Provider> {
    let softhsm = || SoftHsm::new().with_token(label);
    match name {
        "kryoptic" => Box::new(Kryoptic::new()),
        "softhsm" => Box::new(softhsm()),
        "tpm2-pkcs11" => Box::new(Tpm2Pkcs11::start()),
        "nss" => Box::new(Proxy::nss(label)),
        "p11-kit-proxy" => Box::new(Proxy::of_softhsm(softhsm())),
        "p11-kit-remote" => Box::new(Remote::start(softhsm(), label)),
        other => panic!("{other} is not a known PKCS#11 module: expected one of {PROVIDERS:?}"),
    }
}

/// The module of tpm2-pkcs11 on a swtpm of its own. It has no token yet. The resource manager swaps the objects that the module leaves
/// in the TPM, as the kernel does for a real one.
struct Tpm2Pkcs11 {
    // Dropped in this order.
    manager: ResourceManager,
    _tpm: Swtpm,
    store: TempDir,
}

impl Tpm2Pkcs11 {
    fn start() -> Self {
        let tpm = Swtpm::start();
        Self {
            manager: ResourceManager::start(&tpm),
            _tpm: tpm,
            store: folder(),
        }
    }
}

impl Provider for Tpm2Pkcs11 {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let (name, value) = self.manager.variable();
        command
            .env(name, value)
            .env("TPM2_PKCS11_STORE", self.store.path())
            .env("TPM2_PKCS11_TCTI", ResourceManager::TCTI)
            .env("TSS2_LOG", "all+NONE");
        command
    }

    fn module(&self) -> PathBuf {
        library("libtpm2_pkcs11.so.1", "libtpm2-pkcs11-1")
    }
}

/// The variable with the path of Kryoptic's module, which Debian does not have.
pub const KRYOPTIC: &str = "DPS_KRYOPTIC_MODULE";

/// Kryoptic, a token in software on OpenSSL. It has one token, which is not initialized.
struct Kryoptic(TempDir);

impl Kryoptic {
    fn new() -> Self {
        let made = Self(folder());
        let database = made.0.path().join("token.sql");
        let text = format!(
            "[[slots]]\nslot = 1\ndbtype = \"sqlite\"\ndbargs = \"{}\"\n",
            database.display()
        );
        fs::write(made.configuration(), text).expect("a configuration");
        made
    }

    fn configuration(&self) -> PathBuf {
        self.0.path().join("kryoptic.conf")
    }
}

impl Provider for Kryoptic {
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("KRYOPTIC_CONF", self.configuration());
        command
    }

    fn module(&self) -> PathBuf {
        env::var_os(KRYOPTIC)
            .map(PathBuf::from)
            .unwrap_or_else(|| panic!("{KRYOPTIC} does not contain the path of the module"))
    }
}

/// p11-kit's proxy, which combines the modules of its configuration. Only root can change the configuration, so a process that uses it
/// has a mount namespace with another one.
struct Proxy {
    configuration: TempDir,
    softhsm: Option<SoftHsm>,
}

/// The folder of p11-kit's configuration.
const CONFIGURATION: &str = "/usr/share/p11-kit/modules";

impl Proxy {
    fn of_softhsm(softhsm: SoftHsm) -> Self {
        let text = format!("module: {}\n", SoftHsm::module().display());
        Self::configured(&text, Some(softhsm))
    }

    /// NSS's softoken, whose C_Initialize requires a text that only p11-kit can pass. Its token has this label, and no PIN yet.
    fn nss(label: &str) -> Self {
        let module = library("libsoftokn3.so", "libnss3");
        let made = Self::configured("", None);
        let database = made.configuration.path().join("nss");
        fs::create_dir(&database).expect("a folder for the database");
        let text = format!(
            "module: {}\nx-init-reserved: configdir='sql:{}' certPrefix='' keyPrefix='' secmod='secmod.db' flags= dbTokenDescription='{label}'\n",
            module.display(),
            database.display()
        );
        made.write(&text);
        made
    }

    fn configured(text: &str, softhsm: Option<SoftHsm>) -> Self {
        let made = Self {
            configuration: folder(),
            softhsm,
        };
        made.write(text);
        made
    }

    fn write(&self, text: &str) {
        let file = self.configuration.path().join("test.module");
        fs::write(file, text).expect("a configuration");
    }
}

impl Provider for Proxy {
    fn command(&self, program: &Path) -> Command {
        let mut command = match &self.softhsm {
            Some(softhsm) => softhsm.command("unshare"),
            None => Command::new("unshare"),
        };
        let script = format!("mount --bind \"$0\" {CONFIGURATION} && exec \"$@\"");
        command
            .args(["--mount", "--map-root-user", "sh", "-c", &script])
            .arg(self.configuration.path())
            .arg(program);
        command
    }

    fn module(&self) -> PathBuf {
        library("p11-kit-proxy.so", "p11-kit-modules")
    }
}

/// A token of SoftHSM in another process, which p11-kit's client module reaches through a socket.
struct Remote {
    _softhsm: SoftHsm,
    server: Child,
    folder: TempDir,
}

impl Remote {
    fn start(softhsm: SoftHsm, label: &str) -> Self {
        let folder = folder();
        let socket = folder.path().join("socket");
        let server = softhsm
            .command("p11-kit")
            .args(["server", "--foreground", "--name"])
            .arg(&socket)
            .arg("--provider")
            .arg(SoftHsm::module())
            .arg(format!("pkcs11:token={label}"))
            .stdout(Stdio::null())
            .spawn()
            .expect("p11-kit is installed (package p11-kit)");
        // Dropping it ends the server, also if the start fails.
        let remote = Self {
            server,
            folder,
            _softhsm: softhsm,
        };
        let deadline = Instant::now() + START;
        while UnixStream::connect(&socket).is_err() {
            assert!(Instant::now() < deadline, "p11-kit server did not start");
            thread::sleep(Duration::from_millis(10));
        }
        remote
    }
}

impl Provider for Remote {
    fn command(&self, program: &Path) -> Command {
        let socket = self.folder.path().join("socket");
        let mut command = Command::new(program);
        command.env(
            "P11_KIT_SERVER_ADDRESS",
            format!("unix:path={}", socket.display()),
        );
        command
    }

    fn module(&self) -> PathBuf {
        library("pkcs11/p11-kit-client.so", "p11-kit-modules")
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // An error means that the process has ended already.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

/// A file in the folder of shared libraries.
fn library(name: &str, package: &str) -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("/usr/lib can be read");
    folders
        .filter_map(Result::ok)
        .map(|folder| folder.path().join(name))
        .chain(["/usr/lib64", "/usr/local/lib"].map(|folder| Path::new(folder).join(name)))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is not installed (package {package})"))
}
