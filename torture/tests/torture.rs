//! The short form of each kind, with the program. `scripts/test torture` runs them one after the other.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// Chance does not decide: the random choices are the same in each run. The long forms have other ones.
const SEED: &str = "1";

/// Runs a kind; its figures are printed.
fn torture(kind: &str) {
    let status = program(kind).status().expect("it runs");
    assert!(status.success(), "{kind}: {status}");
}

fn program(kind: &str) -> Command {
    let mut program = Command::new(env!("CARGO_BIN_EXE_torture"));
    program.args([kind, "--seed", SEED]);
    program
}

#[test]
#[ignore = "a step of its own"]
fn acknowledged_writes_survive_kills() {
    torture("kills");
}

#[test]
#[ignore = "a step of its own"]
fn registrations_survive_cut_connections() {
    torture("cuts");
}

#[test]
#[ignore = "a step of its own"]
fn bad_servers_are_reported() {
    torture("servers");
}

#[test]
#[ignore = "a step of its own"]
fn floods_do_not_exhaust_the_emulator() {
    torture("floods");
}

#[test]
#[ignore = "a step of its own"]
fn throttled_devices_spread_their_retries() {
    torture("storm");
}

#[test]
#[ignore = "a step of its own"]
fn damaged_files_and_full_disks_are_reported() {
    // Without a disk of its own the run leaves that part out, and states it.
    let mut run = with_mounts("damage").unwrap_or_else(|| program("damage"));
    let status = run.status().expect("it runs");
    assert!(status.success(), "{status}");
}

#[test]
#[ignore = "a step of its own"]
fn clocks_may_be_wrong_and_may_jump() {
    torture("clocks");
}

/// A run that is stopped while its disk is mounted.
#[cfg(target_os = "linux")]
#[test]
#[ignore = "a step of its own"]
fn a_run_that_is_stopped_leaves_no_mount_and_no_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let Some(mut run) = with_mounts("damage") else {
        println!("left out: this user may not mount a file system");
        return;
    };
    let mut run = run.env("TMPDIR", dir.path()).spawn().expect("it runs");
    while !is_mounted(run.id(), dir.path()) {
        let ended = run.try_wait().expect("its status");
        assert_eq!(ended, None, "it ended without a mount");
        sleep(Duration::from_millis(10));
    }
    let id = run.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &id]).status();
    assert!(sent.expect("kill runs").success());
    let ended = run.wait().expect("its status");
    assert_eq!(ended.code(), Some(1), "{ended}");
    assert!(!is_mounted(std::process::id(), dir.path()));
    let left = fs::read_dir(dir.path()).expect("the directory");
    assert_eq!(left.count(), 0);
}

/// A run that mounts a small disk: in namespaces of its own for a user who may not mount otherwise. `None` if that is refused as well.
fn with_mounts(kind: &str) -> Option<Command> {
    let run = program(kind);
    if unshare("-m") {
        return Some(run);
    }
    unshare("-rm").then(|| {
        let mut inside = Command::new("unshare");
        inside
            .arg("-rm")
            .arg(run.get_program())
            .args(run.get_args());
        inside
    })
}

/// Whether this user may have these namespaces.
fn unshare(namespaces: &str) -> bool {
    let tried = Command::new("unshare").args([namespaces, "true"]).status();
    tried.is_ok_and(|it| it.success())
}

/// Whether the process has a mount below the directory.
#[cfg(target_os = "linux")]
fn is_mounted(process: u32, dir: &Path) -> bool {
    let all = fs::read_to_string(format!("/proc/{process}/mounts")).expect("the mounts");
    all.contains(&*dir.to_string_lossy())
}
