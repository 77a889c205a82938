//! A data directory keeps the instances.

use std::path::Path;

use dps_emulator::{Emulator, ErrorKind};
use tempfile::TempDir;

use super::{create, enroll, name, wire};
use crate::common::{Dps, KEY_1, linked};

async fn start(dir: &Path) -> Dps {
    Dps::start_with(|builder| builder.data_dir(dir)).await
}

#[tokio::test]
async fn instances_survive_a_restart() {
    let dir = TempDir::new().expect("a directory");
    let dps = start(dir.path()).await;
    let (one, wire_1) = create(&dps, "suite-1").await;
    let (two, _) = create(&dps, "suite-2").await;
    enroll(&wire_1, "dev-1", KEY_1).await;
    let state = wire_1.device("dev-1").key(KEY_1).assigned().await;
    two.delete().await.expect("deleted");
    let id_scope = one.id_scope().clone();
    drop((one, two));
    dps.emulator.shutdown().await;

    let dps = start(dir.path()).await;
    let names = dps.emulator.instance_names().await.expect("listed");
    assert_eq!(names, [name("suite-1")]);
    let one = dps.emulator.instance(&name("suite-1")).await.expect("read");
    let one = one.expect("kept");
    assert_eq!(*one.id_scope(), id_scope);
    let again = wire(&dps, &one);
    assert_eq!(again.service_key, wire_1.service_key);
    let looked_up = again.device("dev-1").key(KEY_1).lookup().await;
    assert_eq!(looked_up.json(), state);
    assert_eq!(dps.get("/enrollments/dev-1").await.status, 404);
}

#[tokio::test]
async fn a_hub_of_an_instance_cannot_be_one_of_the_first() {
    let dir = TempDir::new().expect("a directory");
    let dps = start(dir.path()).await;
    create(&dps, "suite-1").await;
    dps.emulator.shutdown().await;
    let builder = Emulator::builder().data_dir(dir.path());
    let error = builder
        .link_hub(linked("suite-1.azure-devices.net"))
        .start();
    let error = error.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Configuration);
    assert_eq!(
        error.to_string(),
        "'suite-1.azure-devices.net' belongs to an instance that was created before: delete that instance, or choose another"
    );
}
