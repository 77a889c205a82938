//! What DPS asks a custom allocation webhook, and the answer.
//!
//! Source: azure-docs `iot-dps/concepts-custom-allocation.md`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::enrollment::{EnrollmentGroup, IndividualEnrollment, InitialTwin, TpmAttestation};
use crate::registration::SymmetricKeyRegistrationResult;
use crate::{DeviceId, Extra, HubHostname, RegistrationId};

/// What DPS posts to the webhook, at every registration through an enrollment with custom allocation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
#[non_exhaustive]
pub struct AllocationRequest {
    /// The enrollment through which the device registers. It holds no secrets.
    pub enrollment: Enrollment,
    /// The device, and what it said.
    pub device_runtime_context: DeviceRuntimeContext,
    /// The hubs to choose from.
    pub linked_hubs: Vec<HubHostname>,
    /// Fields that this version does not know. Written back as they came.
    pub extra: Extra,
}

/// An individual enrollment or an enrollment group.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Enrollment {
    /// One device's own enrollment.
    Individual(Box<IndividualEnrollment>),
    /// A group of devices.
    Group(Box<EnrollmentGroup>),
}

impl AllocationRequest {
    /// Puts a request together.
    pub fn new(
        enrollment: Enrollment,
        device_runtime_context: DeviceRuntimeContext,
        linked_hubs: Vec<HubHostname>,
    ) -> Self {
        Self {
            enrollment,
            device_runtime_context,
            linked_hubs,
            extra: Extra::default(),
        }
    }

    /// The device's name towards DPS.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.device_runtime_context.registration_id
    }

    /// Reads the payload that the device sent as a type of your own.
    ///
    /// Java's device SDK sends its payload as JSON text in a string, such as `"{\"model\":\"x\"}"`. A string that is
    /// not a `T` itself is therefore read as JSON text.
    ///
    /// # Errors
    /// When the device sent no payload, or the payload is not a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        let Some(payload) = &self.device_runtime_context.payload else {
            return Err(PayloadError(None));
        };
        let error = match T::deserialize(payload) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match payload.as_str().map(serde_json::from_str) {
            Some(Ok(value)) => Ok(value),
            // The string is JSON text, so its error is the one that helps.
            Some(Err(inner)) if inner.is_data() => Err(PayloadError(Some(inner.to_string()))),
            _ => Err(PayloadError(Some(error.to_string()))),
        }
    }

    /// Whether the hub is one of those to choose from.
    pub fn links(&self, hub: &HubHostname) -> bool {
        self.linked_hubs.contains(hub)
    }
}

lossless! {
    /// The device that registers, as DPS knows it.
    pub struct DeviceRuntimeContext {
        /// The device's name towards DPS.
        registration_id: RegistrationId = "registrationId",
        /// The hub it is assigned to now, when it registered before.
        current_iot_hub_host_name: Option<HubHostname> = "currentIotHubHostName",
        /// Its name in that hub.
        current_device_id: Option<DeviceId> = "currentDeviceId",
        /// Present when the device proved itself with a symmetric key. DPS sends it empty.
        symmetric_key: Option<SymmetricKeyRegistrationResult> = "symmetricKey",
        /// Present when the device proved itself with a certificate.
        x509: Option<X509DeviceAttestation> = "x509",
        /// Present when the device proved itself with a TPM.
        tpm: Option<TpmAttestation> = "tpm",
        /// What the device sent along. Any JSON value.
        payload: Option<Value> = "payload",
    }
}

impl DeviceRuntimeContext {
    /// A device that registers for the first time and said nothing.
    pub fn new(registration_id: RegistrationId) -> Self {
        Self {
            registration_id,
            current_iot_hub_host_name: None,
            current_device_id: None,
            symmetric_key: None,
            x509: None,
            tpm: None,
            payload: None,
            extra: Extra::default(),
        }
    }

    /// The device proved itself with a symmetric key.
    #[must_use]
    pub fn with_symmetric_key(mut self) -> Self {
        self.symmetric_key = Some(SymmetricKeyRegistrationResult::default());
        self
    }

    /// The device proved itself with this certificate: base64 of the DER of the leaf.
    #[must_use]
    pub fn with_client_certificate(mut self, base64_der: impl Into<String>) -> Self {
        let client_certificate = Some(base64_der.into());
        self.x509 = Some(X509DeviceAttestation {
            client_certificate,
            ..Default::default()
        });
        self
    }

    /// The device sent this along.
    #[must_use]
    pub fn with_payload(mut self, payload: Value) -> Self {
        self.payload = Some(payload);
        self
    }
}

lossless! {
    /// The certificate of the device that registers.
    #[derive(Default)]
    pub struct X509DeviceAttestation {
        /// Base64 of the DER of the leaf.
        client_certificate: Option<String> = "clientCertificate",
    }
}

lossless! {
    /// The webhook's answer.
    pub struct AllocationResponse {
        /// The hub for the device: one of the linked hubs.
        iot_hub_host_name: HubHostname = "iotHubHostName",
        /// The twin to start with. Without it, the enrollment's.
        initial_twin: Option<InitialTwin> = "initialTwin",
        /// What to send to the device. Any JSON value.
        payload: Option<Value> = "payload",
    }
}

impl AllocationResponse {
    /// An answer that names the hub.
    pub fn new(iot_hub_host_name: HubHostname) -> Self {
        Self {
            iot_hub_host_name,
            initial_twin: None,
            payload: None,
            extra: Extra::default(),
        }
    }
}

/// The device's payload is not what the policy needs. The text may quote a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadError(Option<String>);

impl PayloadError {
    /// Whether the device sent nothing at all.
    pub fn is_missing(&self) -> bool {
        self.0.is_none()
    }
}

impl std::error::Error for PayloadError {}

impl std::fmt::Display for PayloadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(reason) => write!(f, "the device sent a payload that does not fit: {reason}"),
            None => f.write_str("the device sent no payload"),
        }
    }
}

lossless! {
    /// The request as it is written: one of two enrollments.
    struct Wire {
        /// One of the two.
        individual_enrollment: Option<Box<IndividualEnrollment>> = "individualEnrollment",
        /// The other.
        enrollment_group: Option<Box<EnrollmentGroup>> = "enrollmentGroup",
        /// The device.
        device_runtime_context: DeviceRuntimeContext = "deviceRuntimeContext",
        /// The hubs.
        linked_hubs: Vec<HubHostname> = "linkedHubs",
    }
}

impl TryFrom<Wire> for AllocationRequest {
    type Error = &'static str;

    fn try_from(wire: Wire) -> Result<Self, Self::Error> {
        let enrollment = match (wire.individual_enrollment, wire.enrollment_group) {
            (Some(individual), None) => Enrollment::Individual(individual),
            (None, Some(group)) => Enrollment::Group(group),
            _ => return Err("there must be either an individualEnrollment or an enrollmentGroup"),
        };
        Ok(Self {
            enrollment,
            device_runtime_context: wire.device_runtime_context,
            linked_hubs: wire.linked_hubs,
            extra: wire.extra,
        })
    }
}

impl From<AllocationRequest> for Wire {
    fn from(request: AllocationRequest) -> Self {
        let (individual_enrollment, enrollment_group) = match request.enrollment {
            Enrollment::Individual(individual) => (Some(individual), None),
            Enrollment::Group(group) => (None, Some(group)),
        };
        Self {
            individual_enrollment,
            enrollment_group,
            device_runtime_context: request.device_runtime_context,
            linked_hubs: request.linked_hubs,
            extra: request.extra,
        }
    }
}
