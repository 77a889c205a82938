//! The certificate store of the system: each case runs in its own process, with its own environment.

use std::process::{Command, Output};

use dps_tls::{ClientTls, ErrorKind, Roots};

/// Set in the processes that look.
const LOOK: &str = "DPS_TLS_TEST_LOOK";

#[test]
fn the_roots_of_the_system_are_found() {
    let dir = tempfile::tempdir().expect("a directory");
    let key = rcgen::KeyPair::generate().expect("a key");
    let root = rcgen::CertificateParams::new(Vec::new())
        .expect("valid")
        .self_signed(&key)
        .expect("signed");
    let file = dir.path().join("roots.pem");
    std::fs::write(&file, root.pem()).expect("written");

    let found = look(file.to_str().expect("UTF-8"));
    assert!(
        found.status.success(),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
}

#[test]
fn a_system_without_roots_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let found = look(dir.path().join("nothing.pem").to_str().expect("UTF-8"));
    assert_eq!(
        found.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&found.stderr)
    );
}

/// The test that the child processes run; in this process it does nothing.
#[test]
fn look_at_the_system() {
    if std::env::var_os(LOOK).is_none() {
        return;
    }
    std::process::exit(match ClientTls::new(Roots::system()).build() {
        Ok(_) => 0,
        Err(error) if error.kind() == ErrorKind::SystemRoots => 3,
        Err(_) => 4,
    });
}

fn look(roots: &str) -> Output {
    Command::new(std::env::current_exe().expect("this program"))
        .args(["--exact", "look_at_the_system"])
        .env(LOOK, "1")
        .env("SSL_CERT_FILE", roots)
        .env_remove("SSL_CERT_DIR")
        .output()
        .expect("it runs")
}
