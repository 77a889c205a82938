//! The same tests with other modules than SoftHSM. Each module reports its capabilities: see [`crate::capabilities`].

use std::process::Command;

use crate::setup::MODULE;

/// SoftHSM generates these keys in other tests, which takes long.
const SLOW: [&str; 2] = ["rsa_3072", "rsa_4096"];

#[test]
fn tpm2_pkcs11() {
    runs_all_tests("tpm2-pkcs11", &[]);
}

#[test]
fn nss() {
    if !may_mount() {
        return;
    }
    // NSS 3.87 crashes now and then after a logout through another session.
    let logouts = ["sessions::", "a_pin_that_has_changed"];
    // It does not store certificates with the attributes of these tests.
    let certificates = [
        "a_certificate_with_other_names",
        "a_key_is_found_by_the_name",
    ];
    runs_all_tests("nss", &[logouts, certificates].concat());
}

#[test]
fn p11_kit_proxy() {
    if !may_mount() {
        return;
    }
    runs_all_tests("p11-kit-proxy", &SLOW);
}

#[test]
fn p11_kit_remote() {
    runs_all_tests("p11-kit-remote", &SLOW);
}

#[test]
fn kryoptic() {
    if std::env::var_os(dps_hardware::KRYOPTIC).is_none() {
        println!("left out: {} names no module", dps_hardware::KRYOPTIC);
        return;
    }
    // It accepts shorter keys than its description of the mechanism has.
    let short_keys = ["a_key_that_the_mechanism_does_not_support"];
    runs_all_tests("kryoptic", &[&SLOW[..], &short_keys].concat());
}

/// Whether this user may mount in a namespace, which p11-kit's proxy requires here. Many containers do not allow it.
fn may_mount() -> bool {
    let mut mount = Command::new("unshare");
    mount.args([
        "--mount",
        "--map-root-user",
        "mount",
        "--bind",
        "/tmp",
        "/tmp",
    ]);
    let is_allowed = mount.status().is_ok_and(|status| status.success());
    if !is_allowed {
        println!("left out: this user may not mount in a namespace");
    }
    is_allowed
}

/// Runs the tests of this program with the module, except for these.
fn runs_all_tests(module: &str, except: &[&str]) {
    let output = Command::new(std::env::current_exe().unwrap())
        // The output has the tests that were skipped.
        .args(["--show-output", "--skip", "modules::", "--skip", "faults::"])
        .args(except.iter().flat_map(|name| ["--skip", name]))
        .env(MODULE, module)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    println!("{text}");
    assert!(output.status.success(), "{module}: {text}");
    assert!(text.contains("mutual_tls::"), "no tests have run: {text}");
}
