//! A terminal: the screen as a person sees it, after all control sequences. It is a pane of `tmux`.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use super::World;

/// The size of the terminal.
const COLUMNS: &str = "100";
const LINES: &str = "24";
/// A program that does not show what a test expects after this time has failed.
const PATIENCE: Duration = Duration::from_secs(300);

/// A terminal in which one shell command runs. It ends with the value.
pub(crate) struct Screen<'w> {
    world: &'w World,
}

impl<'w> Screen<'w> {
    /// Starts the command with the variables of the emulator. Its exit code follows its output as `[exit N]`.
    pub(crate) fn start(world: &'w World, line: &str) -> Self {
        // The shell survives an interruption of the command, and then waits, so that the screen stays.
        let script = format!("trap : INT\n{line}\necho \"[exit $?]\"\nexec cat\n");
        let script = world.file("session.sh", script);
        let screen = Self { world };
        let size = ["-x", COLUMNS, "-y", LINES];
        let start = [&["-f", "/dev/null", "new-session", "-d"][..], &size].concat();
        let mut command = screen.tmux(&start);
        command.arg(format!("sh {script}")).envs(world.variables());
        run(command);
        screen
    }

    /// Waits until the screen contains this text. Returns its lines.
    pub(crate) fn wait_for(&self, text: &str) -> Vec<String> {
        let began = Instant::now();
        loop {
            let lines = self.lines();
            if lines.iter().any(|line| line.contains(text)) {
                return lines;
            }
            assert!(began.elapsed() < PATIENCE, "{text}: {lines:#?}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Presses a key, such as `C-c`.
    pub(crate) fn press(&self, key: &str) {
        run(self.tmux(&["send-keys", key]));
    }

    fn lines(&self) -> Vec<String> {
        let shown = run(self.tmux(&["capture-pane", "-p"]));
        let text = String::from_utf8(shown.stdout).unwrap();
        text.lines()
            .map(|line| line.trim_end().to_owned())
            .collect()
    }

    /// A command for a server of `tmux` that belongs to this test alone.
    fn tmux(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("tmux");
        command
            .args(arguments)
            .current_dir(&self.world.dir)
            .env("TMUX_TMPDIR", self.world.dir.path())
            .env("LC_ALL", "C.UTF-8")
            .env_remove("TMUX");
        command
    }
}

impl Drop for Screen<'_> {
    fn drop(&mut self) {
        let _ = self.tmux(&["kill-server"]).output();
    }
}

fn run(mut command: Command) -> Output {
    let output = command
        .output()
        .expect("tmux runs: scripts/test installs it, or apt-get install tmux");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}
