//! Runs the commands and programs of README.md and of the book as a new user would, against the emulator with its default
//! options.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use crate::emulator::{TURN, binary};

const README: &str = include_str!("../../../README.md");
const EMULATOR: &str = include_str!("../../../docs/book/src/emulator.md");
const COMMAND_LINE: &str = include_str!("../../../docs/book/src/command-line.md");
const OTHER_LANGUAGES: &str = include_str!("../../../docs/book/src/other-languages.md");
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
#[ignore = "needs Microsoft's SDKs and ports 8443 and 8883: scripts/test interop"]
async fn the_devices_of_the_readme_register() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let commands = block(README, "sh", "--control-port");
    let (mut emulator, _stdout) = start(&commands, folder).await;

    let curl = commands.lines().find_map(|line| {
        line.split('#')
            .next()
            .filter(|line| line.starts_with("curl "))
    });
    run(Command::new("sh").args(["-ec", curl.unwrap()]), folder).await;
    let output = run(&mut Command::new(example("readme_device")), folder).await;
    assert!(
        README.contains(&format!("`cargo run` prints `{}`", output.trim())),
        "{output}"
    );

    let commands = block(README, "sh", "python3 ");
    let python = commands
        .lines()
        .find_map(|line| line.strip_prefix("python3 "));
    let (device, comment) = python.unwrap().split_once('#').unwrap();
    let device = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(device.trim());
    let python = sdk("python/.venv/bin/python");
    let output = run(Command::new(python).arg(&device), folder).await;
    assert_eq!(comment.trim().strip_prefix("prints: "), Some(output.trim()));

    let page = run(
        Command::new("curl").args(["-fsS", "http://127.0.0.1:8080"]),
        folder,
    )
    .await;
    assert!(page.contains("toaster-1"), "{page}");
    emulator.kill().await.unwrap();
}

#[tokio::test]
#[ignore = "needs Microsoft's SDKs and ports 8443 and 8883: scripts/test interop"]
async fn the_devices_of_the_book_register() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let command = block(EMULATOR, "sh", "dps-emulator --bearer-token");
    let (mut emulator, _stdout) = start(&command, folder).await;
    enroll(folder).await;
    register_with_sdks(OTHER_LANGUAGES, folder).await;

    let command = block(EMULATOR, "sh", "instances=https");
    let output = run(Command::new("sh").args(["-ec", &command]), folder).await;
    assert!(output.contains("\"idScope\":\"0ne"), "{output}");
    assert!(output.contains("\"primaryKey\":"), "{output}");

    for script in ["token.sh", "register.sh"] {
        let text = block(OTHER_LANGUAGES, "sh", &format!("# usage: {script} "));
        fs::write(folder.join(script), text).unwrap();
    }
    let command = block(OTHER_LANGUAGES, "sh", "sh register.sh 0ne");
    let output = run(Command::new("sh").args(["-c", &command]), folder).await;
    let answer: serde_json::Value = serde_json::from_str(&output).expect(&output);
    assert_eq!(answer["status"], "assigned", "{answer}");
    assert_eq!(answer["registrationState"]["assignedHub"], "127.0.0.1");

    // It ends without an error when the hub has acknowledged the message.
    let command = block(OTHER_LANGUAGES, "sh", "mosquitto_pub");
    run(Command::new("sh").args(["-ec", &command]), folder).await;
    emulator.kill().await.unwrap();
}

/// Creates the enrollment of toaster-1 as the book does.
async fn enroll(folder: &Path) {
    let enrollment = block(EMULATOR, "sh", "curl --cacert");
    let command = format!("{} --fail -sS", enrollment.trim_end());
    let output = run(Command::new("sh").args(["-c", &command]), folder).await;
    assert!(
        output.contains("\"registrationId\":\"toaster-1\""),
        "{output}"
    );
}

/// Runs the programs of a document for Microsoft's SDKs for Python and Node.
async fn register_with_sdks(document: &str, folder: &Path) {
    let ca = folder.join("dps-emulator-data/ca.pem");
    let device = folder.join("device.py");
    fs::write(
        &device,
        block(document, "python", "ProvisioningDeviceClient"),
    )
    .unwrap();
    let python = sdk("python/.venv/bin/python");
    let output = run(
        Command::new(python).arg(&device).env("SSL_CERT_FILE", &ca),
        folder,
    )
    .await;
    assert_eq!(output.trim(), "assigned toaster-1 127.0.0.1");

    // Node looks for packages in the folder of the program and above it.
    let packages = folder.join("node_modules");
    std::os::unix::fs::symlink(sdk("node/node_modules"), packages).unwrap();
    let device = folder.join("device.mjs");
    fs::write(&device, block(document, "js", "ProvisioningDeviceClient")).unwrap();
    let output = run(
        Command::new("node")
            .arg(&device)
            .env("NODE_EXTRA_CA_CERTS", &ca),
        folder,
    )
    .await;
    assert_eq!(output.trim(), "assigned toaster-1 127.0.0.1");
}

#[tokio::test]
#[ignore = "needs the program dps: scripts/test interop"]
async fn the_commands_of_the_book_register_a_device() {
    let _turn = TURN.lock().await;
    let folder = tempfile::tempdir().unwrap();
    let commands = block(COMMAND_LINE, "sh", "dps emulator exec");
    let programs = binary().parent().unwrap().display().to_string();
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("sh");
    shell
        .args(["-ec", &commands])
        .env("PATH", format!("{programs}:{path}"));
    let output = run(&mut shell, folder.path()).await;
    for expected in ["initialAssignment", "reprovisionedToInitialAssignment"] {
        assert!(output.contains(expected), "{output}");
    }
}

/// The Rust program of the README is the example that the test above runs.
#[test]
fn the_rust_program_of_the_readme_is_the_example() {
    let example = include_str!("../../../examples/readme_device.rs");
    let program: String = example
        .lines()
        .filter(|line| !line.starts_with("//!"))
        .map(|line| format!("{line}\n"))
        .collect();
    assert_eq!(program, block(README, "rust,no_run", "with_port(8443)"));
}

/// The first code block in this language that contains this text; empty without a match.
fn block(document: &str, language: &str, text: &str) -> String {
    let blocks = document.split("```").skip(1).step_by(2);
    let found = blocks.filter_map(|block| block.strip_prefix(&format!("{language}\n")));
    found
        .into_iter()
        .find(|block| block.contains(text))
        .unwrap_or_default()
        .to_owned()
}

/// Starts the emulator in this folder, with the options of the command in these lines.
async fn start(commands: &str, folder: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut lines = commands.lines();
    let options = lines
        .find_map(|line| {
            line.strip_prefix("cargo run -p dps-emulator -- ")
                .or_else(|| line.strip_prefix("dps-emulator "))
        })
        .and_then(|options| options.split('#').next())
        .expect("the command");
    let mut emulator = Command::new(binary());
    emulator
        .args(options.split_whitespace())
        .current_dir(folder);
    let mut emulator = emulator
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut stdout = BufReader::new(emulator.stdout.take().unwrap());
    let mut ready = String::new();
    timeout(TIMEOUT, stdout.read_line(&mut ready))
        .await
        .expect("the emulator is ready in time")
        .unwrap();
    assert!(ready.contains("\"ready\":true"), "{ready}");
    (emulator, stdout)
}

/// Runs a command in this folder and returns its output.
async fn run(command: &mut Command, folder: &Path) -> String {
    let command = command
        .current_dir(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    let output = timeout(TIMEOUT, command.output())
        .await
        .expect("the command ends in time");
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("the command starts");
    let (stdout, stderr) = (
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr),
    );
    assert!(status.success(), "{command:?}: {status}: {stdout}{stderr}");
    stdout.into_owned()
}

fn sdk(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn example(name: &str) -> PathBuf {
    binary().with_file_name("examples").join(name)
}
