//! Registrations with a TPM: the challenge, the hub key, and failures.

use dps_device::attestation::TpmKeys;
use dps_device::tpm::TpmAttestation;
use dps_device::{Attestation, ErrorKind, Mqtt};
use dps_emulator::fault::{Effect, Fault, Step};
use dps_hardware::Swtpm;
use dps_types::sas::{SasTokenBuilder, Sign};
use dps_types::{RegistrationId, SymmetricKey};

use crate::doubles::{MixedUpTpm, RestartingTpm};
use crate::dps::{Dps, HUB};
use crate::{attestation, cause, chain, open, raw};

#[tokio::test]
async fn a_new_tpm_registers_and_keeps_the_hub_key_over_restarts() {
    let mut swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let id = who.registration_id().clone();
    let dps = Dps::start().await;
    dps.enroll(&id, who.endorsement_key()).await;
    let client = dps.client(who);

    let assignment = client.register().await.unwrap();
    assert_eq!(assignment.hub().as_str(), HUB);
    assert_eq!(assignment.device_id().as_str(), id.as_str());
    let token = token(&tpm.hub_signer()).await;
    assert!(raw::left_behind(&swtpm).is_empty());

    swtpm.restart();
    assert_eq!(token, self::token(&tpm.hub_signer()).await);
    // After another start of the device it has the same registration id and the same hub key.
    let again = attestation(&swtpm).await;
    assert_eq!(again.registration_id(), &id);
    assert_eq!(token, self::token(&again).await);
    dps.client(again).register().await.unwrap();
    assert_eq!(token, self::token(&tpm.hub_signer()).await);

    let state = client.lookup().await.unwrap();
    assert_eq!(state.assigned_hub.unwrap().as_str(), HUB);
    assert!(raw::left_behind(&swtpm).is_empty());
    dps.shutdown().await;
}

/// The variable sets another number of registrations, for a long run by hand.
#[tokio::test]
async fn many_registrations_leave_no_object_and_no_session() {
    let count =
        std::env::var("DPS_TPM_REGISTRATIONS").map_or(20, |count| count.parse::<u32>().unwrap());
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let dps = Dps::start().await;
    dps.enroll(who.registration_id(), who.endorsement_key())
        .await;
    let client = dps.client(who.clone());
    for number in 0..count {
        client.register().await.unwrap();
        assert!(raw::left_behind(&swtpm).is_empty(), "{number}");
    }
    token(&who).await;
    assert_eq!(
        raw::persistent(&swtpm),
        [0x8100_0001, 0x8100_0100, 0x8101_0001]
    );
    dps.shutdown().await;
}

/// The hub key of the emulator is not known here, so the test itself encrypts a key for the TPM.
#[tokio::test]
async fn a_token_for_the_hub_verifies_with_the_hub_key() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let key = [0x5a; 64];
    who.keep_hub_key(&crate::wrap::wrap(&who, &key))
        .await
        .unwrap();

    let token = SasTokenBuilder::new("toasters.azure-devices.net/devices/toaster", 1_900_000_000)
        .sign(&who.tpm().hub_signer())
        .await
        .unwrap();

    assert!(token.verify(&SymmetricKey::from_bytes(key).unwrap()));
    assert!(!token.verify(&SymmetricKey::from_bytes([0x5b; 64]).unwrap()));
}

#[tokio::test]
async fn a_custom_registration_id_registers() {
    let swtpm = Swtpm::start();
    let id: RegistrationId = "Toaster-007".parse().unwrap();
    let who = attestation(&swtpm).await.with_registration_id(id.clone());
    let dps = Dps::start().await;
    dps.enroll(&id, who.endorsement_key()).await;

    let assignment = dps.client(who).register().await.unwrap();

    assert_eq!(assignment.device_id().as_str(), "Toaster-007");
    dps.shutdown().await;
}

#[tokio::test]
async fn a_device_enrolled_with_another_tpm_is_refused() {
    let (swtpm, other) = (Swtpm::start(), Swtpm::start());
    let who = attestation(&swtpm).await;
    let id = who.registration_id().clone();
    let dps = Dps::start().await;
    dps.enroll(&id, attestation(&other).await.endorsement_key())
        .await;
    let client = dps.client(who);

    let error = client.register().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unauthorized, "{}", chain(&error));
    assert_eq!(raw::persistent(&swtpm), [0x8100_0001, 0x8101_0001]);
    assert!(raw::left_behind(&swtpm).is_empty());
    dps.shutdown().await;
}

#[tokio::test]
async fn two_devices_register_at_once() {
    let swtpms = [Swtpm::start(), Swtpm::start()];
    let dps = Dps::start().await;
    let mut clients = Vec::new();
    for swtpm in &swtpms {
        let who = attestation(swtpm).await;
        dps.enroll(who.registration_id(), who.endorsement_key())
            .await;
        clients.push(dps.client(who));
    }

    let registrations = clients.iter().map(|client| client.register().into_future());
    let assignments = futures_util::future::join_all(registrations).await;

    let ids: Vec<_> = assignments
        .into_iter()
        .map(|assignment| assignment.unwrap().device_id().clone())
        .collect();
    assert_ne!(ids[0], ids[1]);
    let mut tokens = Vec::new();
    for swtpm in &swtpms {
        assert!(raw::left_behind(swtpm).is_empty());
        tokens.push(token(&open(swtpm).await.hub_signer()).await);
    }
    assert_ne!(tokens[0], tokens[1]);
    dps.shutdown().await;
}

#[tokio::test]
async fn a_failed_registration_does_not_change_the_hub_key() {
    let swtpm = Swtpm::start();
    let tpm = open(&swtpm).await;
    let who = TpmAttestation::new(&tpm).await.unwrap();
    let id = who.registration_id().clone();
    let dps = Dps::start().await;
    dps.enroll(&id, who.endorsement_key()).await;
    let client = dps.client(who);
    client.register().await.unwrap();
    let before = token(&tpm.hub_signer()).await;

    dps.disable(&id).await;
    let error = client.register().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Disabled);
    assert_eq!(before, token(&tpm.hub_signer()).await);

    // The same for a registration that fails after the challenge.
    dps.emulator
        .faults()
        .next(Fault::new(Step::Poll, Effect::Fail(501)));
    let error = client.register().await.unwrap_err();
    assert!(!error.is_retryable(), "{}", chain(&error));
    assert_eq!(before, token(&tpm.hub_signer()).await);
    assert!(raw::left_behind(&swtpm).is_empty());
    dps.emulator.faults().clear();
    dps.shutdown().await;
}

#[tokio::test]
async fn a_challenge_that_cannot_be_opened_fails_the_registration() {
    let (swtpm, other) = (Swtpm::start(), Swtpm::start());
    let who = MixedUpTpm {
        presented: attestation(&other).await,
        used: attestation(&swtpm).await,
    };
    let dps = Dps::start().await;
    dps.enroll(who.registration_id(), who.presented.endorsement_key())
        .await;

    let error = dps.client(who).register().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Signing);
    assert!(cause(&error).response_code().is_some());
    assert!(
        chain(&error).contains("not for this TPM"),
        "{}",
        chain(&error)
    );
    dps.shutdown().await;
}

#[tokio::test]
async fn a_tpm_that_restarts_between_challenge_and_answer_registers() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let dps = Dps::start().await;
    dps.enroll(who.registration_id(), who.endorsement_key())
        .await;
    let who = RestartingTpm {
        keys: who,
        swtpm: swtpm.into(),
    };

    let assignment = dps.client(who).register().await.unwrap();

    assert_eq!(assignment.hub().as_str(), HUB);
    dps.shutdown().await;
}

#[tokio::test]
async fn tpm_attestation_over_mqtt_is_unsupported() {
    let swtpm = Swtpm::start();
    let who = attestation(&swtpm).await;
    let dps = Dps::start().await;
    dps.enroll(who.registration_id(), who.endorsement_key())
        .await;
    let mqtt = Mqtt::default().with_port(dps.emulator.mqtt_port());

    let error = dps.client_over(mqtt, who).register().await.unwrap_err();

    assert_eq!(error.kind(), ErrorKind::Unsupported);
    dps.shutdown().await;
}

async fn token(signer: &dyn Sign) -> String {
    let builder = SasTokenBuilder::new("toasters.azure-devices.net/devices/toaster", 1_900_000_000);
    let token = builder.sign(signer).await.unwrap();
    token.reveal().to_string()
}
