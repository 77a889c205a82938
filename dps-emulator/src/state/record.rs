//! The registration record of one device: where it is, and the operation that may be under way.

use dps_types::protocol::ApiVersion;
use dps_types::{
    DeviceId, DeviceRegistrationResult, ETag, HubHostname, OperationId, RegistrationId,
    RegistrationOperationStatus, RegistrationStatus, RegistrationSubstatus,
    SymmetricKeyRegistrationResult, Timestamp, TpmRegistrationResult, X509RegistrationResult,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attest::tpm::HmacKey;
use crate::attest::{EnrollmentRef, Proof};
use crate::service_error::ServiceFailure;

/// What the emulator knows about a device that registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) registration_id: RegistrationId,
    pub(crate) enrollment: EnrollmentRef,
    pub(crate) proof: Proof,
    pub(crate) created: Timestamp,
    pub(crate) last_updated: Timestamp,
    pub(crate) etag: ETag,
    pub(crate) operation: OperationId,
    /// The operation under way. Kept so that a restarted emulator goes on with it.
    pub(crate) pending: Option<Pending>,
    /// Where the device is, since its last success; kept also while it registers again or fails to.
    pub(crate) hub: Option<HubHostname>,
    pub(crate) device_id: Option<DeviceId>,
    /// With what a device with a TPM signs at that hub.
    pub(crate) hub_key: Option<HmacKey>,
    /// How the last operation ended.
    pub(crate) verdict: Option<Verdict>,
}

/// What an operation needs to be carried out, now or after a restart.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) payload: Option<Value>,
    /// The api-version the device spoke.
    pub(crate) api_version: String,
}

impl Pending {
    pub(crate) fn api_version(&self) -> ApiVersion {
        self.api_version.parse().unwrap_or(ApiVersion::V2021_06_01)
    }
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Verdict {
    Assigned {
        substatus: RegistrationSubstatus,
        payload: Option<Value>,
    },
    Failed(ServiceFailure),
    Disabled,
}

impl Record {
    pub(crate) fn status(&self) -> RegistrationStatus {
        match (&self.pending, &self.verdict) {
            (Some(_), _) => RegistrationStatus::Assigning,
            (None, Some(Verdict::Assigned { .. })) => RegistrationStatus::Assigned,
            (None, Some(Verdict::Failed(_))) => RegistrationStatus::Failed,
            (None, Some(Verdict::Disabled)) => RegistrationStatus::Disabled,
            (None, None) => RegistrationStatus::Unassigned,
        }
    }

    /// What a poll of the operation answers.
    pub(crate) fn operation_status(&self, api_version: ApiVersion) -> RegistrationOperationStatus {
        let state = match self.status() {
            RegistrationStatus::Assigning | RegistrationStatus::Disabled => {
                DeviceRegistrationResult::new(self.registration_id.clone(), self.status())
            }
            _ => self.result(api_version),
        };
        // The service has no operation for a disabled enrollment.
        let operation =
            Some(self.operation.clone()).filter(|_| self.status() != RegistrationStatus::Disabled);
        RegistrationOperationStatus::new(operation, self.status(), Some(state))
    }

    /// The registration as the device sees it. The hub key for a TPM is not in it yet.
    pub(crate) fn result(&self, api_version: ApiVersion) -> DeviceRegistrationResult {
        let mut result = DeviceRegistrationResult::new(self.registration_id.clone(), self.status());
        let group = match &self.enrollment {
            EnrollmentRef::Group(id) => Some(id.clone()),
            EnrollmentRef::Individual => None,
        };
        match self.proof {
            Proof::SymmetricKey | Proof::LowerCaseKey => {
                let mut key = SymmetricKeyRegistrationResult::default();
                key.enrollment_group_id = group;
                result.symmetric_key = Some(key);
            }
            Proof::X509 { .. } => {
                let mut x509 = X509RegistrationResult::default();
                x509.enrollment_group_id = group;
                result.x509 = Some(x509);
            }
            Proof::Tpm(_) => result.tpm = Some(TpmRegistrationResult::default()),
        }
        result.created_date_time_utc = Some(self.created);
        result.last_updated_date_time_utc = Some(self.last_updated);
        result.etag = Some(self.etag.clone());
        match (&self.pending, &self.verdict) {
            (None, Some(Verdict::Assigned { substatus, payload })) => {
                result.assigned_hub.clone_from(&self.hub);
                result.device_id.clone_from(&self.device_id);
                result.substatus = Some(substatus_for(substatus, api_version));
                result.payload.clone_from(payload);
            }
            (None, Some(Verdict::Failed(failure))) => {
                result.error_code = Some(failure.code);
                result.error_message = Some(failure.message.clone());
            }
            _ => {}
        }
        result
    }
}

/// Older clients do not know the substatus of a device that came back to the same hub.
fn substatus_for(
    substatus: &RegistrationSubstatus,
    api_version: ApiVersion,
) -> RegistrationSubstatus {
    match substatus {
        RegistrationSubstatus::ReprovisionedToInitialAssignment
            if api_version < ApiVersion::V2019_04_15 =>
        {
            RegistrationSubstatus::InitialAssignment
        }
        substatus => substatus.clone(),
    }
}
