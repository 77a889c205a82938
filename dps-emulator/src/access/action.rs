//! The actions of the service API that permissions distinguish.

use std::fmt;

use dps_types::protocol::service::{Crud, ServiceRoute};

use super::Permission;

/// An action of a service client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceAction {
    /// Changes the instance itself: its CA certificates.
    Configure,
    ReadEnrollments,
    /// Reads an attestation mechanism, which has the keys of devices.
    ReadKeys,
    WriteEnrollments,
    ReadRegistrations,
    DeleteRegistrations,
}

impl ServiceAction {
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

    /// The permission that a policy requires for it.
    ///
    /// Which permission allows reading keys is not documented. Here it is the permission that also allows setting them: the
    /// role that only reads may not read keys either.
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

impl fmt::Display for ServiceAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Configure => "change the instance",
            Self::ReadEnrollments => "read enrollments",
            Self::ReadKeys => "read attestation keys",
            Self::WriteEnrollments => "write enrollments",
            Self::ReadRegistrations => "read registrations",
            Self::DeleteRegistrations => "delete registrations",
        })
    }
}
