//! `dps key`: keys in files, in a PKCS#11 token (SoftHSM) and in a TPM (swtpm).
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use common::World;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_file_is_generated_certified_and_deleted() {
    let world = World::start().await;
    let place = ["--file", "toaster-1.key"];
    let key = |arguments: &[&'static str]| [&["key"], arguments, &place[..]].concat();

    assert_eq!(world.json(&key(&["list"])).await, json!([]));
    let missing = world.run(&key(&["request", "toaster-1"])).await;
    assert_eq!(missing.code, 3, "{missing:?}");

    let made = world.json(&key(&["generate", "--key-type", "p384"])).await;
    assert_eq!(made, json!({"key": "toaster-1.key", "kind": "p384"}));
    assert_eq!(world.json(&key(&["list"])).await, json!([made]));
    let pem = world.read("toaster-1.key");
    assert!(pem.starts_with("-----BEGIN PRIVATE KEY-----"));

    let again = world.run(&key(&["generate"])).await;
    assert_eq!(again.code, 5, "{again:?}");
    assert_eq!(world.read("toaster-1.key"), pem);
    world.json(&key(&["generate", "--overwrite"])).await;
    assert_ne!(world.read("toaster-1.key"), pem);
    let rsa = world
        .run(&key(&["generate", "--overwrite", "--key-type", "rsa2048"]))
        .await;
    assert_eq!(rsa.code, 2, "{rsa:?}");

    world.json(&key(&["request", "toaster-1"])).await;
    world.certify_toaster().await;
    let import = key(&["import-chain", "toaster-1.pem"]);
    let refused = world.run(&import).await;
    assert_eq!(refused.code, 2, "{refused:?}");
    assert!(refused.stderr.contains("--certificate"), "{refused:?}");
    let import = [&import[..], &["--certificate", "chain.pem"]].concat();
    let imported = world.json(&import).await;
    assert_eq!(imported["inToken"], false);
    let device = [
        "--certificate",
        "chain.pem",
        "--private-key",
        "toaster-1.key",
    ];
    world.json(&[&["register"], &device[..]].concat()).await;

    // The chain of another key.
    world.json(&key(&["generate", "--overwrite"])).await;
    let other = world.run(&[&import[..], &["--overwrite"]].concat()).await;
    assert_eq!(other.code, 2, "{other:?}");
    assert!(other.stderr.contains("does not match"), "{other:?}");

    world.json(&key(&["delete"])).await;
    assert_eq!(world.json(&key(&["list"])).await, json!([]));
    let missing = world.run(&key(&["delete"])).await;
    assert_eq!(missing.code, 3, "{missing:?}");
    let nowhere = world.run(&["key", "list"]).await;
    assert_eq!(nowhere.code, 2, "{nowhere:?}");
}

#[cfg(feature = "pkcs11")]
mod token {
    use std::any::type_name;

    use dps_hardware::SoftHsm;

    use super::*;

    #[test]
    fn keys_in_a_token_are_generated_certified_and_deleted() {
        alone(|| async {
            let world = World::start().await;
            let token = format!(
                "pkcs11:token=device?module-path={}",
                SoftHsm::module().display()
            );
            let toaster = token.replace('?', ";object=toaster?");
            let kettle = token.replace('?', ";object=kettle?");
            let made = json(&world, &["key", "generate", "--pkcs11", &toaster]).await;
            assert_eq!(
                made,
                json!({"key": "pkcs11:object=toaster", "kind": "p256"})
            );
            let rsa = [
                "key",
                "generate",
                "--key-type",
                "rsa2048",
                "--pkcs11",
                &kettle,
            ];
            json(&world, &rsa).await;
            let list = json(&world, &["key", "list", "--pkcs11", &token]).await;
            let kinds = [&list[0]["kind"], &list[1]["kind"]];
            assert_eq!(kinds, ["rsa2048", "p256"]);

            let ambiguous = run(&world, &["key", "delete", "--pkcs11", &token]).await;
            assert_eq!(ambiguous.code, 2, "{ambiguous:?}");
            assert!(ambiguous.stderr.contains("object=kettle"), "{ambiguous:?}");
            let again = run(&world, &["key", "generate", "--pkcs11", &toaster]).await;
            assert_eq!(again.code, 5, "{again:?}");

            json(
                &world,
                &["key", "request", "toaster-1", "--pkcs11", &toaster],
            )
            .await;
            world.certify_toaster().await;
            let import = ["key", "import-chain", "toaster-1.pem", "--pkcs11"];
            let imported = json(&world, &[&import[..], &[&toaster]].concat()).await;
            assert_eq!(imported["inToken"], true);
            let other = run(&world, &[&import[..], &[&kettle]].concat()).await;
            assert_eq!(other.code, 2, "{other:?}");
            let assigned = json(&world, &["register", "--pkcs11", &toaster]).await;
            assert_eq!(assigned["registrationId"], "toaster-1");

            json(&world, &["key", "delete", "--pkcs11", &toaster]).await;
            let gone = run(&world, &["register", "--pkcs11", &toaster]).await;
            assert_eq!(gone.code, 2, "{gone:?}");
        });
    }

    fn alone<T: FnOnce() -> F, F: Future<Output = ()>>(test: T) {
        let set_up = || SoftHsm::new().with_token("device");
        SoftHsm::run(type_name::<T>(), set_up, || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(test());
        });
    }

    async fn run(world: &World, arguments: &[&str]) -> common::Ran {
        let mut command = world.command(arguments);
        command.env("DPS_PIN", SoftHsm::PIN);
        common::Ran::of(command).await
    }

    async fn json(world: &World, arguments: &[&str]) -> serde_json::Value {
        let ran = run(world, &[arguments, &["-o", "json"]].concat()).await;
        assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
        serde_json::from_str(&ran.stdout).unwrap()
    }
}

#[cfg(feature = "tpm")]
#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_a_tpm_is_generated_certified_and_deleted() {
    let world = World::start().await;
    let swtpm = dps_hardware::Swtpm::start();
    let tcti = swtpm.tcti();
    let key = |arguments: &[&'static str]| {
        let mut all = vec!["key"];
        all.extend_from_slice(arguments);
        all.extend(["--tpm", &tcti]);
        all.into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let json = async |arguments: &[&'static str]| {
        let arguments = key(arguments);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        world.json(&arguments).await
    };
    assert_eq!(json(&["list"]).await, json!([]));
    let made = json(&["generate"]).await;
    assert_eq!(made, json!({"key": "tpm:0x81000101", "kind": "p256"}));
    json(&["generate", "--handle", "0x81000201", "--key-type", "p384"]).await;
    let list = json(&["list"]).await;
    assert_eq!(list[1], json!({"key": "tpm:0x81000201", "kind": "p384"}));
    json(&["request", "toaster-1"]).await;
    world.certify_toaster().await;
    json(&[
        "import-chain",
        "toaster-1.pem",
        "--certificate",
        "chain.pem",
    ])
    .await;

    let register = [
        "register",
        "--certificate",
        "chain.pem",
        "--tpm-key",
        "0x81000101",
    ];
    let mut command = world.command(&register);
    command.env("TPM2TOOLS_TCTI", &tcti);
    let registered = common::Ran::of(command).await;
    assert_eq!(registered.code, 0, "{registered:?}");

    json(&["delete"]).await;
    let list = json(&["list"]).await;
    assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
}
