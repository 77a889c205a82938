//! An enrollment of many devices, and the settings that both kinds of enrollment have.

use super::{
    AllocationPolicyKind, AttestationMechanism, CustomAllocationDefinition, DeviceCapabilities,
    InitialTwin, ProvisioningStatus, ReprovisionPolicy,
};
use crate::{
    CertificateAuthorityName, CertificatePolicyName, ETag, EnrollmentGroupId, HubHostname,
    NamespaceName, SymmetricKey, Timestamp,
};

lossless! {
    /// An enrollment of all devices whose certificates one CA signed, or whose keys derive from one key.
    ///
    /// Fields are in the order in which the service writes them.
    pub struct EnrollmentGroup {
        /// The group's name.
        enrollment_group_id: EnrollmentGroupId = "enrollmentGroupId",
        /// The attestation of its devices.
        attestation: AttestationMechanism = "attestation",
        /// The capabilities of its devices.
        capabilities: Option<DeviceCapabilities> = "capabilities",
        /// Their hub, in the oldest api-versions: a static allocation.
        iot_hub_host_name: Option<HubHostname> = "iotHubHostName" | "iotHubHostname",
        /// The initial twin.
        initial_twin: Option<InitialTwin> = "initialTwin",
        /// The version of this document.
        etag: Option<ETag> = "etag",
        /// Enabled if its devices may register; unset means enabled.
        provisioning_status: Option<ProvisioningStatus> = "provisioningStatus",
        /// The rules for a device that registers again; unset means migrate.
        reprovision_policy: Option<ReprovisionPolicy> = "reprovisionPolicy",
        /// The time at which it was created (read only).
        created_date_time_utc: Option<Timestamp> = "createdDateTimeUtc",
        /// The time of its last change (read only).
        last_updated_date_time_utc: Option<Timestamp> = "lastUpdatedDateTimeUtc",
        /// The allocation policy; unset means that of the instance.
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

impl EnrollmentGroup {
    /// A group with this attestation. Not every attestation is valid for groups: each one that is has its
    /// own constructor.
    fn new(enrollment_group_id: EnrollmentGroupId, attestation: AttestationMechanism) -> Self {
        Self {
            enrollment_group_id,
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

    /// Devices whose keys derive from keys that the service generates.
    pub fn symmetric_key(enrollment_group_id: EnrollmentGroupId) -> Self {
        Self::new(enrollment_group_id, AttestationMechanism::symmetric_key())
    }

    /// Devices whose keys derive from these.
    pub fn from_keys(
        id: EnrollmentGroupId,
        primary: &SymmetricKey,
        secondary: &SymmetricKey,
    ) -> Self {
        Self::new(id, AttestationMechanism::from_keys(primary, secondary))
    }

    /// Devices whose certificates this one signed: PEM, or base64 of the DER.
    pub fn signing_certificate(id: EnrollmentGroupId, certificate: impl Into<String>) -> Self {
        Self::new(id, AttestationMechanism::signing_certificate(certificate))
    }

    /// Devices whose certificates a CA signed that was uploaded to the instance under this name.
    pub fn ca_reference(id: EnrollmentGroupId, name: impl Into<String>) -> Self {
        Self::new(id, AttestationMechanism::ca_reference(name))
    }
}

/// The settings of both kinds of enrollment.
macro_rules! enrollment_choices {
    ($Name:ident) => {
        impl $Name {
            /// A webhook picks the hub (custom allocation).
            #[must_use]
            pub fn allocate_by_webhook(mut self, url: impl Into<String>) -> Self {
                self.allocation_policy = Some(AllocationPolicyKind::Custom);
                self.custom_allocation_definition = Some(CustomAllocationDefinition::new(url));
                self
            }

            /// A hash of the registration id picks the hub (evenly weighted).
            #[must_use]
            pub fn allocate_evenly(self) -> Self {
                self.allocate(AllocationPolicyKind::Hashed)
            }

            /// The hub with the lowest latency is picked.
            #[must_use]
            pub fn allocate_by_latency(self) -> Self {
                self.allocate(AllocationPolicyKind::GeoLatency)
            }

            /// Issues certificates: the certificate authority and its policy in this namespace answer the certificate requests of
            /// devices (api-version 2026-11-01 and later).
            #[must_use]
            pub fn issue_certificates(
                mut self,
                namespace: crate::NamespaceName,
                authority: crate::CertificateAuthorityName,
                policy: crate::CertificatePolicyName,
            ) -> Self {
                self.namespace_name = Some(namespace);
                self.certificate_authority_name = Some(authority);
                self.certificate_policy_name = Some(policy);
                self
            }

            /// Always this hub (static).
            #[must_use]
            pub fn allocate_to(self, hub: HubHostname) -> Self {
                let mut to = self.allocate(AllocationPolicyKind::Static);
                to.iot_hubs = Some(vec![hub]);
                to
            }

            /// The hubs to choose from, instead of all linked hubs. Evenly, unless another way to choose was named: the
            /// service accepts no hubs without an allocation policy, and a static one accepts a single hub.
            #[must_use]
            pub fn with_hubs(mut self, hubs: impl IntoIterator<Item = HubHostname>) -> Self {
                self.iot_hubs = Some(hubs.into_iter().collect());
                match self.allocation_policy {
                    Some(AllocationPolicyKind::Static) | None => {
                        self.allocate(AllocationPolicyKind::Hashed)
                    }
                    Some(_) => self,
                }
            }

            /// A policy without a webhook.
            fn allocate(mut self, policy: AllocationPolicyKind) -> Self {
                self.allocation_policy = Some(policy);
                self.custom_allocation_definition = None;
                self
            }

            /// The initial twin.
            #[must_use]
            pub fn with_initial_twin(mut self, twin: InitialTwin) -> Self {
                self.initial_twin = Some(twin);
                self
            }

            /// The rules for a device that registers again.
            #[must_use]
            pub fn with_reprovision_policy(mut self, policy: ReprovisionPolicy) -> Self {
                self.reprovision_policy = Some(policy);
                self
            }

            /// Sets whether devices may register.
            #[must_use]
            pub fn with_provisioning_status(mut self, status: ProvisioningStatus) -> Self {
                self.provisioning_status = Some(status);
                self
            }

            /// The capabilities of the devices.
            #[must_use]
            pub fn with_capabilities(mut self, capabilities: DeviceCapabilities) -> Self {
                self.capabilities = Some(capabilities);
                self
            }
        }
    };
}

enrollment_choices!(EnrollmentGroup);

pub(super) use enrollment_choices;
