//! Microsoft's TPM client for Node over HTTPS and AMQP, with a software TPM for each device.

use crate::{Client, Emulator, Enrollment, Outcome, Proof, Scenario};
use dps_device::tpm::{Tcti, Tpm, TpmAttestation, TpmOptions};
use dps_device::{Attestation, Http, ProvisioningClient, Roots};
use dps_types::sas::SasTokenBuilder;
use dps_types::tpm::TpmPublic;

scenarios!(
    Client::NODE_HTTP;
    tpm
    tpm_with_a_given_name
    tpm_and_a_webhook
    tpm_of_another_device
    tpm_unknown
    tpm_disabled
);

mod amqp {
    use crate::Client;

    scenarios!(
        Client::NODE_AMQP;
        tpm
        tpm_with_a_given_name
        tpm_of_another_device
        tpm_unknown
        tpm_disabled
    );
}

mod amqp_ws {
    use crate::Client;

    scenarios!(
        Client::NODE_AMQP_WS;
        tpm
        tpm_of_another_device
    );
}

/// A device can switch between the clients at any time: both use the same keys in its TPM and the same registration id, and each can use
/// the hub key that the other stored.
#[tokio::test]
#[ignore = "needs Microsoft's SDKs and ports 443 and 8883: scripts/test interop"]
async fn microsofts_client_and_ours_take_turns_on_one_tpm() {
    const TURNS: usize = 4;
    let emulator = Emulator::start().await;
    let scenario = Scenario::tpm();
    let (Proof::Tpm(device), Enrollment::Individual(enrollment)) =
        (&scenario.proof, &scenario.enrollment)
    else {
        panic!("a TPM was expected: {scenario:?}");
    };
    let enrollments = emulator.service().individual_enrollments();
    enrollments.create(enrollment).await.unwrap();
    let tcti = Tcti::swtpm("127.0.0.1", device.swtpm().port()).unwrap();
    let enrolled = TpmPublic::from_base64(device.endorsement_key()).unwrap();
    let options = TpmOptions::default()
        .with_tcti(tcti)
        .with_expected_endorsement_key(enrolled.clone());
    let roots = Roots::from_pem_file(emulator.ca_pem()).unwrap();
    let claim = SasTokenBuilder::new("heatpumps.azure-devices.net/devices/boiler", 1_900_000_000);

    let mut tokens = Vec::new();
    for _ in 0..TURNS {
        let theirs = Client::NODE_HTTP.register(&emulator, &scenario).await;
        assert!(matches!(theirs, Outcome::Assigned { .. }), "{theirs:?}");

        // As after a start of the device.
        let tpm = Tpm::open(options.clone()).await.unwrap();
        tokens.push(claim.clone().sign(&tpm.hub_signer()).await.unwrap());
        let ours = TpmAttestation::new(&tpm).await.unwrap();
        assert_eq!(*ours.endorsement_key(), enrolled);
        assert_eq!(ours.registration_id(), device.registration_id());
        let id_scope = emulator.id_scope().parse().unwrap();
        let assignment = ProvisioningClient::new(id_scope, ours, Http::default())
            .with_host(dps_device::Host::LOCALHOST)
            .with_roots(roots.clone())
            .register()
            .await
            .unwrap();
        assert_eq!(assignment.device_id().as_str(), "boiler");
        tokens.push(claim.clone().sign(&tpm.hub_signer()).await.unwrap());
    }
    // The hub key of the device is the same each time.
    let tokens: Vec<String> = tokens
        .iter()
        .map(|token| token.reveal().to_string())
        .collect();
    assert_eq!(tokens, vec![tokens[0].clone(); 2 * TURNS]);
    emulator.stop().await;
}
