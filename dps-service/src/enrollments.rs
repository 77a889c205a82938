//! What an operator does with enrollments, the same for individual enrollments and for groups.

use std::fmt;
use std::marker::PhantomData;

use dps_types::enrollment::AttestationMechanism;
use dps_types::protocol::IfMatch;
use dps_types::protocol::service::Crud;
use dps_types::{BulkOperationMode, ETag};
use tokio::time::Instant;

use crate::api_version;
use crate::bulk::Bulk;
use crate::client::ServiceClient;
use crate::error::{Error, ErrorKind};
use crate::kind::EnrollmentKind;
use crate::pager::Pager;
use crate::request::Request;
use crate::retry::Repeat;

/// The enrollments of one kind.
///
/// Made by [`ServiceClient::individual_enrollments`] and [`ServiceClient::enrollment_groups`]. Every operation may fail
/// with the kinds of [`ErrorKind`] that have to do with connection, credentials and service; the others are named.
///
/// Source: `service.json` of api-version 2021-10-01, and recorded answers of the service.
pub struct Enrollments<'a, E> {
    pub(crate) client: &'a ServiceClient,
    kind: PhantomData<fn() -> E>,
}

impl<'a, E: EnrollmentKind> Enrollments<'a, E> {
    pub(crate) fn new(client: &'a ServiceClient) -> Self {
        Self {
            client,
            kind: PhantomData,
        }
    }

    /// Creates an enrollment, and returns it as the service keeps it, with its ETag.
    ///
    /// Symmetric keys that are not given are generated, and are in the answer. Not repeated when it may have been
    /// carried out without an answer: read it then.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] when there is one with this id, [`ErrorKind::Invalid`].
    pub async fn create(&self, enrollment: &E) -> Result<E, Error> {
        let deadline = self.client.deadline();
        self.put(enrollment, None, Repeat::UnlessInDoubt, deadline)
            .await
    }

    /// Creates an enrollment, or replaces the one with its id, whatever it is; its ETag plays no part.
    ///
    /// Two requests where there is one already: `If-Match: *` alone would be refused where there is none.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`]; [`ErrorKind::NotFound`] or [`ErrorKind::PreconditionFailed`] when it is deleted between
    /// the two requests.
    pub async fn create_or_replace(&self, enrollment: &E) -> Result<E, Error> {
        let deadline = self.client.deadline();
        match self.put(enrollment, None, Repeat::Freely, deadline).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let any = Some(IfMatch::Any);
                self.put(enrollment, any, Repeat::Freely, deadline).await
            }
            result => result,
        }
    }

    /// Replaces the enrollment if it is still the version that its `etag` names.
    ///
    /// What is left out is removed. [`Enrollments::get`] leaves symmetric keys out: to be sure to keep them, put in those
    /// of [`Enrollments::attestation_mechanism`], or let [`Enrollments::modify`] do all of it. Not repeated when it may
    /// have been carried out without an answer.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PreconditionFailed`] when it has changed since, [`ErrorKind::NotFound`] when it is gone,
    /// [`ErrorKind::Invalid`], also when it has no `etag`.
    pub async fn update(&self, enrollment: &E) -> Result<E, Error> {
        let Some(etag) = enrollment.etag() else {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the enrollment has no ETag: get it first, or use create_or_replace",
            ));
        };
        let version = Some(IfMatch::Version(etag.clone()));
        let deadline = self.client.deadline();
        self.put(enrollment, version, Repeat::UnlessInDoubt, deadline)
            .await
    }

    /// Reads an enrollment, without its symmetric keys.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`].
    pub async fn get(&self, id: &E::Id) -> Result<E, Error> {
        self.get_before(id, self.client.deadline()).await
    }

    /// Deletes an enrollment, whatever its version. Devices keep their hub; they cannot register again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`].
    pub async fn delete(&self, id: &E::Id) -> Result<(), Error> {
        let request = Request::new(E::route(id, Crud::Delete));
        self.client.delete(request).await
    }

    /// Deletes an enrollment if it is still this version.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PreconditionFailed`], [`ErrorKind::NotFound`].
    pub async fn delete_if_match(&self, id: &E::Id, etag: &ETag) -> Result<(), Error> {
        let version = IfMatch::Version(etag.clone());
        let request = Request::new(E::route(id, Crud::Delete)).if_match(&version)?;
        let deadline = self.client.deadline();
        let answer = self.client.send(request, Repeat::UnlessInDoubt, deadline);
        answer.await.map(drop)
    }

    /// Reads how the devices of an enrollment prove who they are, with the symmetric keys.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`].
    pub async fn attestation_mechanism(&self, id: &E::Id) -> Result<AttestationMechanism, Error> {
        self.attestation_before(id, self.client.deadline()).await
    }

    /// Reads all enrollments of the kind, page after page, without symmetric keys and registration states.
    pub fn query(&self) -> Pager<E> {
        Pager::new(self.client.clone(), E::QUERY)
    }

    /// Does the same to many enrollments, ten in a request.
    pub fn bulk(&self, mode: BulkOperationMode) -> Bulk<E> {
        Bulk::new(self.client.clone(), mode)
    }

    pub(crate) async fn get_before(&self, id: &E::Id, deadline: Instant) -> Result<E, Error> {
        let request = Request::new(E::route(id, Crud::Get));
        let answer = self.client.send(request, Repeat::Freely, deadline).await?;
        answer.json()
    }

    pub(crate) async fn attestation_before(
        &self,
        id: &E::Id,
        deadline: Instant,
    ) -> Result<AttestationMechanism, Error> {
        let request = Request::new(E::attestation_route(id));
        let answer = self.client.send(request, Repeat::Freely, deadline).await?;
        answer.json()
    }

    pub(crate) async fn put(
        &self,
        enrollment: &E,
        condition: Option<IfMatch>,
        repeat: Repeat,
        deadline: Instant,
    ) -> Result<E, Error> {
        api_version::check_fields(&enrollment.fields(), self.client.api_version())?;
        let mut request = Request::new(E::route(enrollment.id(), Crud::Put)).json(enrollment)?;
        if let Some(condition) = &condition {
            request = request.if_match(condition)?;
        }
        self.client.send(request, repeat, deadline).await?.json()
    }
}

impl<E> Clone for Enrollments<'_, E> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<E> Copy for Enrollments<'_, E> {}

impl<E> fmt::Debug for Enrollments<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Enrollments")
            .field("client", self.client)
            .finish_non_exhaustive()
    }
}
