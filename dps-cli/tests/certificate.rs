//! The certificate commands: what they write is accepted by the emulator, and what they read is described.

mod common;

use std::time::{Duration, SystemTime};

use common::{Ran, World};
use dps_emulator::{CertificateAuthority, DeviceCredentials};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_of_an_own_ca_registers_and_has_no_problem() {
    let world = World::start().await;
    for arguments in [
        &["certificate", "create-ca", "Contoso Root"][..],
        &[
            "certificate",
            "issue",
            "Contoso Line",
            "--intermediate",
            "--certificate",
            "line.pem",
            "--private-key",
            "line.key",
        ],
        &[
            "certificate",
            "issue",
            "toaster-1",
            "--ca",
            "line.pem",
            "--ca-key",
            "line.key",
            "--key-type",
            "p384",
        ],
        &[
            "enrollment-group",
            "create",
            "toasters",
            "--certificate",
            "ca.pem",
        ],
        &[
            "register",
            "--certificate",
            "toaster-1.pem",
            "--private-key",
            "toaster-1.key",
        ],
        &[
            "doctor",
            "--certificate",
            "toaster-1.pem",
            "--private-key",
            "toaster-1.key",
        ],
        // The key stays at the device.
        &["certificate", "csr", "toaster-2"],
        &[
            "certificate",
            "issue",
            "toaster-2",
            "--ca",
            "line.pem",
            "--ca-key",
            "line.key",
            "--request",
            "toaster-2.csr",
        ],
        &[
            "register",
            "--certificate",
            "toaster-2.pem",
            "--private-key",
            "toaster-2.key",
            "--transport",
            "amqp",
        ],
    ] {
        let ran = world.run(arguments).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    }
    assert_eq!(
        world
            .read("toaster-1.pem")
            .matches("BEGIN CERTIFICATE")
            .count(),
        2
    );
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(world.path("ca.key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o077, 0, "the key is readable by others");
    }
    let again = world
        .run(&["certificate", "create-ca", "Contoso Root"])
        .await;
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.stderr.contains("--overwrite"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_verification_code_is_proven() {
    let world = World::start().await;
    assert_eq!(
        world
            .run(&["certificate", "create-ca", "Contoso Root"])
            .await
            .code,
        0
    );
    let code = "75F86466EB5D8B5E6DA96FD5DC2F55F0B8D4D0DF9C8F2A01";
    let proof = world
        .run(&["certificate", "proof-of-possession", code])
        .await;
    assert_eq!(proof.code, 0, "{proof:?}");
    let described = world
        .json(&["certificate", "inspect", "verification.pem"])
        .await;
    assert_eq!(described[0]["subject"], format!("CN={code}"));
    assert_eq!(described[0]["issuer"], "CN=Contoso Root");
    assert_eq!(
        world
            .run(&["certificate", "proof-of-possession", "not a code"])
            .await
            .code,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_or_a_certificate_of_a_device_is_not_a_ca() {
    let world = World::start().await;
    assert_eq!(
        world
            .run(&["certificate", "create-ca", "Contoso Root"])
            .await
            .code,
        0
    );
    let device = DeviceCredentials::self_signed("toaster-1").unwrap();
    world.file("device.pem", device.certificate_pem());
    world.file("device.key", device.private_key_pem());
    let not_ca = world
        .run(&[
            "certificate",
            "issue",
            "x",
            "--ca",
            "device.pem",
            "--ca-key",
            "device.key",
        ])
        .await;
    assert!(
        not_ca.code == 2 && not_ca.stderr.contains("not the certificate of a CA"),
        "{not_ca:?}"
    );
    let wrong_key = world
        .run(&["certificate", "issue", "x", "--ca-key", "device.key"])
        .await;
    assert!(
        wrong_key.code == 2 && wrong_key.stderr.contains("is not the private key"),
        "{wrong_key:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_needs_to_be_renewed_near_its_end() {
    let world = World::start().await;
    let root = CertificateAuthority::new("Contoso Root").unwrap();
    let day = Duration::from_secs(24 * 60 * 60);
    let now = SystemTime::now();
    for (validity, code) in [
        (now - 90 * day..now + 10 * day, 0),
        (now - 10 * day..now + 90 * day, 8),
    ] {
        let device = root.issue_with_validity("toaster-1", validity).unwrap();
        world.file("device.pem", device.certificate_pem());
        let ran = world
            .run(&["certificate", "needs-renewal", "device.pem"])
            .await;
        assert_eq!(ran.code, code, "{ran:?}");
    }
    assert_eq!(
        world
            .run(&["certificate", "needs-renewal", "nowhere.pem"])
            .await
            .code,
        2
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_described_in_words() {
    let world = World::start().await;
    assert_eq!(
        world
            .run(&["certificate", "create-ca", "Contoso Root"])
            .await
            .code,
        0
    );
    let table = world.run(&["certificate", "inspect", "ca.pem"]).await;
    for words in [
        "CN=Contoso Root",
        "itself",
        "ECDSA on P-256",
        "keyCertSign",
        "valid",
    ] {
        assert!(table.stdout.contains(words), "{words}: {}", table.stdout);
    }
    let key = world.json(&["certificate", "inspect", "ca.key"]).await;
    assert_eq!(key[0]["kind"], "private key");
    assert!(!key.to_string().contains("MI"), "the key is not printed");
    let fixture = |name: &str| format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    let pfx = world
        .run(&["certificate", "inspect", &fixture("device.pfx")])
        .await;
    assert!(pfx.code == 2 && pfx.stderr.contains("PKCS#12"), "{pfx:?}");
    assert!(pfx.stderr.contains("--password-file"), "{pfx:?}");
    world.file("password.txt", "contoso\n");
    world.file("wrong.txt", "fabrikam\n");
    for file in ["device-password.pfx", "device-legacy.pfx"] {
        let inspect = ["certificate", "inspect", &fixture(file), "--password-file"];
        let content = world
            .json(&[&inspect[..], &["password.txt"]].concat())
            .await;
        assert_eq!(content[0]["kind"], "certificate", "{content}");
        assert_eq!(content[0]["key"], "ECDSA on P-256", "{content}");
        assert_eq!(content[1]["kind"], "private key", "{content}");
        let wrong = world.run(&[&inspect[..], &["wrong.txt"]].concat()).await;
        assert!(
            wrong.code == 2 && wrong.stderr.contains("password"),
            "{wrong:?}"
        );
        assert!(
            !wrong.stderr.contains("fabrikam"),
            "the password is not printed"
        );
    }
    let mut command = world.command(&["certificate", "inspect", &fixture("device-password.pfx")]);
    command.env("DPS_FILE_PASSWORD", "contoso");
    let ran = Ran::of(command).await;
    assert!(
        ran.code == 0 && ran.stdout.contains("private key"),
        "{ran:?}"
    );
    let whole = std::fs::read(fixture("device-password.pfx")).unwrap();
    for length in [4, 10, 100, whole.len() - 1] {
        world.file("cut.pfx", &whole[..length]);
        let cut = world.run(&["certificate", "inspect", "cut.pfx"]).await;
        assert_eq!(cut.code, 2, "{length}: {cut:?}");
    }
    let chain = world
        .json(&["certificate", "inspect", &fixture("glued-chain.pem")])
        .await;
    assert_eq!(chain.as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_pfx_that_asks_for_much_work_is_refused() {
    let fixture = |name: &str| format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    for (file, words) in [
        ("hostile-iterations.pfx", "5400000 iterations"),
        ("hostile-memory.pfx", "1073741824 bytes of memory"),
    ] {
        let refused = Ran::of(common::dps(&["certificate", "inspect", &fixture(file)])).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains(words), "{refused:?}");
    }
}
