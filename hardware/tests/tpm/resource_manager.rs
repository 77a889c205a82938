//! One TPM for two programs: the resource manager tpm2-abrmd on swtpm, with tpm2-tools as the other program.

use std::env;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use dps_device::attestation::TpmKeys;
use dps_device::tpm::{KeyKind, Tpm, TpmAttestation, TpmOptions};
use dps_hardware::{ResourceManager, Swtpm};
use dps_types::sas::Sign;
use tempfile::TempDir;

use crate::authority::Authority;
use crate::raw;
use crate::wrap::{hmac, wrap};

const TCTI: &str = ResourceManager::TCTI;
/// The library of the TCTI reads the address of the bus from the environment, so the clients have their own process.
const CHILD: &str = "DPS_RESOURCE_MANAGER_CHILD";

fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(arguments[0]);
    command
        .args(&arguments[1..])
        .env("TPM2TOOLS_TCTI", TCTI)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command
}

#[test]
fn another_program_uses_the_tpm_at_the_same_time() {
    if env::var_os(CHILD).is_some() {
        return both_programs();
    }
    let swtpm = Swtpm::start();
    let manager = ResourceManager::start(&swtpm);
    let (variable, address) = manager.variable();
    let name = concat!(
        module_path!(),
        "::another_program_uses_the_tpm_at_the_same_time"
    );
    let (_, name) = name.split_once("::").unwrap();
    let output = Command::new(env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(variable, address)
        .env(CHILD, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{errors}");
    assert!(text.contains("1 passed"), "{text}");

    // swtpm serves one connection at a time: that of the resource manager ends first.
    manager.stop();
    assert!(raw::left_behind(&swtpm).is_empty());
}

#[tokio::main(flavor = "multi_thread")]
async fn both_programs() {
    let ours_done = AtomicBool::new(false);
    let (runs, handle) = (AtomicUsize::new(0), tokio::runtime::Handle::current());
    thread::scope(|scope| {
        let (done, runs) = (&ours_done, &runs);
        let theirs = scope.spawn(move || {
            let folder = tempfile::tempdir().unwrap();
            while !done.load(Ordering::SeqCst) || runs.load(Ordering::SeqCst) < 3 {
                sign_with_tools(&folder);
                runs.fetch_add(1, Ordering::SeqCst);
            }
        });
        let ours = scope.spawn(move || {
            handle.block_on(ours());
            done.store(true, Ordering::SeqCst);
        });
        // A failure of ours ends the other program as well.
        let result = ours.join();
        done.store(true, Ordering::SeqCst);
        theirs.join().unwrap();
        result.unwrap();
    });
}

/// The other program: it creates a key, signs with it, and uses a session.
fn sign_with_tools(folder: &TempDir) {
    for arguments in [
        &[
            "tpm2_createprimary",
            "-Q",
            "-C",
            "o",
            "-G",
            "ecc",
            "-c",
            "parent",
        ][..],
        &[
            "tpm2_create",
            "-Q",
            "-C",
            "parent",
            "-G",
            "ecc",
            "-u",
            "public",
            "-r",
            "private",
        ],
        &[
            "tpm2_load",
            "-Q",
            "-C",
            "parent",
            "-u",
            "public",
            "-r",
            "private",
            "-c",
            "key",
        ],
        &[
            "tpm2_sign",
            "-Q",
            "-c",
            "key",
            "-g",
            "sha256",
            "-o",
            "signature",
            "parent",
        ],
        &["tpm2_startauthsession", "-Q", "-S", "session"],
        &["tpm2_flushcontext", "-Q", "session"],
    ] {
        let output = tool(arguments)
            .current_dir(folder.path())
            .stderr(Stdio::piped())
            .output()
            .expect("tpm2-tools are installed (package tpm2-tools)");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
    }
}

/// Our library, twice at the same time: challenges and hub keys, and signatures of a key pair.
async fn ours() {
    let open = || Tpm::open(TpmOptions::default().with_tcti(TCTI.parse().unwrap()));
    let (tpm, another) = (open().await.unwrap(), open().await.unwrap());
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let pair = another.key_pair().create(KeyKind::P256).await.unwrap();
    let request = async || {
        let device = "toaster-007".parse().unwrap();
        pair.certificate_request(&device).await.unwrap()
    };
    another
        .stored_chain()
        .write(Authority::new().sign(&request().await))
        .await
        .unwrap();
    let attest = async {
        for number in 0..10 {
            let key = [number; 32];
            who.activate(&wrap(&who, &key)).await.unwrap();
            assert_eq!(who.sign(b"data").await.unwrap().0, hmac(&key, b"data"));
            who.keep_hub_key(&wrap(&who, &key)).await.unwrap();
            let signed = tpm.hub_signer().sign(b"hub").await.unwrap();
            assert_eq!(signed.0, hmac(&key, b"hub"));
        }
    };
    let sign = async {
        for _ in 0..20 {
            request().await;
            pair.stored_identity(&another.stored_chain()).await.unwrap();
        }
    };
    tokio::join!(attest, sign);
}
