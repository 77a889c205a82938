//! `Box`, `Arc` and `&` of a trait object work wherever the trait is required.

use std::sync::Arc;
use std::time::SystemTime;

use dps_device::attestation::{Sign, TpmKeys};
use dps_device::{
    Attestation, Clock, Fallback, ProvisioningClient, SymmetricKey, SymmetricKeyAttestation,
    SystemClock, Transport,
};
use dps_hardware::SoftwareTpm;

use crate::script::{KEY, Script, answer, assigned};

fn scope() -> dps_device::IdScope {
    "0ne00111111".parse().unwrap()
}

fn system_clock() -> SystemClock {
    #[allow(
        clippy::default_constructed_unit_structs,
        reason = "the struct is non-exhaustive"
    )]
    SystemClock::default()
}

fn device() -> SymmetricKeyAttestation {
    let key = SymmetricKey::from_base64(KEY).unwrap();
    SymmetricKeyAttestation::new("my-device".parse().unwrap(), key)
}

#[tokio::test(start_paused = true)]
async fn a_client_accepts_trait_objects() {
    let script = Script::new([assigned(), assigned(), assigned()]);
    let boxed: Box<dyn Attestation> = Box::new(device());
    let transport: Box<dyn Transport> = Box::new(script.clone());
    let clock: Box<dyn Clock> = Box::new(system_clock());
    let client = ProvisioningClient::new(scope(), boxed, transport).with_clock(clock);
    client.register().await.unwrap();

    let shared: Arc<dyn Attestation> = Arc::new(device());
    let transport: Arc<dyn Transport> = Arc::new(script.clone());
    let clock: Arc<dyn Clock> = Arc::new(system_clock());
    let client = ProvisioningClient::new(scope(), shared, transport).with_clock(clock);
    client.register().await.unwrap();

    let transport: &'static Script = Box::leak(Box::new(script.clone()));
    let attestation: &'static SymmetricKeyAttestation = Box::leak(Box::new(device()));
    ProvisioningClient::new(scope(), attestation, transport)
        .register()
        .await
        .unwrap();
    assert_eq!(script.sessions_opened(), 3);
}

/// A forwarding type that forgets the secondary proof would lose the fallback.
#[tokio::test(start_paused = true)]
async fn the_secondary_proof_is_forwarded() {
    let script = Script::new([answer(401, "{}"), assigned()]);
    let device: Box<dyn Attestation> = Box::new(device().with_secondary(SymmetricKey::generate()));
    let device: Arc<dyn Attestation> = Arc::new(device);
    let client = ProvisioningClient::new(scope(), device, script.clone());
    client.register().await.unwrap();
    assert_eq!(script.asked().len(), 2);
}

#[tokio::test]
async fn keys_and_clocks_are_forwarded() {
    let key = SymmetricKey::generate();
    let expected = key.sign(b"data").await.unwrap().0;
    let boxed: Box<dyn Sign> = Box::new(key.clone());
    let shared: Arc<dyn Sign> = Arc::new(key);
    assert_eq!(boxed.sign(b"data").await.unwrap().0, expected);
    assert_eq!(shared.sign(b"data").await.unwrap().0, expected);

    let tpm = SoftwareTpm::from_vector();
    let boxed: Box<dyn TpmKeys> = Box::new(tpm.clone());
    let forwarded = |keys: &dyn TpmKeys| keys.endorsement_key().to_base64();
    assert_eq!(forwarded(&boxed), tpm.endorsement_key().to_base64());
    assert_eq!(
        forwarded(&Arc::new(boxed)),
        tpm.endorsement_key().to_base64()
    );

    let clock: Arc<dyn Clock> = Arc::new(system_clock());
    assert!(clock.now() > SystemTime::UNIX_EPOCH);
}

#[test]
fn a_fallback_names_its_transports_through_pointers() {
    let boxed: Box<dyn Transport> = Box::new(Script::new([]));
    assert_eq!(boxed.name(), "Script");
    let fallback = Fallback::new(boxed);
    let shown = format!("{fallback:?}");
    assert!(shown.contains("Script"), "{shown}");
}

#[test]
fn a_client_shows_its_attestation_and_transport() {
    let client = ProvisioningClient::new(scope(), device(), Script::new([]));
    let shown = format!("{client:?}");
    for part in [
        "SymmetricKeyAttestation",
        "my-device",
        "Script",
        "0ne00111111",
    ] {
        assert!(shown.contains(part), "{shown}");
    }
    assert!(!shown.contains(&KEY[..20]), "{shown}");
}
