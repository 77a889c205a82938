//! A PKCS#11 module that forwards to SoftHSM and fails on demand. It is compiled with the C compiler when a test starts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use tempfile::TempDir;

use crate::provider::Provider;
use crate::softhsm::SoftHsm;

const ORDERS: &str = "DPS_SHIM_ORDERS";
const LOG: &str = "DPS_SHIM_LOG";

/// SoftHSM behind a module that blocks, fails and returns malformed attributes on demand, and that records each call.
#[derive(Debug)]
pub struct Shim {
    softhsm: SoftHsm,
    folder: TempDir,
}

impl Shim {
    /// Compiles the module.
    ///
    /// # Panics
    /// If there is no C compiler.
    pub fn new(softhsm: SoftHsm) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let source = folder.path().join("shim.c");
        fs::write(&source, include_str!("shim/shim.c")).expect("the source can be written");
        fs::write(folder.path().join("orders"), "").expect("the orders can be written");
        let output = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(folder.path().join("shim.so"))
            .arg(source)
            .output()
            .expect("a C compiler is installed (package build-essential)");
        assert!(output.status.success(), "{output:?}");
        Self { softhsm, folder }
    }

    /// Replaces the orders for the module of this process, one a line. The source of the module describes them.
    ///
    /// # Panics
    /// If this process was not started with the module.
    pub fn order(orders: &str) {
        let file = variable(ORDERS);
        let new = file.with_extension("new");
        fs::write(&new, format!("{orders}\n")).expect("the orders can be written");
        // A call reads either the old orders or the new ones.
        fs::rename(new, file).expect("the orders can be replaced");
    }

    /// The number of calls of this function in this process.
    ///
    /// # Panics
    /// If this process was not started with the module.
    pub fn calls(function: &str) -> usize {
        let log = fs::read_to_string(variable(LOG)).expect("the log can be read");
        log.lines().filter(|line| *line == function).count()
    }
}

impl Provider for Shim {
    fn command(&self, program: &Path) -> Command {
        let mut command = self.softhsm.command(program);
        command
            .env("DPS_SHIM_MODULE", SoftHsm::module())
            .env(ORDERS, self.folder.path().join("orders"))
            .env(LOG, self.folder.path().join("log"));
        command
    }

    fn module(&self) -> PathBuf {
        self.folder.path().join("shim.so")
    }
}

fn variable(name: &str) -> PathBuf {
    env::var_os(name)
        .expect("the test runs with the module")
        .into()
}
