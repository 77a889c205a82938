//! A PostgreSQL server for the tests, which `scripts/postgres` runs. It ends with the process of the tests.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{LazyLock, Mutex};

use dps_emulator::store::{PostgresStore, PostgresUrl};
use tokio::task::JoinSet;
use tokio_postgres::{Client, NoTls};

/// The server that the tests share. Each test has a schema of its own.
static SHARED: LazyLock<Server> = LazyLock::new(|| Server::start(&[]));

/// A server that is stopped and deleted when the pipe to its script is closed.
pub(crate) struct Server {
    url: String,
    script: Mutex<Script>,
}

struct Script {
    process: Child,
    /// `None` when it has to end.
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres");
        let mut process = Command::new(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/postgres");
        let stdin = process.stdin.take();
        let stdout = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut script = Script {
            process,
            stdin,
            stdout,
        };
        Self {
            url: script.line(),
            script: Mutex::new(script),
        }
    }

    /// The URL of the database of the server, with parameters.
    pub(crate) fn url(&self, parameters: &str) -> String {
        format!("{}?{parameters}", self.url)
    }

    /// The port on the loopback interface.
    pub(crate) fn port(&self) -> u16 {
        let port = self.url.rsplit([':', '/']).nth(1);
        port.and_then(|it| it.parse().ok()).expect("a port")
    }

    /// Has the script restart, stop or start the server, and waits until it has done so.
    pub(crate) async fn command(&self, command: &'static str) {
        tokio::task::block_in_place(|| {
            let mut script = self.script.lock().expect("no panic");
            let stdin = script.stdin.as_mut().expect("it runs");
            writeln!(stdin, "{command}").expect("it runs");
            assert_eq!(script.line(), command);
        });
    }

    /// A connection without the store.
    pub(crate) async fn admin(&self) -> Admin {
        let (client, connection) = tokio_postgres::connect(&self.url, NoTls)
            .await
            .expect("a connection");
        let mut task = JoinSet::new();
        task.spawn(async move { drop(connection.await) });
        Admin {
            client,
            _task: task,
        }
    }
}

impl Script {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("it runs");
        assert!(!line.is_empty(), "scripts/postgres ended");
        line.trim_end().to_owned()
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ended = self.process.wait();
    }
}

/// A connection of the administrator.
pub(crate) struct Admin {
    pub(crate) client: Client,
    _task: JoinSet<()>,
}

impl Admin {
    pub(crate) async fn execute(&self, statements: &str) {
        let done = self.client.batch_execute(statements).await;
        done.unwrap_or_else(|error| panic!("{statements}: {error:?}"));
    }
}

pub(crate) fn shared() -> &'static Server {
    &SHARED
}

/// The name of a schema that no other test uses.
pub(crate) fn new_schema() -> String {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    format!("test_{}", NUMBER.fetch_add(1, Ordering::SeqCst))
}

/// A URL of the shared server with a new schema, and with other parameters, such as `&timeout=3`.
pub(crate) fn new_url(parameters: &str) -> PostgresUrl {
    parse(&shared().url(&format!("schema={}{parameters}", new_schema())))
}

pub(crate) fn parse(url: &str) -> PostgresUrl {
    url.parse().expect("a URL")
}

pub(crate) async fn connect(url: &PostgresUrl) -> PostgresStore {
    PostgresStore::connect(url).await.expect("a store")
}
