//! What a device says and hears.

use serde_json::Value;

use crate::enrollment::{TpmAttestation, X509CertificateInfo};
use crate::lossless::Lenient;
use crate::{
    DeviceId, ETag, EnrollmentGroupId, ErrorCode, Extra, HubHostname, OperationId, RegistrationId,
    Timestamp,
};

open_enum! {
    /// How far a registration is.
    pub enum RegistrationStatus {
        /// Not registered.
        Unassigned = "unassigned",
        /// In progress: ask again.
        Assigning = "assigning",
        /// Done: the device has a hub.
        Assigned = "assigned",
        /// Done, without success: see the error code.
        Failed = "failed",
        /// The enrollment is disabled.
        Disabled = "disabled" | "blacklisted",
    }
}

open_enum! {
    /// How an assignment came about.
    pub enum RegistrationSubstatus {
        /// The first assignment.
        InitialAssignment = "initialAssignment",
        /// Moved to another hub, with its twin.
        DeviceDataMigrated = "deviceDataMigrated",
        /// Moved to another hub, with a fresh twin.
        DeviceDataReset = "deviceDataReset",
        /// Registered again and assigned to the same hub (api-version 2019-04-15 and later).
        ReprovisionedToInitialAssignment = "reprovisionedToInitialAssignment",
    }
}

lossless! {
    /// The body of a registration and of a status lookup.
    #[derive(Default)]
    pub struct RegistrationRequest {
        /// The device. When present it must be the one in the path.
        registration_id: Option<RegistrationId> = "registrationId",
        /// The keys of the device's TPM.
        tpm: Option<TpmAttestation> = "tpm",
        /// What the device tells a custom allocation webhook. Any JSON value.
        payload: Option<Value> = "payload",
    }
}

impl RegistrationRequest {
    /// A registration of this device.
    pub fn new(registration_id: RegistrationId) -> Self {
        Self {
            registration_id: Some(registration_id),
            ..Self::default()
        }
    }

    /// Adds a payload for the custom allocation webhook.
    #[must_use]
    pub fn with_payload(mut self, payload: Value) -> Self {
        self.payload = Some(payload);
        self
    }
}

lossless! {
    /// The answer to a registration and to each poll.
    pub struct RegistrationOperationStatus {
        /// The handle to poll with. The service leaves it out, or empty, when there is nothing to poll.
        operation_id: Option<OperationId> = "operationId" via OperationIdOrEmpty,
        /// How far the registration is.
        status: RegistrationStatus = "status",
        /// The registration itself, as far as it is known.
        registration_state: Option<DeviceRegistrationResult> = "registrationState" | "registrationStatus",
    }
}

impl RegistrationOperationStatus {
    /// A status under this operation id; without one it is written empty, as the service does.
    pub fn new(
        operation_id: Option<OperationId>,
        status: RegistrationStatus,
        registration_state: Option<DeviceRegistrationResult>,
    ) -> Self {
        let mut extra = Extra::default();
        if operation_id.is_none() {
            extra.insert("operationId".to_owned(), Value::from(""));
        }
        Self {
            operation_id,
            status,
            registration_state,
            extra,
        }
    }
}

lossless! {
    /// What DPS tells the device about its registration.
    ///
    /// What a device can do without is read leniently: it must not lose its hub over a date.
    #[derive(Default)]
    pub struct DeviceRegistrationResult {
        /// For devices with a TPM.
        tpm: Option<TpmRegistrationResult> = "tpm",
        /// For devices with a certificate.
        x509: Option<X509RegistrationResult> = "x509" via Lenient<X509RegistrationResult>,
        /// For devices with a symmetric key.
        symmetric_key: Option<SymmetricKeyRegistrationResult> = "symmetricKey" via Lenient<SymmetricKeyRegistrationResult>,
        /// The device's name towards DPS.
        registration_id: Option<RegistrationId> = "registrationId",
        /// When it first registered.
        created_date_time_utc: Option<Timestamp> = "createdDateTimeUtc" via Lenient<Timestamp>,
        /// The hub it is assigned to.
        assigned_hub: Option<HubHostname> = "assignedHub",
        /// The device's name in that hub.
        device_id: Option<DeviceId> = "deviceId",
        /// How far the registration is.
        status: Option<RegistrationStatus> = "status",
        /// How the assignment came about.
        substatus: Option<RegistrationSubstatus> = "substatus",
        /// Why it failed.
        error_code: Option<ErrorCode> = "errorCode" via Lenient<ErrorCode>,
        /// Why it failed, in words.
        error_message: Option<String> = "errorMessage" via Lenient<String>,
        /// When the registration last changed.
        last_updated_date_time_utc: Option<Timestamp> = "lastUpdatedDateTimeUtc" via Lenient<Timestamp>,
        /// The version of the registration record.
        etag: Option<ETag> = "etag" via Lenient<ETag>,
        /// What the custom allocation webhook sends to the device.
        payload: Option<Value> = "payload",
    }
}

impl DeviceRegistrationResult {
    /// A registration in this state.
    pub fn new(registration_id: RegistrationId, status: RegistrationStatus) -> Self {
        Self {
            registration_id: Some(registration_id),
            status: Some(status),
            ..Self::default()
        }
    }
}

lossless! {
    /// What a device with a TPM needs next.
    #[derive(Default)]
    pub struct TpmRegistrationResult {
        /// The hub key, encrypted to the TPM, in base64.
        authentication_key: Option<String> = "authenticationKey",
    }
}

lossless! {
    /// How a device with a certificate was recognised.
    #[derive(Default)]
    pub struct X509RegistrationResult {
        /// The device's certificate.
        certificate_info: Option<X509CertificateInfo> = "certificateInfo",
        /// The enrollment group it belongs to.
        enrollment_group_id: Option<EnrollmentGroupId> = "enrollmentGroupId",
        /// The certificate that decided.
        signing_certificate_info: Option<X509CertificateInfo> = "signingCertificateInfo",
    }
}

lossless! {
    /// How a device with a symmetric key was recognised.
    #[derive(Default)]
    pub struct SymmetricKeyRegistrationResult {
        /// The enrollment group it belongs to.
        enrollment_group_id: Option<EnrollmentGroupId> = "enrollmentGroupId",
    }
}

lossless! {
    /// A registration record, as the operator sees it.
    #[derive(Default)]
    pub struct DeviceRegistrationState {
        /// The device's name towards DPS.
        registration_id: Option<RegistrationId> = "registrationId",
        /// When it first registered.
        created_date_time_utc: Option<Timestamp> = "createdDateTimeUtc",
        /// The hub it is assigned to.
        assigned_hub: Option<HubHostname> = "assignedHub",
        /// The device's name in that hub.
        device_id: Option<DeviceId> = "deviceId",
        /// How far the registration is.
        status: Option<RegistrationStatus> = "status",
        /// How the assignment came about.
        substatus: Option<RegistrationSubstatus> = "substatus",
        /// Why it failed.
        error_code: Option<ErrorCode> = "errorCode",
        /// Why it failed, in words.
        error_message: Option<String> = "errorMessage",
        /// When the registration last changed.
        last_updated_date_time_utc: Option<Timestamp> = "lastUpdatedDateTimeUtc",
        /// The version of the record.
        etag: Option<ETag> = "etag",
        /// What the custom allocation webhook sends to the device.
        payload: Option<Value> = "payload",
    }
}

impl From<DeviceRegistrationResult> for DeviceRegistrationState {
    /// The operator's view has no part on how the device proved itself.
    fn from(result: DeviceRegistrationResult) -> Self {
        Self {
            registration_id: result.registration_id,
            created_date_time_utc: result.created_date_time_utc,
            assigned_hub: result.assigned_hub,
            device_id: result.device_id,
            status: result.status,
            substatus: result.substatus,
            error_code: result.error_code,
            error_message: result.error_message,
            last_updated_date_time_utc: result.last_updated_date_time_utc,
            etag: result.etag,
            payload: result.payload,
            extra: result.extra,
        }
    }
}

lossless! {
    /// The HTTP 401 body that asks a TPM to prove itself.
    pub struct TpmChallenge {
        /// A key that only this TPM can decrypt, in base64.
        authentication_key: String = "authenticationKey",
        /// The name of that key: `registration`.
        key_name: Option<String> = "keyName",
    }
}

impl TpmChallenge {
    /// A challenge with this encrypted key.
    pub fn new(authentication_key: impl Into<String>) -> Self {
        Self {
            authentication_key: authentication_key.into(),
            key_name: Some("registration".to_owned()),
            extra: Default::default(),
        }
    }
}

/// An operation id, or none: absent, `null`, or empty as the service writes it for a disabled enrollment.
#[derive(serde::Deserialize)]
#[serde(try_from = "Option<String>")]
struct OperationIdOrEmpty(Option<OperationId>);

impl TryFrom<Option<String>> for OperationIdOrEmpty {
    type Error = crate::ParseError;

    fn try_from(text: Option<String>) -> Result<Self, Self::Error> {
        text.filter(|text| !text.is_empty())
            .map(OperationId::new)
            .transpose()
            .map(Self)
    }
}

impl From<OperationIdOrEmpty> for Option<OperationId> {
    fn from(id: OperationIdOrEmpty) -> Self {
        id.0
    }
}
