//! The scenarios with a TPM, for Microsoft's TPM client for Node.

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

/// A swtpm with the keys that Microsoft's client creates in it.
#[derive(Debug)]
pub(crate) struct TpmDevice {
    swtpm: Swtpm,
    identity: Identity,
}

/// The output of `node/identity.mjs`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    endorsement_key: String,
    storage_root_key: String,
    registration_id: RegistrationId,
}

impl TpmDevice {
    /// Starts a new TPM.
    ///
    /// # Panics
    /// When swtpm does not start, or the client cannot use the TPM.
    pub(crate) fn fresh() -> Self {
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

    /// The TPM.
    pub(crate) fn swtpm(&self) -> &Swtpm {
        &self.swtpm
    }

    /// The registration id that Microsoft's client uses by default.
    pub(crate) fn registration_id(&self) -> &RegistrationId {
        &self.identity.registration_id
    }

    /// The endorsement key in the format of an enrollment.
    pub(crate) fn endorsement_key(&self) -> &str {
        &self.identity.endorsement_key
    }

    /// Both keys in the format of a webhook request.
    pub(crate) fn keys(&self) -> TpmAttestation {
        let mut keys = TpmAttestation::new(self.endorsement_key());
        keys.storage_root_key = Some(self.identity.storage_root_key.clone());
        keys
    }

    /// An enrollment with the client's default registration id.
    pub(crate) fn enrollment(&self) -> IndividualEnrollment {
        self.enrollment_as(self.registration_id().clone())
    }

    fn enrollment_as(&self, registration_id: RegistrationId) -> IndividualEnrollment {
        let attestation = AttestationMechanism::tpm(self.endorsement_key());
        IndividualEnrollment::new(registration_id, attestation).allocate_to(hub(HEATPUMPS))
    }
}

impl Scenario {
    /// A device that is named by its TPM.
    pub(crate) fn tpm() -> Self {
        let tpm = TpmDevice::fresh();
        let enrollment = tpm
            .enrollment()
            .with_device_id("boiler".parse().expect("valid"));
        Self::with_tpm(tpm, enrollment).assigned(HEATPUMPS, "boiler")
    }

    /// A device with a TPM and a given registration id.
    pub(crate) fn tpm_with_a_given_name() -> Self {
        let tpm = TpmDevice::fresh();
        let enrollment = tpm.enrollment_as("boiler-7".parse().expect("valid"));
        Self::with_tpm(tpm, enrollment).assigned(HEATPUMPS, "boiler-7")
    }

    /// A webhook receives the TPM's keys and the payload, and answers it.
    pub(crate) fn tpm_and_a_webhook() -> Self {
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

    /// The enrollment has the endorsement key of another TPM.
    pub(crate) fn tpm_of_another_device() -> Self {
        let enrolled = TpmDevice::fresh();
        let name: RegistrationId = "boiler-7".parse().expect("valid");
        Self::with_tpm(TpmDevice::fresh(), enrolled.enrollment_as(name))
    }

    /// A TPM without an enrollment. The service challenges it, and the operation fails.
    pub(crate) fn tpm_unknown() -> Self {
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

    /// A TPM with a disabled enrollment.
    pub(crate) fn tpm_disabled() -> Self {
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
