//! PostgreSQL, run by `scripts/postgres`.

use std::error::Error;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The longest time for a start or a restart.
const LIMIT: Duration = Duration::from_secs(120);

/// A server with an empty database. It ends when this is dropped, because its stdin is then closed.
#[derive(Debug)]
pub(super) struct Postgres {
    url: String,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _script: Child,
}

impl Postgres {
    pub(super) async fn start() -> Result<Self, Box<dyn Error>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres");
        let mut script = Command::new(script)
            .arg("max_connections=200")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = script.stdin.take().ok_or("there is no stdin")?;
        let stdout = script.stdout.take().ok_or("there is no stdout")?;
        let mut answers = BufReader::new(stdout).lines();
        let url = timeout(LIMIT, answers.next_line()).await??;
        let url = url.ok_or("PostgreSQL does not start")?;
        Ok(Self {
            url,
            commands,
            answers,
            _script: script,
        })
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server at once, as a crash does, and starts it again.
    pub(super) async fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.commands.write_all(b"restart\n").await?;
        self.commands.flush().await?;
        let answer = timeout(LIMIT, self.answers.next_line()).await??;
        match answer.as_deref() {
            Some("restart") => Ok(()),
            _ => Err("PostgreSQL was not restarted".into()),
        }
    }
}
