//! What became of the devices that registered.

use dps_types::enrollment::IndividualEnrollment;
use dps_types::protocol::IfMatch;
use dps_types::protocol::service::{Crud, ServiceRoute};
use dps_types::{DeviceRegistrationState, ETag, EnrollmentGroupId, RegistrationId};
use futures_util::{Stream, StreamExt, TryStreamExt, future, stream};

use crate::client::ServiceClient;
use crate::error::{Error, ErrorKind};
use crate::pager::Pager;
use crate::request::Request;
use crate::retry::Repeat;

/// How many individual enrollments are asked for their registration at a time.
const AT_A_TIME: usize = 8;

/// The registration records. Made by [`ServiceClient::registrations`].
///
/// Source: `service.json` of api-version 2021-10-01.
#[derive(Clone, Copy, Debug)]
pub struct Registrations<'a> {
    client: &'a ServiceClient,
}

/// A registration record, and the group that it was found in.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct FoundRegistration {
    /// The group; `None` for a device with an enrollment of its own.
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
    /// [`ErrorKind::NotFound`] when it has none.
    pub async fn get(&self, id: &RegistrationId) -> Result<DeviceRegistrationState, Error> {
        get(self.client, id).await
    }

    /// Deletes the registration record of a device: its next registration is its first.
    ///
    /// The device stays in its hub.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] when it has none.
    pub async fn delete(&self, id: &RegistrationId) -> Result<(), Error> {
        let request = Request::new(ServiceRoute::Registration(id.clone(), Crud::Delete));
        self.client.delete(request).await
    }

    /// Deletes the registration record of a device if it is still this version.
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

    /// The registration records of the devices of a group, page after page.
    pub fn in_group(&self, group: &EnrollmentGroupId) -> Pager<DeviceRegistrationState> {
        in_group(self.client, group)
    }

    /// All registration records that can be found: those of each group, then those of the individual enrollments.
    ///
    /// The service has no such query. This one asks for the groups, for the records of each, for the individual
    /// enrollments, and then for the record of each of those, eight at a time: with many individual enrollments that
    /// takes long. A group or record that disappears meanwhile is left out. A device that registered with a group and
    /// was given an enrollment of its own afterwards is found twice; records whose enrollment is gone are not found.
    ///
    /// The stream ends after an error. `futures_util::TryStreamExt` has what helps to read it.
    pub fn all(
        &self,
    ) -> impl Stream<Item = Result<FoundRegistration, Error>> + Send + Unpin + use<> {
        let of_groups = {
            let client = self.client.clone();
            let groups = self.client.enrollment_groups().query();
            groups
                .map_ok(move |group| found_in(&client, group.enrollment_group_id))
                .try_flatten()
        };
        let of_individuals = {
            let client = self.client.clone();
            let enrollments = self.client.individual_enrollments().query();
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

/// The records of a group; none when it is gone.
fn found_in(
    client: &ServiceClient,
    group: EnrollmentGroupId,
) -> impl Stream<Item = Result<FoundRegistration, Error>> + Send + use<> {
    let gone = |found: &Result<_, Error>| matches!(found, Err(error) if error.kind() == ErrorKind::NotFound);
    in_group(client, &group)
        .take_while(move |found| future::ready(!gone(found)))
        .map_ok(move |state| FoundRegistration {
            group: Some(group.clone()),
            state,
        })
}

/// The record of a device, if it has one. What a query for enrollments brings does not tell.
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
