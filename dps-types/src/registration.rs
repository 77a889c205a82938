//! The device API: request and response documents.

use serde_json::Value;

use crate::enrollment::{TpmAttestation, X509CertificateInfo};
use crate::lossless::Lenient;
use crate::{
    DeviceId, ETag, EnrollmentGroupId, ErrorCode, Extra, HubHostname, OperationId, RegistrationId,
    Timestamp,
};

open_enum! {
    /// The status of a registration.
    pub enum RegistrationStatus {
        /// Not registered.
        Unassigned = "unassigned",
        /// In progress: poll again.
        Assigning = "assigning",
        /// The device was assigned to a hub.
        Assigned = "assigned",
        /// The registration failed: see the error code.
        Failed = "failed",
        /// The enrollment is disabled.
        Disabled = "disabled" | "blacklisted",
    }
}

open_enum! {
    /// The kind of an assignment.
    pub enum RegistrationSubstatus {
        /// The first assignment.
        InitialAssignment = "initialAssignment",
        /// Moved to another hub, with its twin.
        DeviceDataMigrated = "deviceDataMigrated",
        /// Moved to another hub, with a new twin.
        DeviceDataReset = "deviceDataReset",
        /// Registered again and assigned to the same hub (api-version 2019-04-15 and later).
        ReprovisionedToInitialAssignment = "reprovisionedToInitialAssignment",
    }
}

open_enum! {
    /// The protocol profile of a hub (api-version 2026-11-02-preview). An absent one means [`Classic`](Self::Classic).
    ///
    /// A client must not connect with a profile that it does not support. Source: `device.json` of that api-version.
    pub enum ConnectionProfile {
        /// MQTT 3.1.1, AMQP and HTTPS, as all hubs before 2026.
        Classic = "classic",
        /// MQTT 5 with X.509 only.
        MqttV5 = "mqttV5",
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
        /// A certificate request for a new key pair of the device: PKCS#10 in DER, in base64. The common name is the registration
        /// id. A status lookup must not have it (api-version 2025-07-01-preview and later).
        csr: Option<String> = "csr",
        /// A value for the custom allocation webhook. Any JSON value.
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
    /// The response to a registration and to each poll.
    pub struct RegistrationOperationStatus {
        /// The operation id to poll with. The service omits it, or sends an empty one, when there is nothing to poll.
        operation_id: Option<OperationId> = "operationId" via OperationIdOrEmpty,
        /// The status of the registration.
        status: RegistrationStatus = "status",
        /// The registration record, if there is one.
        registration_state: Option<DeviceRegistrationResult> = "registrationState" | "registrationStatus",
    }
}

impl RegistrationOperationStatus {
    /// Creates a status with this operation id. Without one, the member is written as an empty string, as the service does.
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
    /// The registration record that the device receives.
    ///
    /// Members that a device does not need are read leniently: a malformed date must not cost it its assignment.
    #[derive(Default)]
    pub struct DeviceRegistrationResult {
        /// For devices with a TPM.
        tpm: Option<TpmRegistrationResult> = "tpm",
        /// For devices with a certificate.
        x509: Option<X509RegistrationResult> = "x509" via Lenient<X509RegistrationResult>,
        /// For devices with a symmetric key.
        symmetric_key: Option<SymmetricKeyRegistrationResult> = "symmetricKey" via Lenient<SymmetricKeyRegistrationResult>,
        /// The registration id of the device.
        registration_id: Option<RegistrationId> = "registrationId",
        /// The time of the first registration.
        created_date_time_utc: Option<Timestamp> = "createdDateTimeUtc" via Lenient<Timestamp>,
        /// The hub it is assigned to.
        assigned_hub: Option<HubHostname> = "assignedHub",
        /// The connection profile of that hub (api-version 2026-11-02-preview).
        connection_profile: Option<ConnectionProfile> = "connectionProfile",
        /// The device id in that hub.
        device_id: Option<DeviceId> = "deviceId",
        /// The status of the registration.
        status: Option<RegistrationStatus> = "status",
        /// The kind of the assignment.
        substatus: Option<RegistrationSubstatus> = "substatus",
        /// The error code of a failed registration.
        error_code: Option<ErrorCode> = "errorCode" via Lenient<ErrorCode>,
        /// The error message of a failed registration.
        error_message: Option<String> = "errorMessage" via Lenient<String>,
        /// The time of the last change of the registration.
        last_updated_date_time_utc: Option<Timestamp> = "lastUpdatedDateTimeUtc" via Lenient<Timestamp>,
        /// The version of the registration record.
        etag: Option<ETag> = "etag" via Lenient<ETag>,
        /// The payload that the custom allocation webhook returns for the device.
        payload: Option<Value> = "payload",
        /// The issued certificate, then its issuers up to the root: DER in base64. Only the answer to a poll of a registration
        /// with a certificate request has it (api-version 2025-07-01-preview and later).
        issued_certificate_chain: Option<Vec<String>> = "issuedCertificateChain",
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
    /// The hub key for a device with a TPM.
    #[derive(Default)]
    pub struct TpmRegistrationResult {
        /// The hub key, encrypted to the TPM, in base64.
        authentication_key: Option<String> = "authenticationKey",
    }
}

lossless! {
    /// The result of X.509 attestation.
    #[derive(Default)]
    pub struct X509RegistrationResult {
        /// The device's certificate.
        certificate_info: Option<X509CertificateInfo> = "certificateInfo",
        /// The enrollment group it belongs to.
        enrollment_group_id: Option<EnrollmentGroupId> = "enrollmentGroupId",
        /// The certificate that signed it.
        signing_certificate_info: Option<X509CertificateInfo> = "signingCertificateInfo",
    }
}

lossless! {
    /// The result of symmetric key attestation.
    #[derive(Default)]
    pub struct SymmetricKeyRegistrationResult {
        /// The enrollment group it belongs to.
        enrollment_group_id: Option<EnrollmentGroupId> = "enrollmentGroupId",
    }
}

lossless! {
    /// A registration record of the service API.
    #[derive(Default)]
    pub struct DeviceRegistrationState {
        /// The registration id of the device.
        registration_id: Option<RegistrationId> = "registrationId",
        /// The time of the first registration.
        created_date_time_utc: Option<Timestamp> = "createdDateTimeUtc",
        /// The hub it is assigned to.
        assigned_hub: Option<HubHostname> = "assignedHub",
        /// The connection profile of that hub (api-version 2026-11-02-preview).
        connection_profile: Option<ConnectionProfile> = "connectionProfile",
        /// The device id in that hub.
        device_id: Option<DeviceId> = "deviceId",
        /// The status of the registration.
        status: Option<RegistrationStatus> = "status",
        /// The kind of the assignment.
        substatus: Option<RegistrationSubstatus> = "substatus",
        /// The error code of a failed registration.
        error_code: Option<ErrorCode> = "errorCode",
        /// The error message of a failed registration.
        error_message: Option<String> = "errorMessage",
        /// The time of the last change of the registration.
        last_updated_date_time_utc: Option<Timestamp> = "lastUpdatedDateTimeUtc",
        /// The version of the record.
        etag: Option<ETag> = "etag",
        /// The payload that the custom allocation webhook returns for the device.
        payload: Option<Value> = "payload",
    }
}

impl From<DeviceRegistrationResult> for DeviceRegistrationState {
    /// The record of the service API has no result of the attestation.
    fn from(result: DeviceRegistrationResult) -> Self {
        Self {
            registration_id: result.registration_id,
            created_date_time_utc: result.created_date_time_utc,
            assigned_hub: result.assigned_hub,
            connection_profile: result.connection_profile,
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
    /// The body of the HTTP 401 response that challenges a TPM.
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

/// An optional operation id: absent, `null`, or empty as the service writes it for a disabled enrollment.
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
