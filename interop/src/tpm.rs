//! Devices whose key is in a TPM, as the official TPM client for Node sees them, and what must come of them.

use std::path::Path;
use std::process::Command;

use dps_hardware::Swtpm;
use dps_types::RegistrationId;
use dps_types::enrollment::{
    AttestationMechanism, IndividualEnrollment, ProvisioningStatus, TpmAttestation,
};
use serde::Deserialize;

use crate::emulator::HEATPUMPS;
use crate::scenario::{Enrollment, Expected, Proof, Scenario, about_itself, hub};
use crate::webhook::EchoWebhook;

/// A TPM of its own, with the keys that the official client makes in it.
#[derive(Debug)]
pub struct TpmDevice {
    swtpm: Swtpm,
    identity: Identity,
}

/// What `node/identity.mjs` prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    endorsement_key: String,
    storage_root_key: String,
    registration_id: RegistrationId,
}

impl TpmDevice {
    /// A TPM that was never used before.
    ///
    /// # Panics
    /// When swtpm does not start, or the client cannot use the TPM.
    pub fn fresh() -> Self {
        let swtpm = Swtpm::start();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("node/identity.mjs");
        let told = Command::new("node")
            .arg(script)
            .arg(swtpm.port().to_string())
            .output()
            .expect("node runs");
        let stderr = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success(), "{stderr}");
        let identity = serde_json::from_slice(&told.stdout).expect("the identity as JSON");
        Self { swtpm, identity }
    }

    /// The TPM itself.
    pub fn swtpm(&self) -> &Swtpm {
        &self.swtpm
    }

    /// The name that the official client gives the device when nobody gives it another.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.identity.registration_id
    }

    /// The endorsement key, as an enrollment carries it.
    pub fn endorsement_key(&self) -> &str {
        &self.identity.endorsement_key
    }

    /// Both keys, as a webhook sees them.
    pub fn keys(&self) -> TpmAttestation {
        let mut keys = TpmAttestation::new(self.endorsement_key());
        keys.storage_root_key = Some(self.identity.storage_root_key.clone());
        keys
    }

    /// Its enrollment under the client's name for it.
    pub fn enrollment(&self) -> IndividualEnrollment {
        self.enrollment_as(self.registration_id().clone())
    }

    fn enrollment_as(&self, registration_id: RegistrationId) -> IndividualEnrollment {
        let attestation = AttestationMechanism::tpm(self.endorsement_key());
        IndividualEnrollment::new(registration_id, attestation).allocate_to(hub(HEATPUMPS))
    }
}

impl Scenario {
    /// A TPM that names the device.
    pub fn tpm() -> Self {
        let tpm = TpmDevice::fresh();
        let enrollment = tpm
            .enrollment()
            .with_device_id("boiler".parse().expect("valid"));
        Self::with_tpm(tpm, enrollment).assigned(HEATPUMPS, "boiler")
    }

    /// A TPM in a device that has a name.
    pub fn tpm_with_a_given_name() -> Self {
        let tpm = TpmDevice::fresh();
        let enrollment = tpm.enrollment_as("boiler-7".parse().expect("valid"));
        Self::with_tpm(tpm, enrollment).assigned(HEATPUMPS, "boiler-7")
    }

    /// A webhook that sees the TPM's keys, hears the device and answers it.
    pub fn tpm_and_a_webhook() -> Self {
        let webhook = EchoWebhook::bind(hub(HEATPUMPS));
        let tpm = TpmDevice::fresh();
        let enrollment = tpm
            .enrollment_as("boiler-7".parse().expect("valid"))
            .allocate_by_webhook(webhook.url());
        Self {
            payload: Some(about_itself()),
            webhook: Some(webhook),
            ..Self::with_tpm(tpm, enrollment).assigned(HEATPUMPS, "boiler-7")
        }
    }

    /// The name is enrolled with the endorsement key of another TPM.
    pub fn tpm_of_another_device() -> Self {
        let enrolled = TpmDevice::fresh();
        let name: RegistrationId = "boiler-7".parse().expect("valid");
        Self::with_tpm(TpmDevice::fresh(), enrolled.enrollment_as(name))
    }

    /// A TPM that nobody enrolled. It is challenged like any other, and learns in the end that it is not known.
    pub fn tpm_unknown() -> Self {
        let tpm = TpmDevice::fresh();
        let enrollment = tpm.enrollment();
        Self {
            enrollment: Enrollment::Nothing,
            expected: Expected::Failed {
                error_code: 404_201,
            },
            ..Self::with_tpm(tpm, enrollment)
        }
    }

    /// A TPM that the operator has locked out.
    pub fn tpm_disabled() -> Self {
        let tpm = TpmDevice::fresh();
        let enrollment = tpm
            .enrollment()
            .with_provisioning_status(ProvisioningStatus::Disabled);
        Self {
            expected: Expected::Disabled,
            ..Self::with_tpm(tpm, enrollment)
        }
    }

    fn with_tpm(tpm: TpmDevice, enrollment: IndividualEnrollment) -> Self {
        let device = enrollment.registration_id.clone();
        Self {
            device,
            ..Self::new(enrollment, Proof::Tpm(Box::new(tpm)))
        }
    }
}
