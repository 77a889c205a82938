//! A shell and the processes that it starts, which end together.

use std::io;
use std::process::ExitStatus;

use tokio::process::{Child, Command};

/// The processes of a command. They are ended when this is dropped before the command has ended.
pub(super) struct Processes {
    shell: Child,
    has_ended: bool,
}

impl Processes {
    /// A command for the shell. On Unix it has a process group of its own.
    pub(super) fn shell(command: &str) -> Command {
        let (program, option) = match cfg!(windows) {
            true => ("cmd", "/C"),
            false => ("/bin/sh", "-c"),
        };
        let mut shell = Command::new(program);
        shell.args([option, command]).kill_on_drop(true);
        #[cfg(unix)]
        shell.process_group(0);
        shell
    }

    /// Runs a command until it ends, or until the limit. `None` at the limit.
    ///
    /// # Errors
    /// If the command cannot be started.
    pub(super) async fn run(
        mut command: Command,
        limit: impl Future<Output = ()>,
    ) -> io::Result<Option<ExitStatus>> {
        let mut processes = Self {
            shell: command.spawn()?,
            has_ended: false,
        };
        tokio::select! {
            status = processes.shell.wait() => {
                // What the command has left in the background is meant to run.
                processes.has_ended = true;
                status.map(Some)
            }
            () = limit => Ok(None),
        }
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        if self.has_ended {
            return;
        }
        #[cfg(unix)]
        {
            use rustix::process::{Pid, Signal, kill_process_group};

            let id = self.shell.id().and_then(|id| i32::try_from(id).ok());
            if let Some(group) = id.and_then(Pid::from_raw) {
                // They may have ended in the meantime.
                let _ = kill_process_group(group, Signal::KILL);
            }
        }
    }
}

#[cfg(unix)]
#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::*;

    /// The id of the process that the command starts in the background, when it has started.
    async fn started(file: &Path) -> String {
        loop {
            match std::fs::read_to_string(file) {
                Ok(id) if id.ends_with('\n') => return id.trim().to_owned(),
                _ => sleep(Duration::from_millis(10)).await,
            }
        }
    }

    async fn ends(id: &str) {
        let is_running = || {
            let mut shown = std::process::Command::new("ps");
            let state = shown
                .args(["-o", "stat=", "-p", id])
                .output()
                .unwrap()
                .stdout;
            // A zombie has ended.
            !state.is_empty() && !state.starts_with(b"Z")
        };
        while is_running() {
            sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn the_limit_ends_the_shell_and_what_it_has_started() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("id");
        let command = format!("sleep 1000 & echo $! >'{}'; wait", file.display());
        let limit = async { drop(started(&file).await) };
        let run = Processes::run(Processes::shell(&command), limit).await;
        assert_eq!(run.unwrap(), None);
        ends(&started(&file).await).await;
    }

    #[tokio::test]
    async fn what_a_command_leaves_in_the_background_stays() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("id");
        let command = format!("sleep 1000 & echo $! >'{}'; exit 3", file.display());
        let run = Processes::run(Processes::shell(&command), std::future::pending()).await;
        assert_eq!(run.unwrap().unwrap().code(), Some(3));
        let id = started(&file).await;
        let ended = std::process::Command::new("kill").arg(&id).status();
        assert!(ended.unwrap().success(), "it was running");
    }
}
