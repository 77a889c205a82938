//! `dps register`, `dps lookup` and `dps connect` with a TPM: swtpm.
#![cfg(feature = "tpm")]

mod common;

use common::World;
use dps_device::Attestation;
use dps_device::tpm::{NvIndex, Tpm, TpmAttestation, TpmOptions};
use dps_hardware::Swtpm;
use serde_json::json;

/// The registration id of the TPM, and its endorsement key in base64. The connection to the TPM is closed again.
async fn identity(swtpm: &Swtpm) -> (String, String) {
    let tcti = swtpm.tcti().parse().expect("a valid TCTI");
    let tpm = Tpm::open(TpmOptions::default().with_tcti(tcti));
    let tpm = tpm.await.expect("swtpm answers");
    let device = TpmAttestation::new(&tpm).await.expect("a TPM with keys");
    (
        device.registration_id().to_string(),
        device.endorsement_key().to_base64(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_with_a_tpm_registers_and_connects() {
    let world = World::start().await;
    let swtpm = Swtpm::start();
    let tcti = swtpm.tcti();
    let (id, endorsement_key) = identity(&swtpm).await;
    world.file("ek.txt", endorsement_key);
    let enroll = ["enrollment", "create", &id, "--hub", "127.0.0.1"];
    let enroll = [&enroll[..], &["--endorsement-key-file", "ek.txt"]].concat();
    let enrolled = world.run(&enroll).await;
    assert_eq!(enrolled.code, 0, "{enrolled:?}");

    for transport in ["http", "amqp"] {
        let register = ["register", "--tpm", &tcti, "--transport", transport];
        let assigned = world.json(&register).await;
        assert_eq!(assigned["registrationId"], json!(id), "{transport}");
        assert_eq!(assigned["status"], "assigned", "{transport}");
    }
    let connect = [
        "connect",
        "--tpm",
        &tcti,
        "--hub-host",
        "localhost",
        "--once",
    ];
    let report = ["--report", r#"{"firmware": "1.2"}"#];
    world.json(&[&connect[..], &report].concat()).await;
    let twin = world.json(&connect).await;
    assert_eq!(twin["reported"], json!({"firmware": "1.2"}));

    // DPS supports TPM attestation over HTTPS and AMQP only.
    let mqtt = ["register", "--tpm", &tcti, "--transport", "mqtt"];
    let refused = world.run(&mqtt).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("TPM"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_that_is_not_there_is_an_error_with_its_cause() {
    let world = World::start().await;
    let mut swtpm = Swtpm::start();
    swtpm.stop();
    let refused = world.run(&["register", "--tpm", &swtpm.tcti()]).await;
    assert_ne!(refused.code, 0, "{refused:?}");
    assert!(refused.stderr.contains("TPM"), "{refused:?}");
    let invalid = world.run(&["register", "--tpm", "nonsense"]).await;
    assert_eq!(invalid.code, 2, "{invalid:?}");
    assert!(invalid.stderr.contains("TCTI"), "{invalid:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_an_endorsement_key_is_checked_before_the_enrollment() {
    let world = World::start().await;
    let (swtpm, another) = (Swtpm::manufactured(), Swtpm::manufactured());
    let (id, endorsement_key) = identity(&swtpm).await;
    world.file("ek.txt", endorsement_key);
    world.file("another.txt", identity(&another).await.1);
    let (roots, intermediates) = swtpm.manufacturer();
    world.file("roots.pem", roots);
    world.file("intermediates.pem", intermediates);
    world.file("other-roots.pem", another.manufacturer().0);
    let tpm = Tpm::open(TpmOptions::default().with_tcti(swtpm.tcti().parse().unwrap()));
    let index = NvIndex::RSA_ENDORSEMENT_CERTIFICATE;
    let certificate = tpm.await.unwrap().endorsement_certificate(index).await;
    let certificate = certificate.unwrap().expect("a certificate");
    std::fs::write(world.path("ek.der"), &certificate).unwrap();

    let check = |key, roots| {
        let check = ["certificate", "check-endorsement", "ek.der"];
        let files = ["--endorsement-key-file", key, "--manufacturer-roots", roots];
        [
            &check[..],
            &files,
            &["--intermediates", "intermediates.pem"],
        ]
        .concat()
    };
    let certified = world.json(&check("ek.txt", "roots.pem")).await;
    assert_eq!(certified["registrationId"], json!(id));
    assert_eq!(certified["model"], "swtpm");
    for (key, roots, reason) in [
        ("another.txt", "roots.pem", "for another endorsement key"),
        (
            "ek.txt",
            "other-roots.pem",
            "no valid chain to a trusted manufacturer",
        ),
    ] {
        let refused = world.run(&check(key, roots)).await;
        assert_eq!(refused.code, 4, "{refused:?}");
        assert!(refused.stderr.contains(reason), "{refused:?}");
    }
    let mistaken = world.run(&check("roots.pem", "roots.pem")).await;
    assert_eq!(mistaken.code, 2, "{mistaken:?}");
}
