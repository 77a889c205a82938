//! Certificates that the service issues: `dps register --csr` and `--new-key`, `dps renew`, and a connection with the certificate.

mod common;

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use common::World;
use dps_types::Clock;
use futures_util::future::join_all;
use serde_json::{Value, json};

const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";

/// A clock of the emulator that was days before the real one.
#[derive(Debug, Clone, Default)]
struct DaysAgo(Arc<AtomicU64>);

impl Clock for DaysAgo {
    fn now(&self) -> SystemTime {
        SystemTime::now() - Duration::from_secs(self.0.load(Ordering::Relaxed) * 86400)
    }
}

/// An emulator that issues certificates for 30 days to the devices of a group.
async fn toasters(days_ago: &DaysAgo) -> World {
    let clock = Arc::new(days_ago.clone());
    let world = World::start_with(|builder| {
        let authority = "contoso/factory-1/toasters=30"
            .parse()
            .expect("names of an authority");
        builder.certificate_authority(authority).clock(clock)
    })
    .await;
    world.file("group.key", GROUP_KEY);
    let created = world
        .run(&[
            "enrollment-group",
            "create",
            "toasters",
            "--hub",
            "127.0.0.1",
            "--primary-key-file",
            "group.key",
            "--secondary-key-file",
            "group.key",
            "--certificate-authority",
            "contoso/factory-1/toasters",
        ])
        .await;
    assert_eq!(created.code, 0, "{created:?}");
    world
}

const DEVICE: [&str; 4] = [
    "--registration-id",
    "toaster-1",
    "--group-key-file",
    "group.key",
];
const PAIR: [&str; 4] = ["--new-key", "issued.key", "--certificate-out", "issued.pem"];

fn with<'a>(command: &'a str, options: &[&[&'a str]]) -> Vec<&'a str> {
    [&[command], &DEVICE[..], &options.concat()[..]].concat()
}

async fn inspected(world: &World, file: &str) -> Value {
    world.json(&["certificate", "inspect", file]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_issued_for_a_new_key_over_every_transport() {
    let world = toasters(&DaysAgo::default()).await;
    let register = async |transport: &str| {
        let id = format!("toaster-{transport}");
        let (key, chain) = (format!("{id}.key"), format!("{id}.pem"));
        let device = ["--registration-id", &id, "--group-key-file", "group.key"];
        let files = ["--new-key", &key, "--certificate-out", &chain];
        let transport = ["--transport", transport];
        let arguments = [&["register"], &device[..], &files, &transport].concat();
        let registered = world.json(&arguments).await;
        assert_eq!(registered["status"], "assigned", "{transport:?}");
        assert_eq!(registered["certificate"]["file"], json!(chain));
        assert_eq!(registered["certificate"]["keyFile"], json!(key));
        assert_eq!(registered.get("issuedCertificateChain"), None);
        let issued = inspected(&world, &chain).await;
        assert_eq!(issued.as_array().expect("a list").len(), 3);
        assert_eq!(issued[0]["subject"], json!(format!("CN={id}")));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let key = std::fs::metadata(world.path(&key)).expect("the key");
            assert_eq!(key.permissions().mode() & 0o777, 0o600);
        }
    };
    join_all(["http", "mqtt", "mqtt-ws", "amqp", "amqp-ws"].map(register)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn existing_files_are_replaced_only_on_request() {
    let world = toasters(&DaysAgo::default()).await;
    world.file("issued.key", "a key");
    world.file("issued.pem", "a certificate");
    let before = (world.read("issued.key"), world.read("issued.pem"));
    let again = world.run(&with("register", &[&PAIR])).await;
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.stderr.contains("--overwrite"), "{again:?}");
    let after = (world.read("issued.key"), world.read("issued.pem"));
    assert_eq!(before, after, "existing files stay");
    world.json(&with("register", &[&PAIR, &["--force"]])).await;
    assert!(world.read("issued.key").contains("PRIVATE KEY"));
    assert!(world.read("issued.pem").contains("CERTIFICATE"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_issued_for_the_request_of_another_program() {
    let world = toasters(&DaysAgo::default()).await;
    let csr = ["certificate", "csr", "toaster-1", "--key-type", "p384"];
    assert_eq!(world.run(&csr).await.code, 0);
    let request: [&[&str]; 1] = [&["--csr", "toaster-1.csr", "--certificate-out", "issued.pem"]];
    let registered = world.json(&with("register", &request)).await;
    assert_eq!(registered["certificate"]["keyFile"], Value::Null);
    let chain = inspected(&world, "issued.pem").await;
    assert_eq!(chain[0]["key"], "ECDSA on P-384", "{chain}");

    for (content, words) in [
        ("no request", "PKCS#10"),
        (&world.read("issued.pem"), "PKCS#10"),
    ] {
        world.file("other.csr", content);
        let other: [&[&str]; 1] = [&["--csr", "other.csr", "--certificate-out", "other.pem"]];
        let refused = world.run(&with("register", &other)).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
    let csr = ["certificate", "csr", "toaster-2"];
    assert_eq!(world.run(&csr).await.code, 0);
    let other: [&[&str]; 1] = [&["--csr", "toaster-2.csr", "--certificate-out", "other.pem"]];
    let refused = world.run(&with("register", &other)).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("toaster-2"), "{refused:?}");
    assert!(!Path::new(&world.path("other.pem")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_fails_leaves_no_files() {
    let world = toasters(&DaysAgo::default()).await;
    let update = [
        "enrollment-group",
        "update",
        "toasters",
        "--unset",
        "certificatePolicyName",
        "--unset",
        "certificateAuthorityName",
        "--unset",
        "namespaceName",
    ];
    assert_eq!(world.run(&update).await.code, 0);
    let refused = world.run(&with("register", &[&PAIR])).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    for file in [
        "issued.key",
        "issued.pem",
        "issued.key.next",
        "issued.pem.next",
    ] {
        assert!(!Path::new(&world.path(file)).exists(), "{file}");
    }
    let missing: [&[&str]; 1] = [&[
        "--new-key",
        "nowhere/issued.key",
        "--certificate-out",
        "x.pem",
    ]];
    let refused = world.run(&with("register", &missing)).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("nowhere/issued.key"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_changed_exported_and_imported_still_issues_certificates() {
    let world = toasters(&DaysAgo::default()).await;
    let issues = async |command: &str| {
        let group = world.json(&["enrollment-group", "show", "toasters"]).await;
        assert_eq!(group["namespaceName"], "contoso", "{command}");
        assert_eq!(group["certificateAuthorityName"], "factory-1", "{command}");
        assert_eq!(group["certificatePolicyName"], "toasters", "{command}");
    };
    let run = async |arguments: &[&str]| {
        let ran = world
            .run(&[&["enrollment-group"], arguments].concat())
            .await;
        assert_eq!(ran.code, 0, "{ran:?}");
        ran
    };
    for change in [
        &["disable", "toasters"][..],
        &["enable", "toasters"],
        &["update", "toasters", "--tags", r#"{"model": "t1"}"#],
        &["rotate-keys", "toasters"],
    ] {
        run(change).await;
        issues(change[0]).await;
    }
    let listed = world.json(&["enrollment-group", "list"]).await;
    assert_eq!(listed[0]["certificateAuthorityName"], "factory-1");

    for file in ["all.csv", "all.json", "all.ndjson"] {
        run(&["export", file, "--with-keys"]).await;
        run(&["import", file, "--mode", "update"]).await;
        issues(file).await;
        run(&["delete", "toasters"]).await;
        run(&["import", file]).await;
        issues(file).await;
    }
    let registered = world.json(&with("register", &[&PAIR])).await;
    assert_eq!(registered["status"], "assigned", "{registered}");
    let chain = inspected(&world, "issued.pem").await;
    assert_eq!(chain[0]["subject"], "CN=toaster-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_when_it_is_due_and_not_before() {
    let days_ago = DaysAgo::default();
    let world = toasters(&days_ago).await;
    // Without files, the certificate is due. It was issued 29 days ago, so it is due again.
    days_ago.0.store(29, Ordering::Relaxed);
    let first = world.json(&with("renew", &[&PAIR])).await;
    assert_eq!(first["renewed"], true, "{first}");
    let old = world.read("issued.key");

    days_ago.0.store(0, Ordering::Relaxed);
    let second = world.json(&with("renew", &[&PAIR])).await;
    assert_eq!(second["renewed"], true, "{second}");
    assert_ne!(old, world.read("issued.key"), "the key is new");
    let pair = (world.read("issued.key"), world.read("issued.pem"));
    let third = world.json(&with("renew", &[&PAIR])).await;
    assert_eq!(third["renewed"], false, "{third}");
    assert!(third["due"].is_string(), "{third}");
    assert_eq!(pair, (world.read("issued.key"), world.read("issued.pem")));
    let needs = world
        .run(&["certificate", "needs-renewal", "issued.pem"])
        .await;
    assert_eq!(needs.code, 8, "{needs:?}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_command_after_a_renewal_gets_the_files_and_its_failure_is_reported() {
    let world = toasters(&DaysAgo::default()).await;
    let command = r#"printf '%s\n' "$DPS_REGISTRATION_ID" "$DPS_CERTIFICATE_FILE" "$DPS_PRIVATE_KEY_FILE" \
        "$DPS_VALID_UNTIL" "${DPS_CONNECTION_STRING-none}" >hook.txt; cat "$DPS_CERTIFICATE_FILE" >copy.pem; echo noise"#;
    let options = with("renew", &[&PAIR, &["--exec", command]]);
    let renewed = world.json(&options).await;
    let lines = world.read("hook.txt");
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[0], "toaster-1");
    assert!(Path::new(lines[1]).is_absolute() && lines[1].ends_with("issued.pem"));
    assert!(Path::new(lines[2]).is_absolute() && lines[2].ends_with("issued.key"));
    assert_eq!(lines[3], renewed["certificate"]["validUntil"]);
    assert_eq!(lines[4], "none", "the command gets no secrets");
    assert_eq!(world.read("copy.pem"), world.read("issued.pem"));

    let failing = with("renew", &[&PAIR, &["--now", "--exec", "exit 3"]]);
    let failed = world.run(&failing).await;
    assert_eq!(failed.code, 7, "{failed:?}");
    assert!(failed.stderr.contains("exit code 3"), "{failed:?}");
    assert_ne!(
        world.read("copy.pem"),
        world.read("issued.pem"),
        "the certificate is kept"
    );
    let kept = world.json(&with("renew", &[&PAIR])).await;
    assert_eq!(kept["renewed"], false, "{kept}");
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_renews_reports_a_failing_command_and_ends_with_sigterm() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

    let world = toasters(&DaysAgo::default()).await;
    let daemon = ["--watch", "--exec", "exit 3", "-o", "ndjson"];
    let mut daemon = world.spawn(&with("renew", &[&PAIR, &daemon]), Stdio::null());
    let mut lines = BufReader::new(daemon.stdout.take().unwrap()).lines();
    let renewed = lines.next_line().await.unwrap().unwrap();
    let renewed: Value = serde_json::from_str(&renewed).unwrap();
    assert_eq!(renewed["renewed"], true);
    let mut errors = BufReader::new(daemon.stderr.take().unwrap());
    let mut line = String::new();
    errors.read_line(&mut line).await.unwrap();
    assert!(line.contains("exit code 3"), "{line}");

    common::terminate(&daemon);
    let status = daemon.wait().await.unwrap();
    let mut rest = String::new();
    errors.read_to_string(&mut rest).await.unwrap();
    assert_eq!(status.code(), Some(0), "{rest}");
    assert_eq!(lines.next_line().await.unwrap(), None);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_processes_of_the_command_end_with_the_program() {
    let world = toasters(&DaysAgo::default()).await;
    let command = "sleep 1000 & echo $! >id.txt; wait";
    for (mode, code) in [(&["--watch"][..], 0), (&[], 7)] {
        let exec = ["--now", "--exec", command];
        let options = with("renew", &[&PAIR, &exec, mode]);
        let mut program = world.spawn(&options, Stdio::null());
        let id = loop {
            match std::fs::read_to_string(world.path("id.txt")) {
                Ok(id) if id.ends_with('\n') => break id,
                _ => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        };
        common::terminate(&program);
        assert_eq!(program.wait().await.unwrap().code(), Some(code), "{mode:?}");
        while common::is_running(id.trim()) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::fs::remove_file(world.path("id.txt")).unwrap();
    }
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_daemon_waits_after_a_refusal_and_ends_with_sigterm() {
    use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

    let world = toasters(&DaysAgo::default()).await;
    let disable = ["enrollment-group", "disable", "toasters"];
    assert_eq!(world.run(&disable).await.code, 0);
    let mut daemon = world.spawn(&with("renew", &[&PAIR, &["--daemon"]]), Stdio::null());
    let mut errors = BufReader::new(daemon.stderr.take().unwrap()).lines();
    let mut seen = Vec::new();
    while let Some(line) = errors.next_line().await.unwrap() {
        let is_last = line.contains("the next attempt is in");
        seen.push(line);
        if is_last {
            break;
        }
    }
    assert!(
        seen.iter().any(|line| line.contains("disabled")),
        "{seen:?}"
    );
    common::terminate(&daemon);
    assert_eq!(daemon.wait().await.unwrap().code(), Some(0), "{seen:?}");
    let mut printed = String::new();
    let stdout = daemon.stdout.take();
    stdout.unwrap().read_to_string(&mut printed).await.unwrap();
    assert_eq!(printed, "");
    assert!(!Path::new(&world.path("issued.key")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_files_of_another_device_are_not_replaced() {
    let world = toasters(&DaysAgo::default()).await;
    let options: [&[&str]; 1] = [&PAIR];
    let other: Vec<_> = with("register", &options)
        .into_iter()
        .map(|word| {
            if word == "toaster-1" {
                "toaster-2"
            } else {
                word
            }
        })
        .collect();
    world.json(&other).await;
    let pair = (world.read("issued.key"), world.read("issued.pem"));
    let refused = world.run(&with("renew", &[&PAIR])).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("toaster-1"), "{refused:?}");
    assert_eq!(pair, (world.read("issued.key"), world.read("issued.pem")));
    world.file("issued.pem", "damaged");
    assert_eq!(world.run(&with("renew", &[&PAIR])).await.code, 2);
    let replaced = world.json(&with("renew", &[&PAIR, &["--overwrite"]])).await;
    assert_eq!(replaced["renewed"], true, "{replaced}");
    assert_eq!(
        inspected(&world, "issued.pem").await[0]["subject"],
        "CN=toaster-1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_interrupted_between_its_files_is_completed() {
    let world = toasters(&DaysAgo::default()).await;
    world.json(&with("register", &[&PAIR])).await;
    let old = world.read("issued.pem");
    world.json(&with("renew", &[&PAIR, &["--now"]])).await;
    // The key was renamed before the power failed, the chain was not.
    let new = world.read("issued.pem");
    world.file("issued.pem.next", &new);
    world.file("issued.pem", old);
    let completed = world.json(&with("renew", &[&PAIR])).await;
    assert_eq!(completed["renewed"], false, "{completed}");
    assert_eq!(world.read("issued.pem"), new);
    assert!(!Path::new(&world.path("issued.pem.next")).exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_that_was_written_and_not_renamed_is_used_unless_it_is_of_another_device() {
    let world = toasters(&DaysAgo::default()).await;
    world.json(&with("register", &[&PAIR])).await;
    let pair = (world.read("issued.key"), world.read("issued.pem"));
    world.file("issued.key.next", "damaged");
    world.file("issued.pem.next", &pair.1);
    let kept = world.json(&with("renew", &[&PAIR])).await;
    assert_eq!(kept["renewed"], false, "{kept}");
    assert_eq!(pair, (world.read("issued.key"), world.read("issued.pem")));

    let other = ["--new-key", "new.key", "--certificate-out", "new.pem"];
    world.json(&with("register", &[&other])).await;
    let new = (world.read("new.key"), world.read("new.pem"));
    world.file("issued.key.next", &new.0);
    world.file("issued.pem.next", &new.1);
    let completed = world.json(&with("renew", &[&PAIR])).await;
    assert_eq!(completed["renewed"], false, "{completed}");
    assert_eq!(new, (world.read("issued.key"), world.read("issued.pem")));
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn the_emulator_of_a_command_issues_certificates() {
    let script = r#"
        set -e
        "$DPS" enrollment create toaster-1 --primary-key-file key --secondary-key-file key \
            --certificate-authority contoso/factory-1/toasters
        "$DPS" register --registration-id toaster-1 --key-file key --new-key issued.key --certificate-out issued.pem
        "$DPS" certificate needs-renewal issued.pem
    "#;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("key"), GROUP_KEY).unwrap();
    let authority = ["--certificate-authority", "contoso/factory-1/toasters=30"];
    let exec = ["emulator", "exec"];
    let command = ["--", "sh", "-c", script];
    let mut command = common::dps(&[&exec[..], &authority, &command].concat());
    command
        .current_dir(&directory)
        .env("DPS", env!("CARGO_BIN_EXE_dps"));
    let ran = common::Ran::of(command).await;
    assert_eq!(ran.code, 8, "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_connects_with_the_issued_certificate_in_one_file() {
    let world = toasters(&DaysAgo::default()).await;
    let pair = ["--new-key", "issued.pem", "--certificate-out", "issued.pem"];
    let hub = [
        "--hub-host",
        "localhost",
        "--cache",
        "assignment.json",
        "--once",
    ];
    let connect = with("connect", &[&pair, &hub]);
    let twin = world.json(&connect).await;
    assert_eq!(twin, json!({"desired": {}, "reported": {}}));
    let issued = world.read("issued.pem");
    assert!(issued.contains("PRIVATE KEY") && issued.contains("CERTIFICATE"));
    world.json(&connect).await;
    assert_eq!(
        world.read("issued.pem"),
        issued,
        "the certificate is used again"
    );

    world.emulator.issuance().revoke("toaster-1").await.unwrap();
    world.json(&connect).await;
    assert_ne!(world.read("issued.pem"), issued, "the hub refused it");
}
