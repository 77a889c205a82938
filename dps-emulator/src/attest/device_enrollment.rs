//! The enrollment that applies to a device: its own, or a group.

use std::sync::Arc;

use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment, ProvisioningStatus};
use dps_types::{DeviceId, Enrollment};

use super::{EnrolledGroup, EnrollmentRef};
use crate::state::{Document, Terms, for_webhook};

/// The enrollment that applies to a device.
#[derive(Debug)]
pub(crate) enum DeviceEnrollment {
    Individual(Box<IndividualEnrollment>),
    /// Shared with the other devices of the group.
    Group(Arc<EnrolledGroup>),
}

impl DeviceEnrollment {
    pub(crate) fn terms(&self) -> Terms<'_> {
        match self {
            Self::Individual(individual) => individual.terms(),
            Self::Group(group) => group.terms(),
        }
    }

    /// The device id that the enrollment names.
    pub(crate) fn device_id(&self) -> Option<&DeviceId> {
        match self {
            Self::Individual(individual) => individual.device_id.as_ref(),
            Self::Group(_) => None,
        }
    }

    pub(crate) fn is_disabled(&self) -> bool {
        self.terms().provisioning_status == Some(&ProvisioningStatus::Disabled)
    }

    pub(crate) fn reference(&self) -> EnrollmentRef {
        match self {
            Self::Individual(_) => EnrollmentRef::Individual,
            Self::Group(group) => EnrollmentRef::Group(group.enrollment_group_id.clone()),
        }
    }

    /// An enrollment that has the id only. The policies of the emulator read nothing else of it.
    pub(crate) fn named(&self) -> Enrollment {
        match self {
            Self::Individual(individual) => {
                let id = individual.registration_id.clone();
                Enrollment::Individual(Box::new(IndividualEnrollment::symmetric_key(id)))
            }
            Self::Group(group) => {
                let id = group.enrollment_group_id.clone();
                Enrollment::Group(Box::new(EnrollmentGroup::symmetric_key(id)))
            }
        }
    }

    /// The enrollment in a webhook request.
    pub(crate) fn for_webhook(&self) -> Enrollment {
        match self {
            Self::Individual(individual) => {
                Enrollment::Individual(Box::new(for_webhook(&**individual)))
            }
            Self::Group(group) => Enrollment::Group(Box::new(for_webhook(group.document()))),
        }
    }
}
