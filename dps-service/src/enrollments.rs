//! Operations on enrollments, the same for individual enrollments and for enrollment groups.

use std::fmt;
use std::marker::PhantomData;

use dps_types::enrollment::{AttestationMechanism, EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::service::Crud;
use dps_types::protocol::{ApiVersion, IfMatch};
use dps_types::{BulkOperationMode, ETag, QuerySpecification};
use tokio::time::Instant;

use crate::api_version;
use crate::bulk::Bulk;
use crate::client::ServiceClient;
use crate::enrollment_kind::EnrollmentKind;
use crate::error::{Error, ErrorKind};
use crate::pager::Pager;
use crate::request::Request;
use crate::retry::Repeat;

impl ServiceClient {
    /// Returns the operations on individual enrollments.
    pub fn individual_enrollments(&self) -> Enrollments<'_, IndividualEnrollment> {
        Enrollments::new(self)
    }

    /// Returns the operations on enrollment groups.
    pub fn enrollment_groups(&self) -> Enrollments<'_, EnrollmentGroup> {
        Enrollments::new(self)
    }
}

/// The operations on enrollments of one kind.
///
/// Created by [`ServiceClient::individual_enrollments`] and [`ServiceClient::enrollment_groups`]. Every operation may fail
/// with the kinds of [`ErrorKind`] that concern connection, credentials and service; each operation lists its other kinds.
///
/// Source: `service.json` of api-versions 2021-10-01 and 2026-11-01, and recorded answers of the service.
///
/// ```no_run
/// # async fn example(dps: dps_service::ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
/// use dps_types::QuerySpecification;
///
/// let groups = dps.enrollment_groups();
/// let group = groups.get(&"toasters".parse()?).await?;
/// groups.update(&group.allocate_evenly()).await?;
/// let mut devices = dps.individual_enrollments().query(QuerySpecification::new("SELECT * FROM enrollments"));
/// while let Some(device) = devices.try_next().await? {
///     println!("{}", device.registration_id);
/// }
/// # Ok(())
/// # }
/// ```
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

    /// Creates an enrollment, and returns it as the service stores it, with its ETag.
    ///
    /// The service generates missing symmetric keys and returns them. The request is not retried if an earlier attempt may
    /// have been carried out: read the enrollment in that case.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Conflict`] when an enrollment with this id exists, [`ErrorKind::Invalid`].
    pub async fn create(&self, enrollment: &E) -> Result<E, Error> {
        let deadline = self.client.deadline();
        self.put(enrollment, None, Repeat::UnlessInDoubt, deadline)
            .await
    }

    /// Creates an enrollment, or replaces the existing one with its id. The ETag does not matter.
    ///
    /// It sends two requests if the enrollment exists, because the service refuses `If-Match: *` for one that does not.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`]; [`ErrorKind::NotFound`] or [`ErrorKind::PreconditionFailed`] when the enrollment is deleted
    /// between the two requests.
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

    /// Replaces the enrollment if its version is still the one in `etag`.
    ///
    /// Fields that are missing are removed. [`Enrollments::get`] returns no symmetric keys, and no `credentialPolicyName` without
    /// the api-version that has it. The service keeps the stored keys if the enrollment has none; to be sure, insert those of
    /// [`Enrollments::attestation_mechanism`], or use [`Enrollments::modify`], which does all of it. The request is not retried
    /// if an earlier attempt may have been carried out.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PreconditionFailed`] when the enrollment has changed since it was read, [`ErrorKind::NotFound`] when it
    /// was deleted, [`ErrorKind::Invalid`], also when it has no `etag`.
    pub async fn update(&self, enrollment: &E) -> Result<E, Error> {
        let Some(etag) = enrollment.etag() else {
            return Err(Error::new(
                ErrorKind::Invalid,
                "the enrollment has no ETag: read it first, or use create_or_replace",
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
        let found = self.get_before(id, self.client.deadline()).await?;
        Ok(found.0)
    }

    /// Deletes an enrollment of any version. Its devices stay at their hubs, but cannot register again.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`].
    pub async fn delete(&self, id: &E::Id) -> Result<(), Error> {
        let request = Request::new(E::route(id, Crud::Delete));
        self.client.delete(request).await
    }

    /// Deletes an enrollment if its version is still this one.
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

    /// Reads the attestation mechanism of an enrollment, with the symmetric keys.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`].
    pub async fn attestation_mechanism(&self, id: &E::Id) -> Result<AttestationMechanism, Error> {
        let request = Request::new(E::attestation_route(id));
        let deadline = self.client.deadline();
        let answer = self.client.send(request, Repeat::Freely, deadline).await?;
        answer.json()
    }

    /// Queries enrollments of this kind, page by page, without symmetric keys and registration states.
    ///
    /// `QuerySpecification::default()` selects all enrollments. The service supports only a few other queries.
    pub fn query(&self, specification: QuerySpecification) -> Pager<E> {
        Pager::with_query(self.client.clone(), E::QUERY, specification)
    }

    /// Carries out the same operation on many enrollments, up to ten per request.
    pub fn bulk(&self, mode: BulkOperationMode) -> Bulk<E> {
        Bulk::new(self.client.clone(), mode)
    }

    pub(crate) async fn get_before(
        &self,
        id: &E::Id,
        deadline: Instant,
    ) -> Result<(E, ApiVersion), Error> {
        let request = Request::new(E::route(id, Crud::Get));
        let (answer, version) = self.client.read(request, deadline).await?;
        Ok((answer.json()?, version))
    }

    pub(crate) async fn get_with(
        &self,
        version: ApiVersion,
        id: &E::Id,
        deadline: Instant,
    ) -> Result<E, Error> {
        let request = Request::new(E::route(id, Crud::Get));
        let (answer, _) = self.client.read_with(version, request, deadline).await?;
        answer.json()
    }

    async fn put(
        &self,
        enrollment: &E,
        condition: Option<IfMatch>,
        repeat: Repeat,
        deadline: Instant,
    ) -> Result<E, Error> {
        let version = api_version::for_fields(&enrollment.fields(), self.client.chosen_version())?;
        self.put_with(version, enrollment, condition, repeat, deadline)
            .await
    }

    pub(crate) async fn put_with(
        &self,
        version: ApiVersion,
        enrollment: &E,
        condition: Option<IfMatch>,
        repeat: Repeat,
        deadline: Instant,
    ) -> Result<E, Error> {
        let mut request = Request::new(E::route(enrollment.id(), Crud::Put))
            .with_api_version(version)
            .json(enrollment)?;
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
