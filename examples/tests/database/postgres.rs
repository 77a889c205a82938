//! A PostgreSQL server for the test, from the package of Debian, on a Unix socket.

use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A server that is stopped and removed when it is dropped.
pub(crate) struct Postgres {
    programs: PathBuf,
    folder: TempDir,
    url: String,
}

impl Postgres {
    /// Starts a new, empty server and waits until it accepts connections.
    pub(crate) fn start() -> Self {
        let programs = programs();
        let folder = tempfile::tempdir().unwrap();
        if let Some(owner) = owner() {
            chown(folder.path(), Some(owner), None).unwrap();
        }
        let url = format!("host={} user=dps dbname=postgres", folder.path().display());
        let server = Self { programs, folder, url };
        server.do_it("initdb", &["--auth=trust", "--username=dps", "--encoding=UTF8", "--no-locale", "--no-sync"]);
        server.run();
        server
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Starts the server and waits until it accepts connections.
    pub(crate) fn run(&self) {
        let folder = self.folder.path().display();
        let log = format!("--log={folder}/log");
        let options = format!("--options=-c listen_addresses= -c fsync=off -k {folder}");
        self.do_it("pg_ctl", &["start", "--wait", &log, &options]);
    }

    /// Stops the server and waits until its connections have ended.
    pub(crate) fn stop(&self) {
        self.do_it("pg_ctl", &["stop", "--wait", "--mode=fast"]);
    }

    fn do_it(&self, program: &str, arguments: &[&str]) {
        let output = self.command(program).args(arguments).output().unwrap();
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        assert!(output.status.success(), "{program}: {}\n{stdout}\n{stderr}\n{log}", output.status);
    }

    /// PostgreSQL does not run as root.
    fn command(&self, program: &str) -> Command {
        let program = self.programs.join(program);
        let mut command = match owner() {
            Some(_) => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
                command
            }
            None => Command::new(program),
        };
        command.current_dir(self.folder.path()).env("PGDATA", self.folder.path().join("data"));
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let _ = self.command("pg_ctl").args(["stop", "--wait", "--mode=immediate"]).output();
    }
}

/// The programs of the newest installed version.
fn programs() -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.map(|entry| entry.path()).max_by_key(|path| version(path));
    let programs = newest.map(|path| path.join("bin")).filter(|path| path.join("initdb").exists());
    programs.expect("PostgreSQL is missing: apt-get install postgresql")
}

/// The user of the package, as which the server runs if this test runs as root.
fn owner() -> Option<u32> {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse::<u32>().unwrap()
    };
    (id(&["-u"]) == 0).then(|| id(&["-u", "postgres"]))
}
