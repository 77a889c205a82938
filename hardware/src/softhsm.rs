//! SoftHSM: a PKCS#11 module with its tokens in a folder that goes away, and tests that run in a process of their own with it.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Where distributions put the module.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];
/// The module's own variable, which it reads when it is loaded.
const CONFIGURATION: &str = "SOFTHSM2_CONF";
/// Says to a test that it is in a process of its own.
const CHILD: &str = "DPS_SOFTHSM_CHILD";

/// SoftHSM with a folder of its own for tokens.
#[derive(Debug)]
pub struct SoftHsm {
    folder: TempDir,
}

impl SoftHsm {
    /// The user PIN of every token.
    pub const PIN: &str = "628734";

    /// The environment variable that has it in the process of a test.
    pub const PIN_VARIABLE: &str = "DPS_SOFTHSM_PIN";

    /// One without tokens.
    ///
    /// # Panics
    /// When there is no place for the folder.
    pub fn new() -> Self {
        Self::configured("")
    }

    /// One with these lines in its configuration too: `man softhsm2.conf` has them.
    ///
    /// # Panics
    /// When there is no place for the folder.
    pub fn configured(lines: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the tokens");
        let tokens = folder.path().join("tokens");
        std::fs::create_dir(&tokens).expect("a folder for the tokens");
        let text = format!(
            "directories.tokendir = {}\nobjectstore.backend = file\nlog.level = ERROR\n{lines}\n",
            tokens.display()
        );
        std::fs::write(folder.path().join("softhsm2.conf"), text).expect("a configuration");
        Self { folder }
    }

    /// Sets up a token of this label.
    ///
    /// # Panics
    /// When SoftHSM is not installed.
    #[must_use]
    pub fn with_token(self, label: &str) -> Self {
        let util = ["--init-token", "--free", "--so-pin", "93871264", "--pin"];
        let output = self
            .command("softhsm2-util")
            .args(util)
            .args([Self::PIN, "--label", label])
            .output()
            .expect("softhsm2-util is installed: it is in the package softhsm2");
        assert!(output.status.success(), "{output:?}");
        self
    }

    /// A program that is to see these tokens.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env(CONFIGURATION, self.folder.path().join("softhsm2.conf"));
        command
    }

    /// The file of the module.
    ///
    /// # Panics
    /// When SoftHSM is not installed.
    pub fn module() -> PathBuf {
        MODULES
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .expect("SoftHSM is installed: it is in the package softhsm2")
    }

    /// Runs the test in a process of its own, with a SoftHSM of its own.
    ///
    /// The module reads its configuration from the environment of its process, and a login counts for a whole process: so tests must not
    /// share one. It runs the very test that calls this again, alone: `function` is the type name of that test, or of a closure in it.
    ///
    /// # Panics
    /// When the test fails.
    pub fn run(function: &str, set_up: impl FnOnce() -> Self, test: impl FnOnce()) {
        if env::var_os(CHILD).is_some() {
            return test();
        }
        let hsm = set_up();
        let output = hsm
            .command(env::current_exe().expect("this program"))
            .args([test_name(function), "--exact", "--nocapture"])
            .env(CHILD, "1")
            .env(Self::PIN_VARIABLE, Self::PIN)
            .output()
            .expect("this program runs again");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{errors}");
        assert!(text.contains("1 passed"), "no such test: {text}");
    }
}

impl Default for SoftHsm {
    fn default() -> Self {
        Self::new()
    }
}

/// `program::module::test::{{closure}}` is `module::test` for the test runner.
fn test_name(function: &str) -> &str {
    let path = function.split_once("::").map_or(function, |(_, path)| path);
    path.split("::{{closure}}").next().unwrap_or(path)
}
