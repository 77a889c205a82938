//! SoftHSM, a PKCS#11 module in software: its tokens are in a temporary folder, and each test uses it in a separate process.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::provider::Provider;

/// The paths of the module in common distributions.
const MODULES: [&str; 4] = [
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib64/pkcs11/libsofthsm2.so",
    "/usr/lib/pkcs11/libsofthsm2.so",
    "/usr/local/lib/softhsm/libsofthsm2.so",
];
/// The environment variable that the module reads when it is loaded.
const CONFIGURATION: &str = "SOFTHSM2_CONF";
/// This environment variable marks the process that a test runs in. It holds the path of the module.
const CHILD: &str = "DPS_PKCS11_MODULE_PATH";

/// SoftHSM with its own temporary folder for tokens.
#[derive(Debug)]
pub struct SoftHsm {
    folder: TempDir,
}

impl SoftHsm {
    /// The user PIN of every token.
    pub const PIN: &str = "s0fthsm-p1n";

    /// The environment variable that holds the PIN in the process of a test.
    pub const PIN_VARIABLE: &str = "DPS_SOFTHSM_PIN";

    /// The start of a line in which a test reports that it was skipped.
    pub const SKIPPED: &str = "skipped with";

    /// Creates one without tokens.
    ///
    /// # Panics
    /// If the folder cannot be created.
    pub fn new() -> Self {
        Self::configured("")
    }

    /// Creates one with these additional lines of configuration: see `man softhsm2.conf`.
    ///
    /// # Panics
    /// If the folder cannot be created.
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

    /// Initializes a token with this label.
    ///
    /// # Panics
    /// If SoftHSM is not installed.
    #[must_use]
    pub fn with_token(self, label: &str) -> Self {
        let util = ["--init-token", "--free", "--so-pin", "93871264", "--pin"];
        let output = self
            .command("softhsm2-util")
            .args(util)
            .args([Self::PIN, "--label", label])
            .output()
            .expect("softhsm2-util is installed (package softhsm2)");
        assert!(output.status.success(), "{output:?}");
        self
    }

    /// A command whose process uses these tokens.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new(program.as_ref());
        command.env(CONFIGURATION, self.folder.path().join("softhsm2.conf"));
        command
    }

    /// The path of the module.
    ///
    /// # Panics
    /// If SoftHSM is not installed.
    pub fn module() -> PathBuf {
        MODULES
            .iter()
            .map(PathBuf::from)
            .find(|path| path.exists())
            .expect("SoftHSM is installed (package softhsm2)")
    }

    /// Runs the test in its own process, with its own module.
    ///
    /// A module reads its configuration from the environment of its process, and a login applies to a whole process, so tests must
    /// not share one. The calling test is run again, alone, in a child process: `function` is the type name of that test or of a
    /// closure in it.
    ///
    /// # Panics
    /// If the test fails.
    pub fn run<P: Provider>(function: &str, set_up: impl FnOnce() -> P, test: impl FnOnce()) {
        if env::var_os(CHILD).is_some() {
            return test();
        }
        let provider = set_up();
        let output = provider
            .command(&env::current_exe().expect("the path of the test program"))
            .args([test_name(function), "--exact", "--nocapture"])
            .env(CHILD, provider.module())
            .env(Self::PIN_VARIABLE, Self::PIN)
            .output()
            .expect("the test program can be started again");
        let text = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{text}\n{errors}");
        assert!(text.contains("1 passed"), "no such test: {text}");
        for line in text.lines() {
            if let Some((_, reason)) = line.split_once(Self::SKIPPED) {
                println!("{}{reason}", Self::SKIPPED);
            }
        }
    }

    /// The path of the module of the test that runs in this process.
    ///
    /// # Panics
    /// If SoftHSM is needed and not installed.
    pub fn module_in_use() -> PathBuf {
        env::var_os(CHILD).map_or_else(Self::module, PathBuf::from)
    }
}

impl Default for SoftHsm {
    fn default() -> Self {
        Self::new()
    }
}

/// The name of a test for the test runner: `module::test` for `program::module::test::{{closure}}`.
fn test_name(function: &str) -> &str {
    let path = function.split_once("::").map_or(function, |(_, path)| path);
    path.split("::{{closure}}").next().unwrap_or(path)
}
