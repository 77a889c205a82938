//! A device with a TPM: the operator enrolls its endorsement key, the TPM solves the challenge of the service and stores the
//! key for the IoT hub. Offline, with a TPM in software:
//!
//! ```sh
//! mkdir -p target/swtpm
//! swtpm socket --tpm2 --tpmstate dir=$PWD/target/swtpm --server type=tcp,port=2321 --ctrl type=tcp,port=2322 \
//!     --flags not-need-init,startup-clear --daemon
//! TPM2TOOLS_TCTI=swtpm:host=127.0.0.1,port=2321 cargo run -p dps-examples --features tpm --example register_tpm
//! ```
//!
//! With the TPM of this machine, in which it stores three keys: `TPM2TOOLS_TCTI=device:/dev/tpmrm0`.
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dps_device::tpm::{Tcti, Tpm, TpmAttestation, TpmOptions};
use dps_device::{Attestation, Http, ProvisioningClient, Roots};
use dps_emulator::{Emulator, LinkedHub};
use dps_service::ServiceClient;
use dps_types::enrollment::{AttestationMechanism, IndividualEnrollment};
use dps_types::sas::SasTokenBuilder;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let dps = Emulator::builder().link_hub("contoso-boilers".parse::<LinkedHub>()?).start().await?;
    let roots = Roots::from_pem(dps.ca_pem())?;

    // The device: its registration id is derived from the endorsement key. Missing keys are created in the TPM.
    let tcti = Tcti::from_env()?.ok_or("which TPM? Set TPM2TOOLS_TCTI")?;
    let tpm = Tpm::open(TpmOptions::default().with_tcti(tcti)).await?;
    let who = TpmAttestation::new(&tpm).await?;
    let (name, endorsement_key) = (who.registration_id().clone(), who.endorsement_key().to_base64());
    println!("the registration id from the TPM is {name}");

    // The operator receives the registration id and the endorsement key from the factory. Neither is secret.
    let service = ServiceClient::from_connection_string(&dps.service_connection_string())?.with_roots(roots.clone());
    let enrollment =
        IndividualEnrollment::new(name, AttestationMechanism::tpm(endorsement_key)).with_device_id("boiler-1".parse()?);
    service.individual_enrollments().create(&enrollment).await?;

    // The device: DPS supports TPMs only over HTTPS.
    let transport = Http::default().with_port(dps.https_port());
    let client = ProvisioningClient::new(dps.id_scope().clone(), who, transport)
        .with_host(dps_device::Host::LOCALHOST)
        .with_roots(roots);
    let assignment = client.register().await?;
    println!("registered: {} is assigned to {}", assignment.device_id(), assignment.hub());

    // From now on, also after a restart, the TPM signs tokens for the hub with a key that never leaves it.
    let resource = format!("{}/devices/{}", assignment.hub(), assignment.device_id());
    let expiry = SystemTime::now().duration_since(UNIX_EPOCH)? + Duration::from_secs(3600);
    let token = SasTokenBuilder::new(&resource, expiry.as_secs()).sign(&tpm.hub_signer()).await?;
    println!("a token for {} is {} characters long", token.resource(), token.reveal().len());

    dps.shutdown().await;
    Ok(())
}
