//! PostgreSQL, run by `scripts/postgres`.

use std::error::Error;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// The longest time for a start or a restart, on a machine with other work.
const LIMIT: Duration = Duration::from_secs(600);

/// A server with an empty database. It ends when this is dropped, because its stdin is then closed.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    _script: Child,
}

impl Postgres {
    /// Starts the server. Its data are lost when it ends.
    ///
    /// # Errors
    /// If PostgreSQL is not installed or does not start.
    pub async fn start() -> Result<Self, Box<dyn Error>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/postgres");
        let mut script = Command::new(script)
            .arg("max_connections=200")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let commands = script.stdin.take().ok_or("there is no stdin")?;
        let stdout = script.stdout.take().ok_or("there is no stdout")?;
        let mut answers = BufReader::new(stdout).lines();
        let url = timeout(LIMIT, answers.next_line()).await;
        let url = url.map_err(|_| format!("PostgreSQL does not start in {LIMIT:?}"))??;
        let url = url.ok_or("PostgreSQL does not start")?;
        Ok(Self {
            url,
            commands,
            answers,
            _script: script,
        })
    }

    /// The URL of the database, with its password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Stops the server at once, as a crash does, and starts it again.
    ///
    /// # Errors
    /// If it does not start again.
    pub async fn restart(&mut self) -> Result<(), Box<dyn Error>> {
        self.commands.write_all(b"restart\n").await?;
        self.commands.flush().await?;
        let answer = timeout(LIMIT, self.answers.next_line()).await;
        let answer = answer.map_err(|_| format!("PostgreSQL does not start in {LIMIT:?}"))??;
        match answer.as_deref() {
            Some("restart") => Ok(()),
            _ => Err("PostgreSQL was not restarted".into()),
        }
    }
}
