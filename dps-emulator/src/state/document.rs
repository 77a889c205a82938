//! The common interface of individual enrollments and enrollment groups.

use dps_types::enrollment::{
    AllocationPolicyKind, AttestationMechanism, CustomAllocationDefinition, DeviceCapabilities,
    EnrollmentGroup, IndividualEnrollment, InitialTwin, ProvisioningStatus, ReprovisionPolicy,
};
use dps_types::{
    CertificateAuthorityName, CertificatePolicyName, ETag, ErrorCode, Extra, HubHostname,
    NamespaceName, Timestamp,
};
use serde::{Serialize, de::DeserializeOwned};

use super::store::Table;

/// An individual enrollment or an enrollment group.
pub(crate) trait Document: Serialize + DeserializeOwned + Clone + Send + Sync {
    const TABLE: Table;
    /// The JSON name of the id.
    const ID_FIELD: &'static str;
    /// The JSON name of a list of such documents in a bulk operation.
    const LIST_FIELD: &'static str;
    /// Whether it is an enrollment group.
    const IS_GROUP: bool;
    /// 404: the document does not exist.
    const MISSING: (ErrorCode, &'static str);
    /// 409: the document exists. The message is the service's.
    const EXISTS: (ErrorCode, &'static str);

    /// The key in the store.
    fn key(&self) -> String;
    fn terms(&self) -> Terms<'_>;
    fn parts(&mut self) -> Parts<'_>;
    /// Removes the values that only the service writes from a client's document.
    fn forget_read_only(&mut self);
}

/// The settings of an enrollment for its devices.
pub(crate) struct Terms<'a> {
    pub(crate) attestation: &'a AttestationMechanism,
    pub(crate) capabilities: Option<&'a DeviceCapabilities>,
    pub(crate) initial_twin: Option<&'a InitialTwin>,
    pub(crate) provisioning_status: Option<&'a ProvisioningStatus>,
    pub(crate) reprovision_policy: Option<&'a ReprovisionPolicy>,
    pub(crate) allocation_policy: Option<&'a AllocationPolicyKind>,
    pub(crate) iot_hubs: Option<&'a [HubHostname]>,
    pub(crate) iot_hub_host_name: Option<&'a HubHostname>,
    pub(crate) custom_allocation_definition: Option<&'a CustomAllocationDefinition>,
    pub(crate) namespace_name: Option<&'a NamespaceName>,
    pub(crate) certificate_authority_name: Option<&'a CertificateAuthorityName>,
    pub(crate) certificate_policy_name: Option<&'a CertificatePolicyName>,
    pub(crate) credential_policy_name: Option<&'a str>,
}

/// The parts of an enrollment that the service writes or completes.
pub(crate) struct Parts<'a> {
    pub(crate) attestation: &'a mut AttestationMechanism,
    pub(crate) etag: &'a mut Option<ETag>,
    pub(crate) created: &'a mut Option<Timestamp>,
    pub(crate) last_updated: &'a mut Option<Timestamp>,
    pub(crate) custom_allocation_definition: &'a mut Option<CustomAllocationDefinition>,
    pub(crate) initial_twin: &'a mut Option<InitialTwin>,
    pub(crate) extra: &'a mut Extra,
    pub(crate) issuing: Issuing<'a>,
}

/// The names that switch certificate issuance on.
pub(crate) struct Issuing<'a> {
    pub(crate) namespace_name: &'a mut Option<NamespaceName>,
    pub(crate) certificate_authority_name: &'a mut Option<CertificateAuthorityName>,
    pub(crate) certificate_policy_name: &'a mut Option<CertificatePolicyName>,
    /// Api-version 2025-07-01-preview only.
    pub(crate) credential_policy_name: &'a mut Option<String>,
}

macro_rules! document {
    ($Name:ty, $id:ident, $($read_only:ident,)? { $($constant:item)* }) => {
        impl Document for $Name {
            $($constant)*

            fn key(&self) -> String {
                self.$id.to_lowercase()
            }

            fn terms(&self) -> Terms<'_> {
                Terms {
                    attestation: &self.attestation,
                    capabilities: self.capabilities.as_ref(),
                    initial_twin: self.initial_twin.as_ref(),
                    provisioning_status: self.provisioning_status.as_ref(),
                    reprovision_policy: self.reprovision_policy.as_ref(),
                    allocation_policy: self.allocation_policy.as_ref(),
                    iot_hubs: self.iot_hubs.as_deref().filter(|hubs| !hubs.is_empty()),
                    iot_hub_host_name: self.iot_hub_host_name.as_ref(),
                    custom_allocation_definition: self.custom_allocation_definition.as_ref(),
                    namespace_name: self.namespace_name.as_ref(),
                    certificate_authority_name: self.certificate_authority_name.as_ref(),
                    certificate_policy_name: self.certificate_policy_name.as_ref(),
                    credential_policy_name: self.credential_policy_name.as_deref(),
                }
            }

            fn parts(&mut self) -> Parts<'_> {
                Parts {
                    attestation: &mut self.attestation,
                    etag: &mut self.etag,
                    created: &mut self.created_date_time_utc,
                    last_updated: &mut self.last_updated_date_time_utc,
                    custom_allocation_definition: &mut self.custom_allocation_definition,
                    initial_twin: &mut self.initial_twin,
                    extra: &mut self.extra,
                    issuing: Issuing {
                        namespace_name: &mut self.namespace_name,
                        certificate_authority_name: &mut self.certificate_authority_name,
                        certificate_policy_name: &mut self.certificate_policy_name,
                        credential_policy_name: &mut self.credential_policy_name,
                    },
                }
            }

            fn forget_read_only(&mut self) {
                self.etag = None;
                $(self.$read_only = None;)?
            }
        }
    };
}

document!(IndividualEnrollment, registration_id, registration_state, {
    const TABLE: Table = Table::Individuals;
    const ID_FIELD: &'static str = "registrationId";
    const LIST_FIELD: &'static str = "enrollments";
    const IS_GROUP: bool = false;
    const MISSING: (ErrorCode, &'static str) =
        (ErrorCode::ENROLLMENT_NOT_FOUND, "Enrollment not found.");
    const EXISTS: (ErrorCode, &'static str) =
        (ErrorCode::ENROLLMENT_EXISTS, "Enrollment already exists.");
});

document!(EnrollmentGroup, enrollment_group_id, {
    const TABLE: Table = Table::Groups;
    const ID_FIELD: &'static str = "enrollmentGroupId";
    const LIST_FIELD: &'static str = "enrollmentGroups";
    const IS_GROUP: bool = true;
    const MISSING: (ErrorCode, &'static str) = (
        ErrorCode::ENROLLMENT_GROUP_NOT_FOUND,
        "EnrollmentGroup not found.",
    );
    const EXISTS: (ErrorCode, &'static str) = (
        ErrorCode::ENROLLMENT_GROUP_EXISTS,
        "EnrollmentGroup already exists.",
    );
});
