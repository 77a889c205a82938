//! A program that takes commands, and answers each, as lines of JSON.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

/// When we give the program up.
const ANSWER_DEADLINE: Duration = Duration::from_secs(45);

/// A program in conversation. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Dialogue {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
    _process: Child,
}

impl Dialogue {
    /// Runs it.
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
            commands: process.stdin.take().expect("it is piped"),
            answers: BufReader::new(process.stdout.take().expect("it is piped")),
            _process: process,
        }
    }

    /// Its answer to a command, of which what is null is left out.
    ///
    /// # Errors
    /// What the program says went wrong.
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
        written.expect("the program listens");
        line.clear();
        let read = self.answers.read_line(&mut line).await;
        read.expect("the program speaks");
        line
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum Answer<E> {
    Result(Value),
    Error(E),
}
