//! Documents of an operator: individual enrollments, enrollment groups, attestation, twin, capabilities, policies.

mod attestation;
mod group;
mod individual;
mod policy;
mod twin;
mod twin_builder;
mod x509;

pub use attestation::{
    AttestationMechanism, AttestationType, SymmetricKeyAttestation, TpmAttestation,
};
pub use group::EnrollmentGroup;
pub use individual::IndividualEnrollment;
pub use policy::{
    AllocationPolicyKind, CustomAllocationDefinition, DeviceCapabilities, ProvisioningStatus,
    ReprovisionPolicy, WebhookApiVersion,
};
pub use twin::{InitialTwin, InitialTwinProperties, TwinCollection};
pub use twin_builder::InitialTwinBuilder;
pub use x509::{
    X509Attestation, X509CaReferences, X509CertificateInfo, X509CertificateWithInfo,
    X509Certificates,
};
