//! The service API: paths.
//!
//! Source: `service.json` of api-version 2021-10-01.

use super::route::segments;
use super::{RouteError, encode};
use crate::{EnrollmentGroupId, RegistrationId};

/// The OAuth scope of the service API.
pub const ENTRA_SCOPE: &str = "https://azure-devices-provisioning.net/.default";

/// A request of the service API.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServiceRoute {
    /// `/enrollments/{registrationId}`: one individual enrollment.
    Individual(RegistrationId, Crud),
    /// `POST /enrollments/{registrationId}/attestationmechanism`
    IndividualAttestation(RegistrationId),
    /// `POST /enrollments/query`
    IndividualQuery,
    /// `POST /enrollments`
    IndividualBulk,
    /// `/enrollmentGroups/{enrollmentGroupId}`: one enrollment group.
    Group(EnrollmentGroupId, Crud),
    /// `POST /enrollmentGroups/{enrollmentGroupId}/attestationmechanism`
    GroupAttestation(EnrollmentGroupId),
    /// `POST /enrollmentGroups/query`
    GroupQuery,
    /// `POST /enrollmentGroups`
    GroupBulk,
    /// `/registrations/{registrationId}`: one registration record. It cannot be put.
    Registration(RegistrationId, Crud),
    /// `POST /registrations/{enrollmentGroupId}/query`
    RegistrationQuery(EnrollmentGroupId),
}

/// An operation on one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Crud {
    /// `GET`
    Get,
    /// `PUT`
    Put,
    /// `DELETE`
    Delete,
}

impl Crud {
    fn method(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
        }
    }

    fn parse(method: &str) -> Result<Self, RouteError> {
        [Self::Get, Self::Put, Self::Delete]
            .into_iter()
            .find(|crud| crud.method() == method)
            .ok_or(RouteError::MethodNotAllowed)
    }
}

impl ServiceRoute {
    /// The HTTP method.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Individual(_, crud) | Self::Group(_, crud) | Self::Registration(_, crud) => {
                crud.method()
            }
            _ => "POST",
        }
    }

    /// The path, encoded.
    pub fn path(&self) -> String {
        match self {
            Self::Individual(id, _) => format!("/enrollments/{}", encode(id.as_str())),
            Self::IndividualAttestation(id) => {
                format!("/enrollments/{}/attestationmechanism", encode(id.as_str()))
            }
            Self::IndividualQuery => "/enrollments/query".to_owned(),
            Self::IndividualBulk => "/enrollments".to_owned(),
            Self::Group(id, _) => format!("/enrollmentGroups/{}", encode(id.as_str())),
            Self::GroupAttestation(id) => format!(
                "/enrollmentGroups/{}/attestationmechanism",
                encode(id.as_str())
            ),
            Self::GroupQuery => "/enrollmentGroups/query".to_owned(),
            Self::GroupBulk => "/enrollmentGroups".to_owned(),
            Self::Registration(id, _) => format!("/registrations/{}", encode(id.as_str())),
            Self::RegistrationQuery(id) => format!("/registrations/{}/query", encode(id.as_str())),
        }
    }

    /// Parses a method and a path. Fixed segments are compared without regard to case, ids are decoded,
    /// and a slash at the end changes nothing (the Node SDK sends one on bulk operations).
    ///
    /// # Errors
    /// If the path is not one of the API, the method is not allowed for it, or an id is not valid.
    pub fn parse(method: &str, path: &str) -> Result<Self, RouteError> {
        let segments =
            segments(path.strip_suffix('/').unwrap_or(path)).ok_or(RouteError::NotFound)?;
        let (folder, words) = segments.split_first().ok_or(RouteError::NotFound)?;
        let folder = folder.to_ascii_lowercase();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let post = |route| match method {
            "POST" => Ok(route),
            _ => Err(RouteError::MethodNotAllowed),
        };
        let is = |word: &str, name: &str| word.eq_ignore_ascii_case(name);
        match (folder.as_str(), words.as_slice()) {
            ("enrollments", []) => post(Self::IndividualBulk),
            ("enrollments", [word]) if is(word, "query") && method == "POST" => {
                Ok(Self::IndividualQuery)
            }
            ("enrollments", [id]) => Ok(Self::Individual(id.parse()?, Crud::parse(method)?)),
            ("enrollments", [id, word]) if is(word, "attestationmechanism") => {
                post(Self::IndividualAttestation(id.parse()?))
            }
            ("enrollmentgroups", []) => post(Self::GroupBulk),
            ("enrollmentgroups", [word]) if is(word, "query") && method == "POST" => {
                Ok(Self::GroupQuery)
            }
            ("enrollmentgroups", [id]) => Ok(Self::Group(id.parse()?, Crud::parse(method)?)),
            ("enrollmentgroups", [id, word]) if is(word, "attestationmechanism") => {
                post(Self::GroupAttestation(id.parse()?))
            }
            ("registrations", [id]) => match Crud::parse(method)? {
                Crud::Put => Err(RouteError::MethodNotAllowed),
                crud => Ok(Self::Registration(id.parse()?, crud)),
            },
            ("registrations", [id, word]) if is(word, "query") => {
                post(Self::RegistrationQuery(id.parse()?))
            }
            _ => Err(RouteError::NotFound),
        }
    }
}
