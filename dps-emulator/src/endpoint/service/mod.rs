//! The service API: enrollments, enrollment groups, attestation mechanisms, registration records.

mod bulk;
mod enrollments;
mod query;
mod registrations;

use dps_types::HubHostname;
use dps_types::enrollment::{EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::ApiVersion;
use dps_types::protocol::service::{Crud, ServiceRoute};

use super::Gateway;
use super::call::{Call, SERVICE_LIMIT, api_version};
use super::reply::Reply;
use crate::access::ServiceAction;
use crate::service_error::ServiceError;
use crate::state::State;

/// The first segment of the service API's paths. In a device's path it is the id scope.
pub(super) const ROOTS: [&str; 3] = ["enrollments", "enrollmentGroups", "registrations"];

/// Answers a request. The token is checked before the body is read.
pub(super) async fn answer(gateway: &Gateway, call: &mut Call) -> Result<Reply, ServiceError> {
    let route = ServiceRoute::parse(&call.method, &call.path)?;
    let api_version = api_version(&call.query, &gateway.instance)?;
    gateway.authorize(call, ServiceAction::of(&route)).await?;
    call.receive(SERVICE_LIMIT).await?;
    let service = Service {
        state: &gateway.instance.state,
        hubs: gateway.instance.allocator.hub_names(),
        call,
        api_version,
    };
    // Writes are boxed: their futures are large, and most requests are not writes.
    match &route {
        ServiceRoute::Individual(id, Crud::Get) => service.individual(id).await,
        ServiceRoute::Individual(id, Crud::Put) => {
            Box::pin(service.put::<IndividualEnrollment>(&id.to_lowercase())).await
        }
        ServiceRoute::Individual(id, Crud::Delete) => {
            service
                .delete::<IndividualEnrollment>(&id.to_lowercase())
                .await
        }
        ServiceRoute::IndividualAttestation(id) => {
            service
                .attestation::<IndividualEnrollment>(&id.to_lowercase())
                .await
        }
        ServiceRoute::IndividualQuery => service.individuals().await,
        ServiceRoute::IndividualBulk => Box::pin(service.bulk::<IndividualEnrollment>()).await,
        ServiceRoute::Group(id, Crud::Get) => service.group(id).await,
        ServiceRoute::Group(id, Crud::Put) => {
            Box::pin(service.put::<EnrollmentGroup>(&id.to_lowercase())).await
        }
        ServiceRoute::Group(id, Crud::Delete) => {
            service.delete::<EnrollmentGroup>(&id.to_lowercase()).await
        }
        ServiceRoute::GroupAttestation(id) => {
            service
                .attestation::<EnrollmentGroup>(&id.to_lowercase())
                .await
        }
        ServiceRoute::GroupQuery => service.groups().await,
        ServiceRoute::GroupBulk => Box::pin(service.bulk::<EnrollmentGroup>()).await,
        ServiceRoute::Registration(id, Crud::Get) => service.registration(id).await,
        ServiceRoute::Registration(id, Crud::Delete) => service.delete_registration(id).await,
        ServiceRoute::RegistrationQuery(group) => service.registrations(group).await,
        _ => Err(ServiceError::not_implemented("this operation")),
    }
}

/// A request, and the data that it works on.
struct Service<'a> {
    state: &'a State,
    hubs: Vec<HubHostname>,
    call: &'a Call,
    /// Decides which members documents have.
    api_version: ApiVersion,
}
