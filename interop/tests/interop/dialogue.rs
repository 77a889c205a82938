//! Sends commands to a script and reads the answers, one line of JSON each.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// Time limit for one answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(45);

/// A running script. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Dialogue {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _process: Child,
}

impl Dialogue {
    /// Starts the program.
    ///
    /// # Panics
    /// When it does not run.
    pub(crate) fn start(program: &mut Command) -> Self {
        let mut process = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            // Its arguments may hold a key.
            .unwrap_or_else(|error| panic!("{:?}: {error}", program.as_std().get_program()));
        Self {
            commands: process.stdin.take().expect("stdout and stdin are piped"),
            answers: BufReader::new(process.stdout.take().expect("stdout and stdin are piped")),
            _process: process,
        }
    }

    /// Sends a command and returns the answer. Null fields of the command are left out.
    ///
    /// # Errors
    /// Returns the error that the program reports.
    ///
    /// # Panics
    /// When it does not answer.
    pub(crate) async fn ask<E: DeserializeOwned>(
        &mut self,
        mut command: Value,
    ) -> Result<Value, E> {
        let fields = command.as_object_mut().expect("an object");
        fields.retain(|_, value| !value.is_null());
        let line = timeout(ANSWER_DEADLINE, self.exchange(&command))
            .await
            .unwrap_or_else(|_| panic!("no answer to {command}"));
        let answer = serde_json::from_str(&line);
        match answer.unwrap_or_else(|error| panic!("{error}: {command}: {line:?}")) {
            Answer::Result(result) => Ok(result),
            Answer::Error(error) => Err(error),
        }
    }

    async fn exchange(&mut self, command: &Value) -> String {
        let mut line = format!("{command}\n");
        let written = self.commands.write_all(line.as_bytes()).await;
        written.expect("the command is written");
        line.clear();
        let read = self.answers.read_line(&mut line).await;
        read.expect("the answer is read");
        line
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer<E> {
    Result(Value),
    Error(E),
}
