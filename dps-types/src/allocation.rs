//! Custom allocation webhooks: the request of DPS and the response.
//!
//! Source: azure-docs `iot-dps/concepts-custom-allocation.md`.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::enrollment::{EnrollmentGroup, IndividualEnrollment, InitialTwin, TpmAttestation};
use crate::registration::SymmetricKeyRegistrationResult;
use crate::{DeviceId, Extra, HubHostname, RegistrationId, json};

/// The request that DPS posts to the webhook at each registration through an enrollment with custom allocation.
///
/// ```
/// # fn example(request: &dps_types::AllocationRequest) -> Result<(), Box<dyn std::error::Error>> {
/// #[derive(serde::Deserialize)]
/// struct Device {
///     model: String,
/// }
///
/// let device: Device = request.payload()?;
/// println!("{}: {}", request.registration_id(), device.model);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
#[non_exhaustive]
pub struct AllocationRequest {
    /// The enrollment through which the device registers. It holds no secrets.
    pub enrollment: Enrollment,
    /// The device, and the payload that it sent.
    pub device_runtime_context: DeviceRuntimeContext,
    /// The hubs to choose from.
    pub linked_hubs: Vec<HubHostname>,
    /// Fields that are not known to this version. They are written back unchanged.
    pub extra: Extra,
}

/// An individual enrollment or an enrollment group.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Enrollment {
    /// An individual enrollment.
    Individual(Box<IndividualEnrollment>),
    /// An enrollment group.
    Group(Box<EnrollmentGroup>),
}

impl AllocationRequest {
    /// Creates a request.
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

    /// The registration id of the device.
    pub fn registration_id(&self) -> &RegistrationId {
        &self.device_runtime_context.registration_id
    }

    /// Deserializes the payload that the device sent.
    ///
    /// Java's device SDK sends its payload as JSON text in a string, such as `"{\"model\":\"x\"}"`. A string that is
    /// not a `T` itself is therefore read as JSON text.
    ///
    /// # Errors
    /// If the device sent no payload, or the payload is not a `T`.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        let Some(payload) = &self.device_runtime_context.payload else {
            return Err(PayloadError(None));
        };
        let error = match T::deserialize(payload) {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        match payload.as_str().map(json::from_str) {
            Some(Ok(value)) => Ok(value),
            // The string is JSON text, so this error is the useful one.
            Some(Err(inner)) if inner.is_data() => Err(PayloadError(Some(inner.to_string()))),
            _ => Err(PayloadError(Some(error.to_string()))),
        }
    }

    /// Returns true if the hub is one of the linked hubs in the request.
    pub fn links(&self, hub: &HubHostname) -> bool {
        self.linked_hubs.contains(hub)
    }
}

lossless! {
    /// The device that registers.
    pub struct DeviceRuntimeContext {
        /// The registration id of the device.
        registration_id: RegistrationId = "registrationId",
        /// The hub to which the device is assigned already, if it is.
        current_iot_hub_host_name: Option<HubHostname> = "currentIotHubHostName",
        /// The device id in that hub.
        current_device_id: Option<DeviceId> = "currentDeviceId",
        /// Present when the device authenticated with a symmetric key. DPS sends it empty.
        symmetric_key: Option<SymmetricKeyRegistrationResult> = "symmetricKey",
        /// Present when the device authenticated with a certificate.
        x509: Option<X509DeviceAttestation> = "x509",
        /// Present when the device authenticated with a TPM.
        tpm: Option<TpmAttestation> = "tpm",
        /// The payload that the device sent. Any JSON value.
        payload: Option<Value> = "payload",
    }
}

impl DeviceRuntimeContext {
    /// A device that registers for the first time and sent no payload.
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

    /// Sets attestation by a symmetric key.
    #[must_use]
    pub fn with_symmetric_key(mut self) -> Self {
        self.symmetric_key = Some(SymmetricKeyRegistrationResult::default());
        self
    }

    /// Sets attestation by this certificate: base64 of the DER of the leaf.
    #[must_use]
    pub fn with_client_certificate(mut self, base64_der: impl Into<String>) -> Self {
        let client_certificate = Some(base64_der.into());
        self.x509 = Some(X509DeviceAttestation {
            client_certificate,
            ..Default::default()
        });
        self
    }

    /// Sets the payload that the device sent.
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
    /// The response of the webhook.
    pub struct AllocationResponse {
        /// The hub for the device: one of the linked hubs.
        iot_hub_host_name: HubHostname = "iotHubHostName",
        /// The initial twin. Without it, the initial twin of the enrollment is used.
        initial_twin: Option<InitialTwin> = "initialTwin",
        /// The payload to send to the device. Any JSON value.
        payload: Option<Value> = "payload",
    }
}

impl AllocationResponse {
    /// Creates a response with this hub.
    pub fn new(iot_hub_host_name: HubHostname) -> Self {
        Self {
            iot_hub_host_name,
            initial_twin: None,
            payload: None,
            extra: Extra::default(),
        }
    }
}

/// The payload of the device cannot be deserialized. The message may quote a part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadError(Option<String>);

impl PayloadError {
    /// Returns true if the device sent no payload.
    pub fn is_missing(&self) -> bool {
        self.0.is_none()
    }
}

impl std::error::Error for PayloadError {}

impl std::fmt::Display for PayloadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.0 {
            Some(reason) => write!(
                f,
                "the payload of the device is not of the expected form: {reason}"
            ),
            None => f.write_str("the device sent no payload"),
        }
    }
}

lossless! {
    /// The request in JSON: exactly one of the two enrollments is present.
    struct Wire {
        /// The individual enrollment.
        individual_enrollment: Option<Box<IndividualEnrollment>> = "individualEnrollment",
        /// The enrollment group.
        enrollment_group: Option<Box<EnrollmentGroup>> = "enrollmentGroup",
        /// The device.
        device_runtime_context: DeviceRuntimeContext = "deviceRuntimeContext",
        /// The linked hubs.
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
