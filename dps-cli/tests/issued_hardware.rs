//! Issued certificates whose keys are in a PKCS#11 token (SoftHSM) or in a TPM (swtpm): `dps register`, `dps renew` and `dps connect`.
#![cfg(any(feature = "pkcs11", feature = "tpm"))]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::path::Path;

use common::{Ran, World};
use dps_hardware::SoftHsm;
use serde_json::{Value, json};

const GROUP_KEY: &str =
    "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";

/// An emulator that issues certificates to the devices of a group.
async fn toasters() -> World {
    let authority = "contoso/factory-1/toasters=30".parse().unwrap();
    let world = World::start_with(|builder| builder.certificate_authority(authority)).await;
    world.file("group.key", GROUP_KEY);
    let create = "enrollment-group create toasters --hub 127.0.0.1 --primary-key-file group.key --secondary-key-file group.key \
                  --certificate-authority contoso/factory-1/toasters";
    let created = run(&world, create, &[]).await;
    assert_eq!(created.code, 0, "{created:?}");
    world
}

async fn run(world: &World, words: &str, more: &[&str]) -> Ran {
    let arguments: Vec<_> = words
        .split_whitespace()
        .chain(more.iter().copied())
        .collect();
    let mut command = world.command(&arguments);
    command.env("DPS_PIN", SoftHsm::PIN);
    // The module that fails on demand is configured by the environment.
    command.envs(std::env::vars().filter(|(name, _)| name.starts_with("DPS_SHIM_")));
    Ran::of(command).await
}

async fn json(world: &World, words: &str, more: &[&str]) -> Value {
    let ran = run(world, words, &[more, &["-o", "json"]].concat()).await;
    assert_eq!(ran.code, 0, "{words} {more:?}: {ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

/// The command of a device with these options.
async fn device(world: &World, command: &str, place: &[&str]) -> Value {
    let words = format!("{command} --registration-id toaster-1 --group-key-file group.key");
    json(world, &words, place).await
}

async fn fails(world: &World, command: &str, place: &[&str]) -> Ran {
    let words = format!("{command} --registration-id toaster-1 --group-key-file group.key");
    let ran = run(world, &words, place).await;
    assert_ne!(ran.code, 0, "{ran:?}");
    ran
}

/// The first certificate is issued and renewed twice, and the device connects with it. `key` describes a key, first with the
/// number 1. Returns the key in use, and the other one.
async fn renews(world: &World, place: &[&str], key: impl Fn(u8) -> String) -> [String; 2] {
    let registered = device(world, "register", place).await;
    assert_eq!(registered["status"], "assigned");
    let certificate = &registered["certificate"];
    assert_eq!(certificate["key"], key(1));
    assert_eq!(certificate["keyFile"], Value::Null);
    let again = fails(world, "register", place).await;
    assert_eq!(again.code, 2, "{again:?}");
    assert!(again.stderr.contains("--overwrite"), "{again:?}");

    for number in [2, 1] {
        let kept = device(world, "renew", place).await;
        assert_eq!(kept["renewed"], false, "{kept}");
        assert_eq!(kept["certificate"]["key"], key(3 - number));
        let renewed = device(world, "renew --now", place).await;
        assert_eq!(renewed["renewed"], true, "{renewed}");
        assert_eq!(renewed["certificate"]["key"], key(number));
    }
    let overwritten = device(world, "register --overwrite", place).await;
    assert_eq!(overwritten["certificate"]["key"], key(2));
    let connect = "connect --hub-host localhost --cache assignment.json --once";
    let twin = device(world, connect, place).await;
    assert_eq!(twin, json!({"desired": {}, "reported": {}}));
    // The connection may have ended before it removed the earlier key.
    let renewed = device(world, "renew --now", place).await;
    match renewed["certificate"]["key"] == key(1) {
        true => [key(1), key(2)],
        false => [key(2), key(1)],
    }
}

/// The file of a chain of the leaf and the root for the key at this place.
async fn chain_of_two(world: &World, place: &[&str]) -> &'static str {
    let request = "key request toaster-1 --request toaster-1.csr";
    json(world, request, place).await;
    for words in [
        "certificate create-ca Contoso",
        "certificate issue toaster-1 --request toaster-1.csr --certificate leaf.pem",
    ] {
        let ran = run(world, words, &[]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    let chain = world.read("leaf.pem") + &world.read("ca.pem");
    world.file("chain-of-two.pem", chain);
    "chain-of-two.pem"
}

#[cfg(feature = "pkcs11")]
mod token {
    use std::any::type_name;

    use dps_hardware::{Provider, Shim};

    use super::*;

    fn alone<T: FnOnce() -> F, F: Future<Output = ()>>(test: T) {
        with(|| SoftHsm::new().with_token("device"), test);
    }

    /// Runs a test in a process of its own, with this module.
    fn with<P: Provider, T: FnOnce() -> F, F: Future<Output = ()>>(
        set_up: impl FnOnce() -> P,
        test: T,
    ) {
        SoftHsm::run(type_name::<T>(), set_up, || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(test());
        });
    }

    fn uri(object: &str) -> String {
        let module = SoftHsm::module_in_use();
        let object = match object {
            "" => String::new(),
            object => format!(";object={object}"),
        };
        format!(
            "pkcs11:token=device{object}?module-path={}",
            module.display()
        )
    }

    async fn keys(world: &World) -> usize {
        let list = json(world, "key list --pkcs11", &[&uri("")]).await;
        list.as_array().unwrap().len()
    }

    #[test]
    fn a_certificate_next_to_its_key_is_issued_and_renewed_twice() {
        alone(|| async {
            let world = toasters().await;
            let issued = uri("issued");
            let place = ["--new-key-pkcs11", &issued];
            let key = |number| uri(&format!("issued-{number}"));
            let [in_use, other] = renews(&world, &place, key).await;
            assert_eq!(keys(&world).await, 1);

            // The power failed after the new key was generated.
            json(&world, "key generate --pkcs11", &[&other]).await;
            let kept = device(&world, "renew", &place).await;
            assert_eq!(kept["certificate"]["key"], in_use);
            let renewed = device(&world, "renew --now", &place).await;
            assert_eq!(renewed["certificate"]["key"], other);
            assert_eq!(keys(&world).await, 1);
            // The power failed before the earlier key was removed, or the program still uses it.
            let hook = ["--exec", "exit 3"];
            let failed = fails(&world, "renew --now", &[&place[..], &hook].concat()).await;
            assert_eq!(failed.code, 7, "{failed:?}");
            assert_eq!(keys(&world).await, 2);
            let kept = device(&world, "renew", &place).await;
            assert_eq!(kept["renewed"], false, "{kept}");
            device(&world, "renew --now", &place).await;
            assert_eq!(keys(&world).await, 1);
        });
    }

    #[test]
    fn a_chain_of_an_issuer_without_an_intermediate_is_stored_with_its_root() {
        alone(|| async {
            let world = toasters().await;
            let first = uri("issued-1");
            json(&world, "key generate --pkcs11", &[&first]).await;
            let chain = chain_of_two(&world, &["--pkcs11", &first]).await;
            let import = format!("key import-chain {chain} --pkcs11");
            let imported = json(&world, &import, &[&first]).await;
            assert_eq!(imported["certificates"], 2);
            let issued = uri("issued");
            let kept = device(&world, "renew", &["--new-key-pkcs11", &issued]).await;
            assert_eq!(kept["renewed"], false, "{kept}");
            assert_eq!(kept["certificate"]["key"], first);
        });
    }

    #[test]
    fn two_keys_without_a_certificate_are_not_replaced_by_mistake() {
        alone(|| async {
            let world = toasters().await;
            for object in ["issued-1", "issued-2"] {
                json(&world, "key generate --pkcs11", &[&uri(object)]).await;
            }
            let issued = uri("issued");
            let in_file = ["--certificate-out", "issued.pem"];
            for more in [&[][..], &in_file] {
                let place = [&["--new-key-pkcs11", &issued], more].concat();
                let refused = fails(&world, "renew", &place).await;
                assert_eq!(refused.code, 2, "{refused:?}");
                assert!(refused.stderr.contains("--overwrite"), "{refused:?}");
            }
            assert_eq!(keys(&world).await, 2);
            let place = ["--new-key-pkcs11", &issued];
            device(&world, "renew --overwrite", &place).await;
            assert_eq!(keys(&world).await, 1);
        });
    }

    #[test]
    fn a_registration_whose_earlier_key_stays_prints_the_assignment() {
        let shim = || Shim::new(SoftHsm::new().with_token("device"));
        with(shim, || async {
            let world = toasters().await;
            let issued = uri("issued");
            let place = ["--new-key-pkcs11", &issued];
            device(&world, "register", &place).await;
            // CKR_DEVICE_ERROR
            Shim::order("C_DestroyObject return 48");
            let json = [&place[..], &["-o", "json"]].concat();
            let partial = fails(&world, "register --overwrite", &json).await;
            assert_eq!(partial.code, 7, "{partial:?}");
            let printed: Value = serde_json::from_str(&partial.stdout).unwrap();
            assert_eq!(printed["status"], "assigned");
            let key = printed["certificate"]["key"].as_str().unwrap();
            assert!(key.contains("issued-2"), "{key}");
        });
    }

    #[test]
    fn a_new_key_that_cannot_sign_its_request_is_removed() {
        let shim = || Shim::new(SoftHsm::new().with_token("device"));
        with(shim, || async {
            let world = toasters().await;
            let issued = uri("issued");
            let place = ["--new-key-pkcs11", &issued];
            // CKR_DEVICE_ERROR
            Shim::order("C_Sign return 48");
            let failed = fails(&world, "register", &place).await;
            assert!(!failed.stderr.contains("cannot be removed"), "{failed:?}");
            assert_eq!(keys(&world).await, 0);
            let shown = run(&world, "registration show toaster-1", &[]).await;
            assert_eq!(shown.code, 3, "nothing was sent: {shown:?}");

            Shim::order("C_Sign return 48\nC_DestroyObject return 48");
            let failed = fails(&world, "register", &place).await;
            let hint = "the new key is not used, and cannot be removed";
            assert!(failed.stderr.contains(hint), "{failed:?}");

            // The key in use stays when that of a renewal cannot sign.
            Shim::order("");
            device(&world, "register --overwrite", &place).await;
            assert_eq!(keys(&world).await, 1);
            Shim::order("C_Sign return 48");
            fails(&world, "renew --now", &place).await;
            Shim::order("");
            assert_eq!(keys(&world).await, 1);
            let kept = device(&world, "renew", &place).await;
            assert_eq!(kept["renewed"], false, "{kept}");
        });
    }

    #[test]
    fn a_certificate_in_a_file_is_issued_and_renewed_twice() {
        alone(|| async {
            let world = toasters().await;
            let issued = uri("issued");
            let place = [
                "--new-key-pkcs11",
                &issued,
                "--certificate-out",
                "issued.pem",
            ];
            renews(&world, &place, |number| uri(&format!("issued-{number}"))).await;
            assert_eq!(keys(&world).await, 1);
            assert!(!world.read("issued.pem").contains("PRIVATE"));

            // The power failed before the new chain was renamed.
            let old = world.read("issued.pem");
            let hook = ["--exec", "exit 3"];
            fails(&world, "renew --now", &[&place[..], &hook].concat()).await;
            let new = world.read("issued.pem");
            assert_ne!(old, new);
            world.file("issued.pem.next", &new);
            world.file("issued.pem", old);
            let completed = device(&world, "renew", &place).await;
            assert_eq!(completed["renewed"], false, "{completed}");
            assert_eq!(world.read("issued.pem"), new);
            assert!(!Path::new(&world.path("issued.pem.next")).exists());

            // The chain of another key is not replaced by mistake.
            world.file("issued.pem", world.emulator.ca_pem());
            let refused = fails(&world, "renew", &place).await;
            assert_eq!(refused.code, 2, "{refused:?}");
            device(&world, "renew --overwrite", &place).await;
        });
    }

    #[test]
    fn the_command_gets_the_name_of_the_key_and_a_registration_that_fails_leaves_no_key() {
        alone(|| async {
            let world = toasters().await;
            let issued = uri("issued");
            let place = ["--new-key-pkcs11", &issued];
            let command = r#"printf '%s' "$DPS_PRIVATE_KEY ${DPS_PRIVATE_KEY_FILE-none} ${DPS_PIN-none}" >hook.txt"#;
            device(
                &world,
                "renew",
                &[&place[..], &["--exec", command]].concat(),
            )
            .await;
            let expected = format!("{} none none", uri("issued-1"));
            assert_eq!(world.read("hook.txt"), expected);

            let unset = "enrollment-group update toasters --unset certificatePolicyName --unset certificateAuthorityName \
                         --unset namespaceName";
            let updated = run(&world, unset, &[]).await;
            assert_eq!(updated.code, 0, "{updated:?}");
            assert_eq!(keys(&world).await, 1);
            let other = uri("other");
            fails(&world, "register", &["--new-key-pkcs11", &other]).await;
            assert_eq!(keys(&world).await, 1);
            let unreadable = ["--new-key-pkcs11", &other, "--payload", "{"];
            let refused = fails(&world, "register", &unreadable).await;
            assert_eq!(refused.code, 2, "{refused:?}");
            assert_eq!(keys(&world).await, 1);

            // A new key would replace the key of the attestation.
            let attestation = ["--pkcs11", &uri("issued-1")];
            let refused = run(&world, "renew --now", &[attestation, place].concat()).await;
            assert_eq!(refused.code, 2, "{refused:?}");
            assert!(refused.stderr.contains("uses for new keys"), "{refused:?}");

            let unnamed = uri("");
            let refused = fails(&world, "renew", &["--new-key-pkcs11", &unnamed]).await;
            assert_eq!(refused.code, 2, "{refused:?}");
            assert!(refused.stderr.contains("add an object"), "{refused:?}");
            let missing = fails(&world, "renew", &[]).await;
            assert_eq!(missing.code, 2, "{missing:?}");
        });
    }
}

#[cfg(feature = "tpm")]
mod tpm {
    use std::process::Stdio;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use dps_device::tpm::{NvIndex, Tpm, TpmAttestation, TpmOptions};
    use dps_hardware::{Sender, Swtpm, TpmProxy};
    use tokio::sync::Notify;
    use tokio::time::timeout;

    use super::*;

    /// `TPM2_EvictControl`, whose last bytes are the persistent handle.
    const EVICT_CONTROL: [u8; 4] = [0, 0, 1, 0x20];
    const LIMIT: Duration = Duration::from_secs(120);

    #[tokio::test(flavor = "multi_thread")]
    async fn a_certificate_in_the_tpm_is_issued_and_renewed_twice_and_survives_a_restart() {
        let world = toasters().await;
        let mut swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        let place = ["--new-key-tpm", &tcti];
        let key = |number| format!("tpm:0x8100011{number}");
        let [in_use, _] = renews(&world, &place, key).await;
        swtpm.restart();
        let kept = device(&world, "renew", &place).await;
        assert_eq!(kept["renewed"], false, "{kept}");
        assert_eq!(kept["certificate"]["key"], in_use);

        let other = [
            "--new-key-handle",
            "0x81000201",
            "--certificate-out",
            "chain.pem",
        ];
        let other = [&place[..], &other].concat();
        let registered = device(&world, "register", &other).await;
        assert_eq!(registered["certificate"]["key"], "tpm:0x81000201");
        assert_eq!(registered["certificate"]["file"], "chain.pem");
        // With a file, the NV index belongs to another program.
        let options = TpmOptions::default().with_tcti(tcti.parse().unwrap());
        let stored = Tpm::open(options).await.unwrap().stored_chain();
        let stored = stored.with_index(NvIndex::new(0x0180_0201).unwrap());
        stored.write(world.emulator.ca_pem()).await.unwrap();
        let renewed = device(&world, "renew --now", &other).await;
        assert_eq!(renewed["certificate"]["key"], "tpm:0x81000202");
        assert_eq!(stored.read().await.unwrap().len(), 1);

        // A new key would replace the key of the attestation.
        let attestation = ["--certificate", "chain.pem", "--tpm-key", "0x81000202"];
        let mut command = world.command(&[&["renew", "--now"][..], &attestation, &other].concat());
        command.env("TPM2TOOLS_TCTI", &tcti);
        let refused = Ran::of(command).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("uses for new keys"), "{refused:?}");
        let list = json(&world, "key list", &["--tpm", &tcti]).await;
        assert_eq!(list.as_array().unwrap().len(), 2, "{list}");
        let far = ["--new-key-tpm", &tcti, "--new-key-handle", "0x81400000"];
        let refused = fails(&world, "register", &far).await;
        assert_eq!(refused.code, 2, "{refused:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_new_key_does_not_replace_the_hub_key_of_the_attestation() {
        let world = World::start().await;
        let swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        for (handle, used) in [("0x81000100", "0x81000100"), ("0x81000101", "0x81000102")] {
            let place = ["--tpm", &tcti, "--new-key-tpm", &tcti];
            let place = [&place[..], &["--new-key-handle", handle]].concat();
            let refused = run(&world, "register", &place).await;
            assert_eq!(refused.code, 2, "{refused:?}");
            let message = format!("the hub key of --tpm at {used}");
            assert!(refused.stderr.contains(&message), "{refused:?}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_chain_in_the_tpm_has_its_root() {
        let world = toasters().await;
        let swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        let options = TpmOptions::default().with_tcti(tcti.parse().unwrap());
        let tpm = Tpm::open(options).await.unwrap();
        let stored = |index| tpm.stored_chain().with_index(NvIndex::new(index).unwrap());

        // An issuer without an intermediate.
        let first = ["--tpm", &tcti, "--handle", "0x81000111"];
        json(&world, "key generate", &first).await;
        let chain = chain_of_two(&world, &first).await;
        stored(0x0180_0111).write(world.read(chain)).await.unwrap();
        let place = ["--new-key-tpm", &tcti];
        let kept = device(&world, "renew", &place).await;
        assert_eq!(kept["renewed"], false, "{kept}");
        assert_eq!(kept["certificate"]["key"], "tpm:0x81000111");

        device(&world, "renew --now", &place).await;
        assert_eq!(stored(0x0180_0112).read().await.unwrap().len(), 3);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn new_keys_have_an_authorization_value_and_are_bound_to_a_measured_state() {
        let world = toasters().await;
        let swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        let tpm = ["--tpm", &tcti];
        let measured = json(&world, "key measure sha256:2,7", &tpm).await;
        let state = measured["state"].as_str().unwrap();
        assert!(state.starts_with("sha256:2=0"), "{state}");
        assert_eq!(world.read("state.txt"), format!("{state}\n"));
        let invalid = run(&world, "key measure sha256:2;7", &tpm).await;
        assert_eq!(invalid.code, 2, "{invalid:?}");

        world.file("auth.txt", "a secret of the device\n");
        let new_key = ["--new-key-tpm", &tcti];
        let auth = ["--new-key-auth-file", "auth.txt"];
        let state = ["--new-key-state", "state.txt"];
        let place = [&new_key[..], &auth, &state].concat();
        device(&world, "register", &place).await;
        device(&world, "renew --now", &place).await;
        let connect = "connect --hub-host localhost --cache assignment.json --once";
        device(&world, connect, &place).await;

        // The value from the variable is the same.
        let arguments = [
            &["renew", "--registration-id", "toaster-1"][..],
            &["--group-key-file", "group.key", "-o", "json"],
            &new_key,
            &state,
        ];
        let mut command = world.command(&arguments.concat());
        command.env("DPS_NEW_KEY_AUTH", "a secret of the device");
        let kept = Ran::of(command).await;
        assert_eq!(kept.code, 0, "{kept:?}");

        world.file("guess.txt", "a guess");
        let guess = ["--new-key-auth-file", "guess.txt"];
        for (other, message) in [
            (&auth[..], "be opened with its policy"),
            (&[&guess[..], &state].concat(), "TPM_RC_AUTH_FAIL"),
        ] {
            let other = [&new_key[..], other].concat();
            let refused = fails(&world, "renew", &other).await;
            assert_eq!(refused.code, 2, "{refused:?}");
            assert!(refused.stderr.contains(message), "{refused:?}");
        }

        // Other software was started: no attempt waits for a change.
        swtpm.extend_pcr(7);
        let in_file = [&place[..], &["--certificate-out", "issued.pem"]].concat();
        let elsewhere = [&place[..], &["--new-key-handle", "0x81000201"]].concat();
        world.file("issued.pem", world.emulator.ca_pem());
        for (command, place) in [
            ("renew --watch", &place),
            (connect, &place),
            ("renew", &in_file),
            ("register", &elsewhere),
        ] {
            let refused = fails(&world, command, place).await;
            assert_eq!(refused.code, 2, "{command}: {refused:?}");
            let pcr = "PCR 7 of the bank sha256 is ";
            assert!(refused.stderr.contains(pcr), "{command}: {refused:?}");
            assert!(!refused.stderr.contains("PCR 2"), "{command}: {refused:?}");
        }
        // A new key is bound to the new state.
        json(&world, "key measure sha256:2,7 --overwrite", &tpm).await;
        let renewed = device(&world, "renew --overwrite", &place).await;
        assert_eq!(renewed["renewed"], true, "{renewed}");
        let kept = device(&world, "renew", &place).await;
        assert_eq!(kept["renewed"], false, "{kept}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn new_keys_are_bound_to_the_states_that_an_authority_approves() {
        let world = toasters().await;
        let swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        let authority = rcgen::KeyPair::generate().unwrap();
        world.file("authority.pem", authority.public_key_pem());
        let approve = async |approval: &str| {
            let files = ["--tpm", &tcti, "--message", "message", "--overwrite"];
            json(&world, "key measure sha256:4", &files).await;
            let message = std::fs::read(world.path("message")).unwrap();
            let signature = rcgen::SigningKey::sign(&authority, &message).unwrap();
            world.file("signature", signature);
            let approved = "key approve state.txt signature --approval";
            json(&world, approved, &[approval]).await
        };
        let approved = approve("first.txt").await;
        let approval = approved["approval"].as_str().unwrap();
        assert_eq!(world.read("first.txt"), format!("{approval}\n"));
        let place = [
            "--new-key-tpm",
            &tcti,
            "--new-key-authority",
            "authority.pem",
        ];
        let place = [&place[..], &["--new-key-approval", "first.txt"]].concat();
        device(&world, "register", &place).await;

        swtpm.extend_pcr(4);
        let refused = fails(&world, "renew --now", &place).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        let pcr = "PCR 4 of the bank sha256 is ";
        assert!(refused.stderr.contains(pcr), "{refused:?}");
        // The approval comes with the update.
        approve("second.txt").await;
        let place = [&place[..], &["--new-key-approval", "second.txt"]].concat();
        let renewed = device(&world, "renew --now", &place).await;
        assert_eq!(renewed["certificate"]["key"], "tpm:0x81000112");

        world.file("authority.pem", "no key");
        let refused = fails(&world, "renew", &place).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("authority.pem: "), "{refused:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn keys_are_stored_with_the_authorization_value_of_the_owner() {
        let world = toasters().await;
        let swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        swtpm.set_auth(0x4000_0001, b"owner's secret");
        world.file("owner.txt", "owner's secret\n");
        world.file("empty.txt", "\n");
        let place = ["--new-key-tpm", &tcti];
        let refused = fails(&world, "register", &place).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        let value = "an authorization value is wrong";
        assert!(refused.stderr.contains(value), "{refused:?}");
        let empty = [&place[..], &["--tpm-owner-auth-file", "empty.txt"]].concat();
        let refused = fails(&world, "register", &empty).await;
        assert!(refused.stderr.contains("empty.txt is empty"), "{refused:?}");
        let with_owner = [&place[..], &["--tpm-owner-auth-file", "owner.txt"]].concat();
        device(&world, "register", &with_owner).await;
        device(&world, "renew --now", &with_owner).await;

        let delete = ["key", "delete", "--tpm", &tcti, "--handle", "0x81000112"];
        let mut command = world.command(&delete);
        command.env("DPS_TPM_OWNER_AUTH", "owner's secret");
        let deleted = Ran::of(command).await;
        assert_eq!(deleted.code, 0, "{deleted:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_power_failure_while_a_certificate_is_renewed_leaves_a_certificate_that_works() {
        let world = toasters().await;
        let mut swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        let place = ["--new-key-tpm", &tcti];
        device(&world, "register", &place).await;
        let mut cuts = 0;
        for commands in (3..).step_by(11) {
            let left = Arc::new(AtomicUsize::new(commands));
            let count = left.clone();
            let proxy = TpmProxy::start(&swtpm, move |sender, _| match sender {
                Sender::Program => count.load(Ordering::SeqCst) != 0,
                Sender::Tpm => count.fetch_sub(1, Ordering::SeqCst) != 1,
            });
            let words = "renew --now --registration-id toaster-1 --group-key-file group.key";
            let through = proxy.tcti();
            let renewed = run(&world, words, &["--new-key-tpm", &through]).await;
            drop(proxy);
            swtpm.restart();
            let kept = device(&world, "renew", &place).await;
            assert_eq!(kept["renewed"], false, "{commands}: {kept}");
            if renewed.code == 0 {
                break;
            }
            cuts += 1;
        }
        assert!(cuts > 3, "{cuts}");
        let connect = "connect --hub-host localhost --cache assignment.json --once";
        device(&world, connect, &place).await;
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_program_that_is_stopped_while_the_tpm_is_silent_ends() {
        for command in ["renew --now", "register --overwrite"] {
            let world = toasters().await;
            let swtpm = Swtpm::start();
            device(&world, "register", &["--new-key-tpm", &swtpm.tcti()]).await;
            let is_silent = Arc::new(Notify::new());
            let silence = is_silent.clone();
            let proxy = TpmProxy::start(&swtpm, move |sender, message| {
                let removes_the_earlier_key = message.get(6..10) == Some(&EVICT_CONTROL)
                    && message.ends_with(&[0x81, 0, 1, 0x11]);
                if sender == Sender::Program && removes_the_earlier_key {
                    silence.notify_one();
                    loop {
                        std::thread::park();
                    }
                }
                true
            });
            let tcti = proxy.tcti();
            let options = "--registration-id toaster-1 --group-key-file group.key --new-key-tpm";
            let words = command.split(' ').chain(options.split(' '));
            let arguments: Vec<_> = words.chain([tcti.as_str()]).collect();
            let process = world.spawn(&arguments, Stdio::null());
            let silent = timeout(LIMIT, is_silent.notified()).await;
            silent.expect("the TPM removes the earlier key");
            common::terminate(&process);
            let ended = timeout(LIMIT / 2, process.wait_with_output()).await;
            let ended = ended.expect("the program ends").unwrap();
            let stderr = String::from_utf8_lossy(&ended.stderr);
            assert_eq!(ended.status.code(), Some(7), "{command}: {stderr}");
            assert!(stderr.contains("dps was stopped"), "{command}: {stderr}");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_tpm_that_fails_for_a_moment_does_not_lead_to_the_replacement_of_the_key() {
        let in_file = ["--certificate-out", "issued.pem"];
        for more in [&[][..], &in_file] {
            let world = toasters().await;
            let swtpm = Swtpm::start();
            let direct = swtpm.tcti();
            let place = [&["--new-key-tpm", direct.as_str()], more].concat();
            device(&world, "register", &place).await;
            for command in ["renew --now --overwrite", "register --overwrite"] {
                let mut has_failed = false;
                let proxy = TpmProxy::start(&swtpm, move |_, message| {
                    // TPM2_ReadPublic of the key
                    let works =
                        has_failed || !message.ends_with(&[0, 0, 1, 0x73, 0x81, 0, 1, 0x11]);
                    has_failed |= !works;
                    works
                });
                let through = proxy.tcti();
                let failing = [&["--new-key-tpm", through.as_str()], more].concat();
                let failed = fails(&world, command, &failing).await;
                let has_hint = failed.stderr.contains("replaces the key");
                assert!(!has_hint, "{command}: {failed:?}");
                let kept = device(&world, "renew", &place).await;
                assert_eq!(kept["renewed"], false, "{command}: {kept}");
            }
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_earlier_key_stays_if_another_program_has_replaced_the_new_one() {
        let world = toasters().await;
        let swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        let place = ["--new-key-tpm", &tcti];
        device(&world, "register", &place).await;
        let dps = assert_cmd::cargo::cargo_bin("dps");
        let other = format!(
            "'{}' key generate --tpm '{tcti}' --handle 0x81000112 --overwrite",
            dps.display()
        );
        let replaces = [&place[..], &["--exec", &other]].concat();
        let failed = fails(&world, "renew --now", &replaces).await;
        assert_eq!(failed.code, 5, "{failed:?}");
        let message = "the earlier key is not removed: another program has replaced";
        assert!(failed.stderr.contains(message), "{failed:?}");
        assert!(failed.stderr.contains("only one program"), "{failed:?}");
        let kept = device(&world, "renew", &place).await;
        assert_eq!(kept["certificate"]["key"], "tpm:0x81000111");
        assert_eq!(kept["renewed"], false, "{kept}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_earlier_key_stays_if_another_program_has_removed_the_new_one() {
        let world = toasters().await;
        let swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        let dps = assert_cmd::cargo::cargo_bin("dps");
        let delete = format!(
            "'{0}' key delete --tpm '{tcti}' --handle 0x81000112",
            dps.display()
        );
        let place = ["--new-key-tpm", &tcti];
        device(&world, "register", &place).await;
        let removes = [&place[..], &["--exec", &delete]].concat();
        let failed = fails(&world, "renew --now", &removes).await;
        assert_eq!(failed.code, 5, "{failed:?}");
        let kept = device(&world, "renew", &place).await;
        assert_eq!(kept["certificate"]["key"], "tpm:0x81000111");
        assert_eq!(kept["renewed"], false, "{kept}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_tpm_that_fails_when_the_keys_are_listed_leaves_the_earlier_key() {
        let world = toasters().await;
        let swtpm = Swtpm::start();
        device(&world, "register", &["--new-key-tpm", &swtpm.tcti()]).await;
        let fails_now = world.dir.path().join("fails");
        let fails_from = fails_now.clone();
        let proxy = TpmProxy::start(&swtpm, move |_, _| !fails_from.exists());
        let through = proxy.tcti();
        let place = ["--new-key-tpm", &through, "--exec", "touch fails"];
        let partial = fails(&world, "renew --now", &place).await;
        assert!(fails_now.exists(), "{partial:?}");
        assert_eq!(partial.code, 7, "{partial:?}");
        let message = "the key of the earlier one cannot be removed";
        assert!(partial.stderr.contains(message), "{partial:?}");
        assert!(partial.stdout.contains("true"), "{partial:?}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_certificate_that_the_tpm_cannot_store_is_not_requested() {
        let world = toasters().await;
        let swtpm = Swtpm::start();
        let tcti = swtpm.tcti();
        let place = ["--new-key-tpm", &tcti];
        device(&world, "register", &place).await;
        let options = TpmOptions::default().with_tcti(tcti.parse().unwrap());
        let tpm = Tpm::open(options).await.unwrap();
        for number in 0.. {
            let index = NvIndex::new(0x0180_0300 + number).unwrap();
            let chain = tpm.stored_chain().with_index(index);
            if chain.write(world.emulator.ca_pem()).await.is_err() {
                break;
            }
        }
        let refused = fails(&world, "renew --now", &place).await;
        assert_eq!(refused.code, 2, "{refused:?}");
        assert!(refused.stderr.contains("space"), "{refused:?}");
        // No key was generated for a request.
        let list = json(&world, "key list", &["--tpm", &tcti]).await;
        assert_eq!(list.as_array().unwrap().len(), 1, "{list}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn another_tpm_than_the_expected_one_is_refused() {
        let world = toasters().await;
        let (swtpm, other) = (Swtpm::start(), Swtpm::start());
        for (file, swtpm) in [("ek.txt", &swtpm), ("other.txt", &other)] {
            let options = TpmOptions::default().with_tcti(swtpm.tcti().parse().unwrap());
            let tpm = Tpm::open(options).await.unwrap();
            let device = TpmAttestation::new(&tpm).await.unwrap();
            world.file(file, device.endorsement_key().to_base64());
        }
        let tcti = swtpm.tcti();
        for (file, code) in [("other.txt", 2), ("group.key", 2), ("ek.txt", 0)] {
            let expected = ["--endorsement-key-file", file];
            let key = [&["--tpm", &tcti][..], &expected].concat();
            let issued = [&["--new-key-tpm", &tcti][..], &expected].concat();
            let register = "register --registration-id toaster-1 --group-key-file group.key";
            for (words, place) in [("key generate", key), (register, issued)] {
                let ran = run(&world, words, &place).await;
                assert_eq!(ran.code, code, "{words}: {ran:?}");
                if file == "other.txt" {
                    assert!(ran.stderr.contains("another endorsement key"), "{ran:?}");
                }
            }
            let attestation = ["--tpm", &tcti, "--endorsement-key-file", file];
            let ran = run(&world, "register", &attestation).await;
            // The TPM has no enrollment.
            assert_ne!(ran.code, 0, "{ran:?}");
            let is_refused = ran.stderr.contains("endorsement key");
            assert_eq!(is_refused, file != "ek.txt", "{ran:?}");
        }
        // From stdin, for the attestation and for the new key.
        let both = ["--tpm", &tcti, "--new-key-tpm", &tcti];
        let stdin = ["register", "--endorsement-key-file", "-"];
        let mut command = world.command(&[&stdin[..], &both].concat());
        command.write_stdin(world.read("ek.txt"));
        let ran = Ran::of(command).await;
        assert!(ran.stderr.contains("tpm:0x81000111 exists"), "{ran:?}");
    }
}
