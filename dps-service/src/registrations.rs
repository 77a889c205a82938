//! Registration records.

use dps_types::enrollment::IndividualEnrollment;
use dps_types::protocol::IfMatch;
use dps_types::protocol::service::{Crud, ServiceRoute};
use dps_types::{
    DeviceRegistrationState, ETag, EnrollmentGroupId, QuerySpecification, RegistrationId,
};
use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};

use crate::client::ServiceClient;
use crate::enrollment_kind::EnrollmentKind;
use crate::enrollments::Enrollments;
use crate::error::{Error, ErrorKind};
use crate::pager::Pager;
use crate::request::Request;
use crate::retry::Repeat;

/// The number of registration records that are read concurrently.
const AT_A_TIME: usize = 8;

impl ServiceClient {
    /// Returns the operations on registration records.
    pub fn registrations(&self) -> Registrations<'_> {
        Registrations::new(self)
    }
}

/// The operations on registration records. Created by [`ServiceClient::registrations`].
///
/// Source: `service.json` of api-version 2021-10-01.
///
/// ```no_run
/// # async fn example(dps: dps_service::ServiceClient) -> Result<(), Box<dyn std::error::Error>> {
/// let record = dps.registrations().get(&"toaster-1".parse()?).await?;
/// println!("{:?} {:?}", record.status, record.assigned_hub);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Registrations<'a> {
    client: &'a ServiceClient,
}

/// A registration record and its enrollment group.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FoundRegistration {
    /// The enrollment group; `None` for a device with an individual enrollment.
    pub group: Option<EnrollmentGroupId>,
    /// The record.
    pub state: DeviceRegistrationState,
}

impl<'a> Registrations<'a> {
    pub(crate) fn new(client: &'a ServiceClient) -> Self {
        Self { client }
    }

    /// Reads the registration record of a device.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when the device has none.
    pub async fn get(&self, id: &RegistrationId) -> Result<DeviceRegistrationState, Error> {
        get(self.client, id).await
    }

    /// Deletes the registration record of a device. DPS treats its next registration as the first one.
    ///
    /// The device stays at its hub.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when the device has none.
    pub async fn delete(&self, id: &RegistrationId) -> Result<(), Error> {
        let request = Request::new(ServiceRoute::Registration(id.clone(), Crud::Delete));
        self.client.delete(request).await
    }

    /// Deletes the registration record of a device if its version is still this one.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::PreconditionFailed`], [`ErrorKind::NotFound`].
    pub async fn delete_if_match(&self, id: &RegistrationId, etag: &ETag) -> Result<(), Error> {
        let version = IfMatch::Version(etag.clone());
        let route = ServiceRoute::Registration(id.clone(), Crud::Delete);
        let request = Request::new(route).if_match(&version)?;
        let deadline = self.client.deadline();
        let answer = self.client.send(request, Repeat::UnlessInDoubt, deadline);
        answer.await.map(drop)
    }

    /// Queries the registration records of the devices of an enrollment group, page by page.
    pub fn in_group(&self, group: &EnrollmentGroupId) -> Pager<DeviceRegistrationState> {
        in_group(self.client, group)
    }

    /// Reads all registration records that can be found: those of each enrollment group, then those of the individual
    /// enrollments.
    ///
    /// The service has no such query, so this method queries the groups, the records of each group, the individual
    /// enrollments, and then reads the record of each of those, eight concurrently. With many individual enrollments it
    /// takes long. A group or record that is deleted meanwhile is left out. A device that registered with a group and got an
    /// individual enrollment afterwards is returned twice. Records whose enrollment was deleted are not found.
    ///
    /// The stream ends after an error. `futures_util::TryStreamExt` has methods to read it.
    pub fn all(
        &self,
    ) -> impl Stream<Item = Result<FoundRegistration, Error>> + Send + Unpin + use<> {
        let of_groups = {
            let client = self.client.clone();
            let groups = all(self.client.enrollment_groups());
            groups
                .map_ok(move |group| found_in(&client, group.enrollment_group_id))
                .try_flatten()
        };
        let of_individuals = {
            let client = self.client.clone();
            let enrollments = all(self.client.individual_enrollments());
            enrollments
                .map_ok(move |enrollment| found_for(client.clone(), enrollment))
                .try_buffered(AT_A_TIME)
                .try_filter_map(future::ok)
        };
        let all = Box::pin(of_groups.chain(of_individuals));
        Box::pin(stream::unfold(Some(all), async |all| {
            let mut all = all?;
            let found = all.next().await?;
            let rest = found.is_ok().then_some(all);
            Some((found, rest))
        }))
    }
}

async fn get(
    client: &ServiceClient,
    id: &RegistrationId,
) -> Result<DeviceRegistrationState, Error> {
    let request = Request::new(ServiceRoute::Registration(id.clone(), Crud::Get));
    let answer = client.send(request, Repeat::Freely, client.deadline());
    answer.await?.json()
}

fn in_group(client: &ServiceClient, group: &EnrollmentGroupId) -> Pager<DeviceRegistrationState> {
    Pager::new(
        client.clone(),
        ServiceRoute::RegistrationQuery(group.clone()),
    )
}

fn all<E: EnrollmentKind>(enrollments: Enrollments<'_, E>) -> Pager<E> {
    enrollments.query(QuerySpecification::default())
}

/// The records of a group; an empty stream if the group was deleted.
fn found_in(
    client: &ServiceClient,
    group: EnrollmentGroupId,
) -> impl Stream<Item = Result<FoundRegistration, Error>> + Send + use<> {
    let is_deleted = |found: &Result<_, Error>| matches!(found, Err(error) if error.kind() == ErrorKind::NotFound);
    in_group(client, &group)
        .take_while(move |found| future::ready(!is_deleted(found)))
        .map_ok(move |state| FoundRegistration {
            group: Some(group.clone()),
            state,
        })
}

/// The record of a device, if it has one. A query for enrollments does not return it.
async fn found_for(
    client: ServiceClient,
    enrollment: IndividualEnrollment,
) -> Result<Option<FoundRegistration>, Error> {
    match get(&client, &enrollment.registration_id).await {
        Ok(state) => Ok(Some(FoundRegistration { group: None, state })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
