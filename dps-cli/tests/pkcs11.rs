//! `dps register` and `dps connect` with keys in a PKCS#11 token: SoftHSM.
#![cfg(feature = "pkcs11")]
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod common;

use std::any::type_name;

use common::{Ran, World};
use dps_device::pkcs11::{KeyKind, Pin, Token, Uri};
use dps_hardware::SoftHsm;
use serde_json::{Value, json};

/// Runs the test in its own process with one token: the module reads its configuration when it is loaded.
fn alone<T: FnOnce() -> F, F: Future<Output = ()>>(test: T) {
    let set_up = || SoftHsm::new().with_token("device");
    SoftHsm::run(type_name::<T>(), set_up, || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(test());
    });
}

fn uri(object: &str) -> Uri {
    let uri: Uri = "pkcs11:token=device".parse().unwrap();
    uri.with_object(object).with_module_path(SoftHsm::module())
}

async fn token(object: &str) -> Token {
    let pin = Pin::new(SoftHsm::PIN);
    Token::open_with_pin(&uri(object), pin).await.unwrap()
}

/// Runs the program with the PIN of the token.
async fn run(world: &World, arguments: &[&str]) -> Ran {
    let mut command = world.command(arguments);
    command.env("DPS_PIN", SoftHsm::PIN);
    Ran::of(command).await
}

async fn json(world: &World, arguments: &[&str]) -> Value {
    let ran = run(world, &[arguments, &["-o", "json"]].concat()).await;
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:?}");
    serde_json::from_str(&ran.stdout).unwrap()
}

#[test]
fn a_device_with_a_certificate_and_a_key_in_a_token_registers_and_connects() {
    alone(|| async {
        let world = World::start().await;
        let object = uri("toaster");
        let key = token("toaster").await;
        let private = key
            .generate_private_key(&object, KeyKind::P256)
            .await
            .unwrap();
        let id = "toaster-1".parse().unwrap();
        let request = private.certificate_request(&id);
        world.file("toaster-1.csr", request.await.unwrap());
        world.certify_toaster().await;
        key.store_chain(&object, world.read("toaster-1.pem"))
            .await
            .unwrap();
        drop((private, key));

        let object = object.to_string();
        for transport in ["http", "mqtt", "amqp"] {
            let register = ["register", "--pkcs11", &object, "--transport", transport];
            let assigned = json(&world, &register).await;
            assert_eq!(assigned["registrationId"], "toaster-1", "{transport}");
        }
        let connect = [
            "connect",
            "--pkcs11",
            &object,
            "--hub-host",
            "localhost",
            "--once",
        ];
        let twin = json(&world, &connect).await;
        assert_eq!(twin, json!({"desired": {}, "reported": {}}));
    });
}

#[test]
fn a_device_with_a_symmetric_key_in_a_token_registers_and_connects() {
    alone(|| async {
        let world = World::start().await;
        let object = uri("kettle");
        let token = token("kettle").await;
        let (secret, key) = token.generate_secret_key(&object).await.unwrap();
        drop((secret, token));
        world.file("kettle.key", &*key.to_base64());
        let enroll = [
            "enrollment",
            "create",
            "kettle-1",
            "--hub",
            "127.0.0.1",
            "--primary-key-file",
            "kettle.key",
            "--secondary-key-file",
            "kettle.key",
        ];
        let enrolled = world.run(&enroll).await;
        assert_eq!(enrolled.code, 0, "{enrolled:?}");

        let object = object.to_string();
        let device = ["--registration-id", "kettle-1", "--pkcs11-key", &object];
        let assigned = json(&world, &[&["register"], &device[..]].concat()).await;
        assert_eq!(assigned["status"], "assigned");
        let connect = ["connect", "--hub-host", "localhost", "--once"];
        json(&world, &[&connect[..], &device].concat()).await;
    });
}

#[test]
fn a_wrong_pin_or_object_is_an_error_that_does_not_show_the_pin() {
    alone(|| async {
        let world = World::start().await;
        let object = uri("nothing").to_string();
        let device = [
            "register",
            "--registration-id",
            "kettle-1",
            "--pkcs11-key",
            &object,
        ];
        let missing = run(&world, &device).await;
        assert_eq!(missing.code, 2, "{missing:?}");
        assert!(missing.stderr.contains("nothing"), "{missing:?}");

        let mut command = world.command(&device);
        command.env("DPS_PIN", "wr0ng-p1n");
        let wrong = Ran::of(command).await;
        assert_ne!(wrong.code, 0, "{wrong:?}");
        assert!(wrong.stderr.contains("PIN"), "{wrong:?}");
        assert!(!wrong.stderr.contains("wr0ng-p1n"), "{wrong:?}");

        let invalid = run(&world, &["register", "--pkcs11", "no-uri"]).await;
        assert_eq!(invalid.code, 2, "{invalid:?}");
    });
}
