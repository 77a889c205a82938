//! The kinds of proof: the enrollment, the device, and an impostor of each.

use dps_device::attestation::TpmKeys;
use dps_device::{Attestation, SymmetricKey, SymmetricKeyAttestation, X509Attestation};
use dps_emulator::{CertificateAuthority, DeviceCredentials};
use dps_hardware::SoftwareTpm;
use dps_service::ServiceClient;
use dps_types::RegistrationId;
use dps_types::enrollment::{
    AttestationMechanism, EnrollmentGroup, IndividualEnrollment, ProvisioningStatus,
};

pub(crate) const DEVICE: &str = "Toaster-007";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    IndividualKey,
    GroupKey,
    IndividualCertificate,
    /// The group has the root, the device sends the intermediate.
    GroupCertificate,
    Tpm,
    /// The same, where the challenge comes before the first request.
    TpmOverSasl,
}

pub(crate) struct Issued {
    pub(crate) enrollment: Enrollment,
    pub(crate) device: Device,
    /// It has the registration id of the device, with another key or certificate.
    pub(crate) impostor: Device,
}

impl Proof {
    pub(crate) fn issue(self) -> Issued {
        let (key, other) = (SymmetricKey::generate(), SymmetricKey::generate());
        match self {
            Self::IndividualKey => Issued {
                enrollment: IndividualEnrollment::from_keys(id(), &key, &SymmetricKey::generate())
                    .into(),
                device: Box::new(SymmetricKeyAttestation::new(id(), key)),
                impostor: Box::new(SymmetricKeyAttestation::new(id(), other)),
            },
            Self::GroupKey => Issued {
                enrollment: EnrollmentGroup::from_keys(group(), &key, &SymmetricKey::generate())
                    .into(),
                device: Box::new(SymmetricKeyAttestation::from_group(id(), &key)),
                impostor: Box::new(SymmetricKeyAttestation::from_group(id(), &other)),
            },
            Self::IndividualCertificate => {
                let [device, impostor] =
                    [(); 2].map(|()| DeviceCredentials::self_signed(DEVICE).expect("credentials"));
                let pem = device.certificate_pem();
                Issued {
                    enrollment: IndividualEnrollment::client_certificate(id(), pem).into(),
                    device: by_certificate(&device),
                    impostor: by_certificate(&impostor),
                }
            }
            Self::GroupCertificate => {
                // Both roots have the same name.
                let [root, false_root] =
                    [(); 2].map(|()| CertificateAuthority::new("Toasters Root").expect("a root"));
                let signed = |root: &CertificateAuthority| {
                    let factory = root.intermediate("Toasters Factory");
                    let device = factory.and_then(|factory| factory.issue(DEVICE));
                    by_certificate(&device.expect("credentials"))
                };
                let pem = root.certificate_pem();
                Issued {
                    enrollment: EnrollmentGroup::signing_certificate(group(), pem).into(),
                    device: signed(&root),
                    impostor: signed(&false_root),
                }
            }
            Self::Tpm | Self::TpmOverSasl => {
                let [device, impostor] = [0, 1].map(SoftwareTpm::number);
                let endorsement_key = device.endorsement_key().to_base64();
                let attestation = AttestationMechanism::tpm(endorsement_key);
                Issued {
                    enrollment: IndividualEnrollment::new(id(), attestation).into(),
                    device: Box::new(device.attestation_as(id())),
                    impostor: Box::new(impostor.attestation_as(id())),
                }
            }
        }
    }
}

/// An enrollment of either kind.
#[derive(Clone)]
pub(crate) enum Enrollment {
    Individual(Box<IndividualEnrollment>),
    Group(Box<EnrollmentGroup>),
}

impl Enrollment {
    pub(crate) fn disabled(self) -> Self {
        let disabled = ProvisioningStatus::Disabled;
        match self {
            Self::Individual(one) => one.with_provisioning_status(disabled).into(),
            Self::Group(group) => group.with_provisioning_status(disabled).into(),
        }
    }

    /// Issues certificates with [`AUTHORITY`](crate::dps::AUTHORITY).
    pub(crate) fn issuing(self) -> Self {
        let namespace = "contoso".parse().expect("a namespace");
        let authority = "factory-1".parse().expect("an authority");
        let policy = "thermostats".parse().expect("a policy");
        match self {
            Self::Individual(one) => one.issue_certificates(namespace, authority, policy).into(),
            Self::Group(group) => group
                .issue_certificates(namespace, authority, policy)
                .into(),
        }
    }

    pub(crate) fn allocated_by(self, url: &str) -> Self {
        match self {
            Self::Individual(one) => one.allocate_by_webhook(url).into(),
            Self::Group(group) => group.allocate_by_webhook(url).into(),
        }
    }

    pub(crate) fn allocated_to(self, hub: &str) -> Self {
        let hub = hub.parse().expect("a hub's name");
        match self {
            Self::Individual(one) => one.allocate_to(hub).into(),
            Self::Group(group) => group.allocate_to(hub).into(),
        }
    }

    /// Replaces the existing one.
    pub(crate) async fn replace(self, service: &ServiceClient) {
        match self {
            Self::Individual(one) => {
                let enrollments = service.individual_enrollments();
                let replaced = enrollments.create_or_replace(&one).await;
                replaced.expect("the enrollment is replaced");
            }
            Self::Group(group) => {
                let replaced = service.enrollment_groups().create_or_replace(&group).await;
                replaced.expect("the group is replaced");
            }
        }
    }

    pub(crate) async fn create(self, service: &ServiceClient) {
        match self {
            Self::Individual(one) => {
                let created = service.individual_enrollments().create(&one).await;
                created.expect("the device is enrolled");
            }
            Self::Group(group) => {
                let created = service.enrollment_groups().create(&group).await;
                created.expect("the group is enrolled");
            }
        }
    }
}

impl From<IndividualEnrollment> for Enrollment {
    fn from(one: IndividualEnrollment) -> Self {
        Self::Individual(Box::new(one))
    }
}

impl From<EnrollmentGroup> for Enrollment {
    fn from(group: EnrollmentGroup) -> Self {
        Self::Group(Box::new(group))
    }
}

/// A device of any kind, chosen at run time.
pub(crate) type Device = Box<dyn Attestation>;

fn by_certificate(credentials: &DeviceCredentials) -> Device {
    let chain = credentials.certificate_chain_pem();
    let attestation = X509Attestation::from_pem(chain, credentials.private_key_pem());
    Box::new(attestation.expect("a chain and its key"))
}

fn id() -> RegistrationId {
    DEVICE.parse().expect("a registration id")
}

fn group() -> dps_types::EnrollmentGroupId {
    "toasters".parse().expect("a group's id")
}
