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

/// A device can switch between the clients: both use the same keys in its TPM and the same registration id.
#[tokio::test]
#[ignore = "needs Microsoft's SDKs and ports 443 and 8883: scripts/test interop"]
async fn microsofts_client_and_ours_use_one_tpm() {
    let emulator = Emulator::start().await;
    let scenario = Scenario::tpm();
    let (Proof::Tpm(device), Enrollment::Individual(enrollment)) =
        (&scenario.proof, &scenario.enrollment)
    else {
        panic!("a TPM was expected: {scenario:?}");
    };
    let enrollments = emulator.service().individual_enrollments();
    enrollments.create(enrollment).await.unwrap();

    let theirs = Client::NODE_HTTP.register(&emulator, &scenario).await;
    assert!(matches!(theirs, Outcome::Assigned { .. }), "{theirs:?}");

    let tcti = Tcti::swtpm("127.0.0.1", device.swtpm().port()).unwrap();
    let tpm = Tpm::open(TpmOptions::default().with_tcti(tcti))
        .await
        .unwrap();
    let ours = TpmAttestation::new(&tpm).await.unwrap();
    let enrolled = TpmPublic::from_base64(device.endorsement_key()).unwrap();
    assert_eq!(*ours.endorsement_key(), enrolled);
    assert_eq!(ours.registration_id(), device.registration_id());
    let id_scope = emulator.id_scope().parse().unwrap();
    let assignment = ProvisioningClient::new(id_scope, ours, Http::default())
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(Roots::from_pem_file(emulator.ca_pem()).unwrap())
        .register()
        .await
        .unwrap();
    assert_eq!(assignment.device_id().as_str(), "boiler");

    // Each client can use the key that the other stored in the TPM.
    let theirs = Client::NODE_HTTP.register(&emulator, &scenario).await;
    assert!(matches!(theirs, Outcome::Assigned { .. }), "{theirs:?}");
    let claim = SasTokenBuilder::new("heatpumps.azure-devices.net/devices/boiler", 1_900_000_000);
    claim.sign(&tpm.hub_signer()).await.unwrap();
    emulator.stop().await;
}
