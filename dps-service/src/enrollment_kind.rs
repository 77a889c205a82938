//! The differences between the two kinds of enrollment: ids, routes, and bulk operations.

use dps_types::enrollment::{AttestationMechanism, EnrollmentGroup, IndividualEnrollment};
use dps_types::protocol::ApiVersion;
use dps_types::protocol::service::{Crud, ServiceRoute};
use dps_types::{
    BulkEnrollmentGroupOperation, BulkEnrollmentOperation, BulkOperationError, BulkOperationMode,
    ETag, EnrollmentGroupId, RegistrationId,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api_version::{Field, fields_of_both};

/// A kind of enrollment: [`IndividualEnrollment`] or [`EnrollmentGroup`]. No other type can implement it.
pub trait EnrollmentKind:
    Serialize + DeserializeOwned + Send + Sync + Unpin + sealed::Sealed + 'static
{
    /// The type of its id.
    type Id: PartialEq + Send + Sync;

    #[doc(hidden)]
    type Bulk: Serialize + Send + Sync;

    #[doc(hidden)]
    const QUERY: ServiceRoute;
    #[doc(hidden)]
    const BULK: ServiceRoute;

    #[doc(hidden)]
    fn id(&self) -> &Self::Id;
    #[doc(hidden)]
    fn etag(&self) -> Option<&ETag>;
    #[doc(hidden)]
    fn attestation(&mut self) -> &mut AttestationMechanism;
    #[doc(hidden)]
    fn fields(&self) -> Vec<Field>;
    #[doc(hidden)]
    fn route(id: &Self::Id, crud: Crud) -> ServiceRoute;
    #[doc(hidden)]
    fn attestation_route(id: &Self::Id) -> ServiceRoute;
    #[doc(hidden)]
    fn bulk(mode: BulkOperationMode, items: Vec<Self>) -> Self::Bulk;
    #[doc(hidden)]
    fn items(bulk: Self::Bulk) -> Vec<Self>;
    #[doc(hidden)]
    fn id_of(error: &BulkOperationError) -> Option<&Self::Id>;
}

impl EnrollmentKind for IndividualEnrollment {
    type Id = RegistrationId;
    type Bulk = BulkEnrollmentOperation;

    const QUERY: ServiceRoute = ServiceRoute::IndividualQuery;
    const BULK: ServiceRoute = ServiceRoute::IndividualBulk;

    fn id(&self) -> &RegistrationId {
        &self.registration_id
    }

    fn etag(&self) -> Option<&ETag> {
        self.etag.as_ref()
    }

    fn attestation(&mut self) -> &mut AttestationMechanism {
        &mut self.attestation
    }

    fn fields(&self) -> Vec<Field> {
        let used = self.optional_device_information.is_some();
        let mut fields = fields_of_both!(self, capabilities since ApiVersion::V2018_04_01).to_vec();
        let name = "optionalDeviceInformation";
        fields.push(Field::since(ApiVersion::V2021_10_01, name, used));
        fields
    }

    fn route(id: &RegistrationId, crud: Crud) -> ServiceRoute {
        ServiceRoute::Individual(id.clone(), crud)
    }

    fn attestation_route(id: &RegistrationId) -> ServiceRoute {
        ServiceRoute::IndividualAttestation(id.clone())
    }

    fn bulk(mode: BulkOperationMode, items: Vec<Self>) -> BulkEnrollmentOperation {
        BulkEnrollmentOperation::new(mode, items)
    }

    fn items(bulk: BulkEnrollmentOperation) -> Vec<Self> {
        bulk.enrollments
    }

    fn id_of(error: &BulkOperationError) -> Option<&RegistrationId> {
        error.registration_id.as_ref()
    }
}

impl EnrollmentKind for EnrollmentGroup {
    type Id = EnrollmentGroupId;
    type Bulk = BulkEnrollmentGroupOperation;

    const QUERY: ServiceRoute = ServiceRoute::GroupQuery;
    const BULK: ServiceRoute = ServiceRoute::GroupBulk;

    fn id(&self) -> &EnrollmentGroupId {
        &self.enrollment_group_id
    }

    fn etag(&self) -> Option<&ETag> {
        self.etag.as_ref()
    }

    fn attestation(&mut self) -> &mut AttestationMechanism {
        &mut self.attestation
    }

    fn fields(&self) -> Vec<Field> {
        fields_of_both!(self, capabilities since ApiVersion::V2019_03_31).to_vec()
    }

    fn route(id: &EnrollmentGroupId, crud: Crud) -> ServiceRoute {
        ServiceRoute::Group(id.clone(), crud)
    }

    fn attestation_route(id: &EnrollmentGroupId) -> ServiceRoute {
        ServiceRoute::GroupAttestation(id.clone())
    }

    fn bulk(mode: BulkOperationMode, items: Vec<Self>) -> BulkEnrollmentGroupOperation {
        BulkEnrollmentGroupOperation::new(mode, items)
    }

    fn items(bulk: BulkEnrollmentGroupOperation) -> Vec<Self> {
        bulk.enrollment_groups
    }

    fn id_of(error: &BulkOperationError) -> Option<&EnrollmentGroupId> {
        error.enrollment_group_id.as_ref()
    }
}

mod sealed {
    #[allow(unnameable_types)] // It seals the public trait.
    pub trait Sealed {}

    impl Sealed for super::IndividualEnrollment {}
    impl Sealed for super::EnrollmentGroup {}
}
