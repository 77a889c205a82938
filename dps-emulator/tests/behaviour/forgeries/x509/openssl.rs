//! The openssl program: keys that rustls does not have, and a second verdict on a chain.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Runs the program with this input and these files after their options. Returns its output.
pub(super) fn openssl(options: &[&str], files: &[(&str, &[u8])], input: &[u8]) -> Vec<u8> {
    let dir = tempfile::tempdir().expect("a directory");
    let mut command = Command::new("openssl");
    command.args(options);
    for (option, content) in files {
        command.arg(option).arg(file(dir.path(), option, content));
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed");
    let mut stdin = child.stdin.take().expect("a pipe");
    // A command that does not read its input may have ended.
    let _ = stdin.write_all(input);
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "openssl {options:?}: {error}");
    output.stdout
}

/// Whether `openssl verify` accepts the certificate as a TLS client's below this root.
pub(super) fn verifies(root: &str, others: &str, leaf: &str) -> bool {
    let dir = tempfile::tempdir().expect("a directory");
    // An empty file of other certificates is an error.
    let others = [others, root].concat();
    let verdict = Command::new("openssl")
        .args(["verify", "-x509_strict", "-auth_level", "2"])
        .args(["-purpose", "sslclient", "-CAfile"])
        .arg(file(dir.path(), "root", root.as_bytes()))
        .arg("-untrusted")
        .arg(file(dir.path(), "others", others.as_bytes()))
        .arg(file(dir.path(), "leaf", leaf.as_bytes()))
        .output()
        .expect("openssl is installed");
    verdict.status.success()
}

fn file(dir: &Path, name: &str, content: &[u8]) -> std::path::PathBuf {
    let path = dir.join(name.trim_start_matches('-'));
    std::fs::write(&path, content).expect("written");
    path
}
