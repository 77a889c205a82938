//! What an operator's request does, as far as permissions tell it apart.

use std::fmt;

use dps_types::protocol::service::{Crud, ServiceRoute};

use super::Permission;

/// What an operator's request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Act {
    /// Changes the instance itself: its CA certificates.
    Configure,
    ReadEnrollments,
    /// Reads an attestation mechanism: the keys of devices.
    ReadKeys,
    WriteEnrollments,
    ReadRegistrations,
    DeleteRegistrations,
}

impl Act {
    pub(crate) fn of(route: &ServiceRoute) -> Self {
        match route {
            ServiceRoute::Individual(_, Crud::Get)
            | ServiceRoute::Group(_, Crud::Get)
            | ServiceRoute::IndividualQuery
            | ServiceRoute::GroupQuery => Self::ReadEnrollments,
            ServiceRoute::IndividualAttestation(_) | ServiceRoute::GroupAttestation(_) => {
                Self::ReadKeys
            }
            ServiceRoute::Registration(_, Crud::Delete) => Self::DeleteRegistrations,
            ServiceRoute::Registration(..) | ServiceRoute::RegistrationQuery(_) => {
                Self::ReadRegistrations
            }
            _ => Self::WriteEnrollments,
        }
    }

    /// What a policy needs for it. Which permission shows keys is not documented: here it is the one that may also
    /// set them, as the role that only reads may not see them either.
    pub(crate) fn permission(self) -> Permission {
        match self {
            Self::Configure => Permission::ServiceConfig,
            Self::ReadEnrollments => Permission::EnrollmentRead,
            Self::ReadKeys | Self::WriteEnrollments => Permission::EnrollmentWrite,
            Self::ReadRegistrations => Permission::RegistrationStatusRead,
            Self::DeleteRegistrations => Permission::RegistrationStatusWrite,
        }
    }
}

impl fmt::Display for Act {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?} (needs {})", self.permission())
    }
}
