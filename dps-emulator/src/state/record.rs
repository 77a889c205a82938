//! The registration record of a device: its assignment and its operation.

use dps_types::protocol::ApiVersion;
use dps_types::{
    ConnectionProfile, DeviceId, DeviceRegistrationResult, ETag, HubHostname, OperationId,
    RegistrationId, RegistrationOperationStatus, RegistrationStatus, RegistrationSubstatus,
    SymmetricKeyRegistrationResult, Timestamp, TpmRegistrationResult, X509RegistrationResult,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::attest::tpm::HmacKey;
use crate::attest::{EnrollmentRef, Proof};
use crate::issuance::Credential;
use crate::service_error::ServiceFailure;

/// The stored state of a device that has registered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) registration_id: RegistrationId,
    pub(crate) enrollment: EnrollmentRef,
    pub(crate) proof: Proof,
    pub(crate) created: Timestamp,
    pub(crate) last_updated: Timestamp,
    pub(crate) etag: ETag,
    pub(crate) operation: OperationId,
    /// The operation in progress. It is stored so that the emulator continues it after a restart.
    pub(crate) pending: Option<Pending>,
    /// The hub of the last successful assignment. It is kept while the device registers again, and if that fails.
    pub(crate) hub: Option<HubHostname>,
    pub(crate) device_id: Option<DeviceId>,
    /// The key that a device with a TPM signs its tokens for the hub with.
    pub(crate) hub_key: Option<HmacKey>,
    /// The result of the last operation.
    pub(crate) outcome: Option<Outcome>,
    /// The common part of the device's issued certificates, if it has any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) credential: Option<Credential>,
    /// The certificate that the last operation issued, and its issuers: base64 of DER.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) issued_chain: Vec<String>,
}

/// The input of an operation in progress.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Pending {
    pub(crate) payload: Option<Value>,
    /// The certificate request of the device, which was checked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) csr: Option<String>,
    /// The api-version of the device's request.
    pub(crate) api_version: String,
}

impl Pending {
    pub(crate) fn api_version(&self) -> ApiVersion {
        self.api_version.parse().unwrap_or(ApiVersion::V2021_06_01)
    }
}

/// The result of an operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    Assigned {
        substatus: RegistrationSubstatus,
        payload: Option<Value>,
    },
    Failed(ServiceFailure),
    Disabled,
}

impl Record {
    pub(crate) fn status(&self) -> RegistrationStatus {
        match (&self.pending, &self.outcome) {
            (Some(_), _) => RegistrationStatus::Assigning,
            (None, Some(Outcome::Assigned { .. })) => RegistrationStatus::Assigned,
            (None, Some(Outcome::Failed(_))) => RegistrationStatus::Failed,
            (None, Some(Outcome::Disabled)) => RegistrationStatus::Disabled,
            (None, None) => RegistrationStatus::Unassigned,
        }
    }

    /// The answer to a request for the operation's status.
    pub(crate) fn operation_status(&self, api_version: ApiVersion) -> RegistrationOperationStatus {
        let mut state = match self.status() {
            RegistrationStatus::Assigning | RegistrationStatus::Disabled => {
                DeviceRegistrationResult::new(self.registration_id.clone(), self.status())
            }
            _ => self.result(api_version),
        };
        let is_assigned = self.status() == RegistrationStatus::Assigned;
        if is_assigned && !self.issued_chain.is_empty() && issues_certificates(api_version) {
            state.issued_certificate_chain = Some(self.issued_chain.clone());
        }
        // The service returns no operation id if the enrollment is disabled.
        let operation =
            Some(self.operation.clone()).filter(|_| self.status() != RegistrationStatus::Disabled);
        RegistrationOperationStatus::new(operation, self.status(), Some(state))
    }

    /// The registration as the device receives it, without the hub key for a TPM.
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
        match (&self.pending, &self.outcome) {
            (None, Some(Outcome::Assigned { substatus, payload })) => {
                result.assigned_hub.clone_from(&self.hub);
                // Every linked hub is classic. The member is older than no other version.
                if api_version >= ApiVersion::V2026_11_02_PREVIEW {
                    result.connection_profile = Some(ConnectionProfile::Classic);
                }
                result.device_id.clone_from(&self.device_id);
                result.substatus = Some(substatus_for(substatus, api_version));
                result.payload.clone_from(payload);
            }
            (None, Some(Outcome::Failed(failure))) => {
                result.error_code = Some(failure.code);
                result.error_message = Some(failure.message.clone());
            }
            _ => {}
        }
        result
    }
}

/// Whether an api-version of the device API has `csr` and `issuedCertificateChain`.
pub(crate) fn issues_certificates(api_version: ApiVersion) -> bool {
    api_version >= ApiVersion::V2025_07_01_PREVIEW
}

/// Clients with an older api-version do not know `reprovisionedToInitialAssignment`.
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
