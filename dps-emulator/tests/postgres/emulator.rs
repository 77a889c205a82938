//! The whole emulator on PostgreSQL.

use std::sync::Arc;

use dps_emulator::CertificateAuthority;
use dps_emulator::store::PostgresUrl;
use dps_hardware::SoftwareTpm;
use serde_json::json;

use crate::common::{
    Dps, KEY_1, KEY_2, Program, TpmDevice, certificate_enrollment, certificate_group, derive,
    key_enrollment, key_group, tpm_enrollment, with,
};
use crate::server::{connect, new_schema, new_url, shared};

async fn start(url: &PostgresUrl) -> Dps {
    let store = Arc::new(connect(url).await);
    Dps::start_with(|builder| builder.store(store)).await
}

/// Devices with each proof register over HTTPS, operators change enrollments, and a restart keeps all of it.
#[tokio::test(flavor = "multi_thread")]
async fn everything_survives_a_restart() {
    let url = new_url("");
    let root = CertificateAuthority::new("Contoso Root").unwrap();
    let own = CertificateAuthority::new("Device Root")
        .unwrap()
        .issue("dev-x509")
        .unwrap();
    let issued = root.issue("dev-issued").unwrap();
    let tpm = SoftwareTpm::number(1);

    let dps = start(&url).await;
    dps.create("/enrollmentGroups/g", &key_group("g", KEY_1, KEY_2))
        .await;
    let contoso = certificate_group("contoso", root.certificate_pem());
    dps.create("/enrollmentGroups/contoso", &contoso).await;
    dps.create(
        "/enrollments/dev-key",
        &key_enrollment("dev-key", KEY_1, KEY_2),
    )
    .await;
    let x509 = certificate_enrollment("dev-x509", own.certificate_pem());
    dps.create("/enrollments/dev-x509", &x509).await;
    dps.create("/enrollments/dev-tpm", &tpm_enrollment("dev-tpm", &tpm))
        .await;
    dps.create(
        "/enrollments/deleted",
        &key_enrollment("deleted", KEY_1, KEY_2),
    )
    .await;
    dps.delete("/enrollments/deleted").await;
    let disabled = with(
        key_enrollment("disabled", KEY_1, KEY_2),
        json!({ "provisioningStatus": "disabled", "later": [1] }),
    );
    dps.create("/enrollments/disabled", &disabled).await;

    dps.device("dev-key").key(KEY_1).assigned().await;
    let state = dps
        .device("dev-group")
        .key(&derive(KEY_1, "dev-group"))
        .assigned()
        .await;
    dps.device("dev-x509").certificate(&own).assigned().await;
    dps.device("dev-issued")
        .certificate(&issued)
        .assigned()
        .await;
    TpmDevice::new(&dps, "dev-tpm", tpm).assigned().await;
    dps.device("disabled").key(KEY_1).register().await;

    let paths = [
        "/enrollmentGroups/g",
        "/enrollmentGroups/contoso",
        "/enrollments/dev-key",
        "/enrollments/dev-x509",
        "/enrollments/dev-tpm",
        "/enrollments/deleted",
        "/enrollments/disabled",
        "/registrations/dev-key",
        "/registrations/dev-group",
        "/registrations/dev-x509",
        "/registrations/dev-issued",
        "/registrations/dev-tpm",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(dps.get(path).await);
    }
    let key = dps.service_key.clone();
    dps.emulator.shutdown().await;

    let dps = start(&url).await;
    assert_eq!(dps.service_key, key);
    for (path, before) in paths.into_iter().zip(before) {
        let after = dps.get(path).await;
        assert_eq!(after.status, before.status, "{path}");
        if after.status == 200 {
            assert_eq!(after.text, before.text, "{path}");
        }
    }
    let device = dps.device("dev-group").key(&derive(KEY_1, "dev-group"));
    assert_eq!(device.lookup().await.json(), state);
    assert_eq!(
        device.assigned().await["substatus"],
        "reprovisionedToInitialAssignment"
    );
}

/// The option, its variable, and their errors.
#[tokio::test(flavor = "multi_thread")]
async fn the_program_uses_the_database_that_store_names() {
    let url = shared().url(&format!("schema={}&max_connections=4", new_schema()));
    let program = Program::start(&["--ephemeral", "--store", &url]).await;
    let wire = &program.wire;
    wire.create("/enrollments/dev-1", &key_enrollment("dev-1", KEY_1, KEY_2))
        .await;
    wire.device("dev-1").key(KEY_1).assigned().await;
    let before = wire.get("/registrations/dev-1").await;
    assert_eq!(before.status, 200);
    program.end_with("TERM").await;

    let variables = [("DPS_EMULATOR_STORE", &*url), ("RUST_LOG", "debug")];
    let program = Program::start_with(&variables, &["--ephemeral"]).await;
    let after = program.wire.get("/registrations/dev-1").await;
    assert_eq!(after.text, before.text);
    let (_, log) = program.end_with("TERM").await;
    assert!(log.contains("postgres://dps:***@127.0.0.1:"), "{log}");
    assert!(!log.contains("dps-password"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_refuses_a_store_that_it_cannot_use() {
    let wrong = shared().url("").replace("dps-password", "secret-9");
    for (url, reason) in [
        (
            "mysql://dps:secret-9@localhost/db",
            "invalid value for --store",
        ),
        (
            "postgres://dps:secret-9@localhost/db?sslmode=maybe",
            "the parameter sslmode must be",
        ),
        (&wrong, "PostgreSQL refuses the user or its password"),
    ] {
        let (status, stderr) = Program::refuse(&["--ephemeral", "--store", url]).await;
        assert!(!status.success());
        assert!(stderr.contains(reason), "{stderr}");
        assert!(!stderr.contains("secret-9"), "{stderr}");
    }
}
