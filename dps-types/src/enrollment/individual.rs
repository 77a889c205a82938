//! An enrollment of one device.

use super::group::enrollment_choices;
use super::{
    AllocationPolicyKind, AttestationMechanism, CustomAllocationDefinition, DeviceCapabilities,
    InitialTwin, ProvisioningStatus, ReprovisionPolicy, TwinCollection,
};
use crate::tpm::TpmPublic;
use crate::{
    CertificateAuthorityName, CertificatePolicyName, DeviceId, DeviceRegistrationState, ETag,
    HubHostname, NamespaceName, RegistrationId, SymmetricKey, Timestamp,
};

lossless! {
    /// An enrollment of one device. It takes precedence over any enrollment group.
    ///
    /// Fields are in the order in which the service writes them.
    pub struct IndividualEnrollment {
        /// The registration id of the device.
        registration_id: RegistrationId = "registrationId",
        /// The device id in the hub, if it differs from the registration id.
        device_id: Option<DeviceId> = "deviceId",
        /// The registration record (read only; only in the response to a get).
        registration_state: Option<DeviceRegistrationState> = "registrationState",
        /// Notes about the device.
        optional_device_information: Option<TwinCollection> = "optionalDeviceInformation",
        /// The attestation of the device.
        attestation: AttestationMechanism = "attestation",
        /// The capabilities of the device.
        capabilities: Option<DeviceCapabilities> = "capabilities",
        /// Its hub, in the oldest api-versions: a static allocation.
        iot_hub_host_name: Option<HubHostname> = "iotHubHostName" | "iotHubHostname",
        /// The initial twin.
        initial_twin: Option<InitialTwin> = "initialTwin",
        /// The version of this document.
        etag: Option<ETag> = "etag",
        /// Enabled if the device may register; the default is enabled.
        provisioning_status: Option<ProvisioningStatus> = "provisioningStatus",
        /// The rules for a device that registers again; the default is to migrate.
        reprovision_policy: Option<ReprovisionPolicy> = "reprovisionPolicy",
        /// The time at which it was created (read only).
        created_date_time_utc: Option<Timestamp> = "createdDateTimeUtc",
        /// The time of its last change (read only).
        last_updated_date_time_utc: Option<Timestamp> = "lastUpdatedDateTimeUtc",
        /// The allocation policy; the default is that of the instance.
        allocation_policy: Option<AllocationPolicyKind> = "allocationPolicy",
        /// The hubs to select from; the default is all linked hubs.
        iot_hubs: Option<Vec<HubHostname>> = "iotHubs",
        /// The webhook, for custom allocation.
        custom_allocation_definition: Option<CustomAllocationDefinition> = "customAllocationDefinition",
        /// The policy for issuing certificates (api-version 2025-07-01-preview only).
        credential_policy_name: Option<String> = "credentialPolicyName",
        /// The Device Registry namespace of the device (api-version 2026-11-01 and later).
        namespace_name: Option<NamespaceName> = "namespaceName",
        /// The certificate authority of that namespace that issues the device's certificates. With it and with
        /// `certificate_policy_name`, certificates are issued (api-version 2026-11-01 and later).
        certificate_authority_name: Option<CertificateAuthorityName> = "certificateAuthorityName",
        /// The policy of that certificate authority (api-version 2026-11-01 and later).
        certificate_policy_name: Option<CertificatePolicyName> = "certificatePolicyName",
    }
}

impl IndividualEnrollment {
    /// Creates an enrollment of this device with this attestation.
    pub fn new(registration_id: RegistrationId, attestation: AttestationMechanism) -> Self {
        Self {
            registration_id,
            device_id: None,
            registration_state: None,
            optional_device_information: None,
            attestation,
            capabilities: None,
            iot_hub_host_name: None,
            initial_twin: None,
            etag: None,
            provisioning_status: None,
            reprovision_policy: None,
            created_date_time_utc: None,
            last_updated_date_time_utc: None,
            allocation_policy: None,
            iot_hubs: None,
            custom_allocation_definition: None,
            credential_policy_name: None,
            namespace_name: None,
            certificate_authority_name: None,
            certificate_policy_name: None,
            extra: Default::default(),
        }
    }

    /// A device with symmetric keys that the service generates.
    pub fn symmetric_key(registration_id: RegistrationId) -> Self {
        Self::new(registration_id, AttestationMechanism::symmetric_key())
    }

    /// A device with these symmetric keys.
    pub fn from_keys(
        registration_id: RegistrationId,
        primary: &SymmetricKey,
        secondary: &SymmetricKey,
    ) -> Self {
        Self::new(
            registration_id,
            AttestationMechanism::from_keys(primary, secondary),
        )
    }

    /// A device with exactly this certificate: PEM, or base64 of the DER.
    pub fn client_certificate(
        registration_id: RegistrationId,
        certificate: impl Into<String>,
    ) -> Self {
        Self::new(
            registration_id,
            AttestationMechanism::client_certificate(certificate),
        )
    }

    /// A device with the TPM that has this endorsement key.
    pub fn tpm(registration_id: RegistrationId, endorsement_key: &TpmPublic) -> Self {
        Self::new(
            registration_id,
            AttestationMechanism::tpm(endorsement_key.to_base64()),
        )
    }

    /// Sets the device id in the hub.
    #[must_use]
    pub fn with_device_id(mut self, device_id: DeviceId) -> Self {
        self.device_id = Some(device_id);
        self
    }
}

enrollment_choices!(IndividualEnrollment);
